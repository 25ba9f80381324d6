"""PromQL templates as trees: everything knows its place, and a library's parser agrees on what can be read."""

from __future__ import annotations

import promql_parser
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watcher.core.lint.checking import SAMPLE, understood
from watcher.core.lint.promql import DEEPEST, LONGEST, parse
from watcher.core.lint.tokens import TooDeep, Unreadable
from watcher.core.lint.tree import Aggregation, Binary, Call, Matcher, Selector, Subquery, selectors, walk
from watcher.core.templates import TemplateError, render, variables_used

GOOD = [
    "x",
    "-x",
    "+1",
    "-1 ^ 2 ^ 3",
    "0x1F + .5 + 1e-3 + Inf - NaN",
    'x{a="b", c!="d", e=~`f|g`, h!~\'i\'}',
    'x{a="b",}',
    '{__name__="x"}',
    '{"x.y", "a.b"="c"}',
    'x{a="b" or c="d"}',
    "x offset 5m",
    "x offset -5m",
    "x @ 123",
    "x @ -1.5",
    "x @ start() offset 5m",
    "x[5m] @ end()",
    "rate(x[{{ window }}])",
    "rate(x[5])",
    "max_over_time(rate(x[5m])[1h:5m] offset 1w)",
    "rate(x[5m:])",
    "x[5m:1m] @ 3",
    "sum(x)",
    "sum by (a, b,) (x)",
    "sum(x) without (a)",
    "SUM BY (a) (x)",
    "topk(3, x)",
    'count_values("v", x)',
    "sum + by",
    "time()",
    "a / on (x) group_left () b",
    "a / on () group_left b",
    "a * ignoring (x, y) group_right (z) sum by (z) (c)",
    "a > bool 3",
    "a AND b or c unless d",
    "a atan2 b",
    "(((x)))",
    "x # what it is\n+ 1",
    "job:x:rate5m",
    'label_replace(x, "a", "$1", "b", "(.*)")',
]
BAD = [
    ("", 0, "the query ends where something should follow"),
    ("1 +", 2, "the query ends where something should follow"),
    ("sum(rate(x[1m])", 3, 'this "(" is not closed'),
    ('x{a="b"', 1, 'this "{" is not closed'),
    ("x[5m", 1, 'this "[" is not closed'),
    ("x)", 1, 'this ")" closes nothing'),
    ("x y", 2, '"y" cannot stand here'),
    ("sum by (a (x)", 10, '"(" cannot stand here'),
    ("sum by (a, 1) (x)", 11, '"1" cannot stand here'),
    ("sum by a (x)", 7, '"a" cannot stand here'),
    ("sum by (a)", 9, "the query ends where something should follow"),
    ("sum by (a) x", 11, '"x" cannot stand here'),
    ("topk(x)", 0, "topk takes 2 arguments, and 1 are given"),
    ("sum(1, x)", 0, "sum takes 1 argument, and 2 are given"),
    ("f(a,)", 3, "no argument follows this comma"),
    ("f(a b)", 4, '"b" cannot stand here'),
    ("x{a}", 2, '"a" is not compared with anything'),
    ("x{a=b}", 4, '"a" is compared with something other than a text'),
    ("x{1}", 2, '"1" cannot stand here'),
    ("x{a=", 4, '"a" is compared with something other than a text'),
    ('x{a="b" c="d"}', 8, '"c" cannot stand here'),
    ('x{a="b', 4, "this string is not closed"),
    ("x[a]", 2, "a range needs a duration with a unit"),
    ("x[5m][3m]", 5, "only a metric can have a range"),
    ("(x)[3m]", 3, "only a metric can have a range"),
    ("x[5m 3m]", 5, '"3m" cannot stand here'),
    ("x offset", 2, "offset stands behind a metric and before a duration"),
    ("(x) offset 5m", 4, "offset stands behind a metric and before a duration"),
    ("x @ y", 2, '"@" stands before a time'),
    ("(x) @ 3", 4, '"@" stands behind a metric'),
    ("a / on b", 7, '"b" cannot stand here'),
    ("and x", 0, '"and" cannot stand here'),
    ("x ! y", 2, '"!" means nothing in PromQL'),
    ("x; y", 1, '";" means nothing in PromQL'),
    ("(1, 2)", 2, '"," cannot stand here'),
]


def taken_by_the_library(query: str) -> bool:
    try:
        promql_parser.parse(query)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("query", GOOD)
def test_what_prometheus_reads_is_read_and_nothing_but_space_is_left_over(query: str) -> None:
    tree = parse(query)

    promql_parser.parse(query.replace("{{ window }}", "1m"))
    outside = query[: tree.start] + query[tree.end :]
    assert outside.strip() == ""


@pytest.mark.parametrize(("query", "at", "said"), BAD)
def test_what_it_does_not_read_is_said_at_its_place(query: str, at: int, said: str) -> None:
    with pytest.raises(Unreadable) as found:
        parse(query)

    assert (found.value.start, found.value.problem) == (at, said)
    assert found.value.cure
    assert not taken_by_the_library(query)


def test_every_part_stands_where_it_says() -> None:
    query = '(sum by (a) (rate(x{a="1"}[5m])) or vector(0))\n/ on (a) y{b="2"} offset 1h'
    shown = {type(part).__name__ + str(i): query[part.start : part.end] for i, part in enumerate(walk(parse(query)))}

    assert list(shown.values()) == [
        'x{a="1"}[5m]',
        'rate(x{a="1"}[5m])',
        'sum by (a) (rate(x{a="1"}[5m]))',
        "0",
        "vector(0)",
        'sum by (a) (rate(x{a="1"}[5m])) or vector(0)',
        '(sum by (a) (rate(x{a="1"}[5m])) or vector(0))',
        'y{b="2"} offset 1h',
        query,
    ]


def test_what_binds_tighter_is_inside() -> None:
    tree = parse("a + b * c ^ -d == bool e or f and g")

    assert isinstance(tree, Binary)
    assert tree.op == "or"
    assert isinstance(tree.lhs, Binary)
    assert (tree.lhs.op, tree.lhs.bool_) == ("==", True)
    assert isinstance(tree.rhs, Binary)
    assert tree.rhs.op == "and"
    left = parse("a - b - c")
    right = parse("a ^ b ^ c")
    assert isinstance(left, Binary)
    assert isinstance(right, Binary)
    assert isinstance(left.lhs, Binary)
    assert isinstance(right.rhs, Binary)


def test_what_a_selector_says_is_kept() -> None:
    (found,) = selectors(
        parse('sum(rate({"x", color="{{ color }}",pod=~"{{ deployment }}-.*"}[{{ window }}] offset 5m))')
    )

    assert found.name == "x"
    assert [(one.label, one.op) for one in found.matchers] == [("color", "="), ("pod", "=~")]
    assert [one.variables for one in found.matchers] == [frozenset({"color"}), frozenset({"deployment"})]
    assert found.range_ is not None
    assert found.offset is not None
    assert (found.range_.text, found.offset.text) == ("{{ window }}", "5m")
    assert selectors(parse('{__name__="y"}'))[0].name == "y"
    assert Matcher("a", "=", "b", 0, 1).variables == frozenset()


def test_calls_aggregations_and_subqueries_keep_their_parts() -> None:
    call = parse("clamp(x, 1, 2)")
    grouped = parse("quantile by (a) (0.5, x)")
    sub = parse("x[1h:5m] offset 1d")

    assert isinstance(call, Call)
    assert (call.name, len(call.args)) == ("clamp", 3)
    assert isinstance(grouped, Aggregation)
    assert (grouped.op, grouped.grouping, grouped.labels) == ("quantile", "by", ("a",))
    assert isinstance(grouped.expr, Selector)
    assert isinstance(sub, Subquery)
    assert (sub.range_.text, sub.offset and sub.offset.text) == ("1h", "1d")


@pytest.mark.parametrize(
    "query",
    [
        "(" * 3000 + "x" + ")" * 900,
        "-" * 3000 + "x",
        "a+" * 1900 + "a",
        "f(" * 1000,
        "2^" * 1500 + "2",
        "x" + "[5m:]" * 100,
        "-" * 55 + "f(" * 5 + "x",
        "x" * (LONGEST + 1),
    ],
)
def test_what_is_too_deep_or_too_long_is_left_before_it_costs_anything(query: str) -> None:
    with pytest.raises(TooDeep):
        parse(query)


def test_what_is_just_deep_enough_is_read() -> None:
    assert parse("(" * (DEEPEST - 1) + "x" + ")" * (DEEPEST - 1)).height == DEEPEST


@given(
    st.text(alphabet="abx_:09.{}()[]=~!<>+-*/^%,@'\"`\\ \n#", max_size=40)
    | st.lists(st.sampled_from(GOOD)).map(" ".join)
)
@example("x{{ window }}")
@example("\ud800")
def test_any_text_ends_in_a_tree_or_in_a_remark_with_a_place(text: str) -> None:
    try:
        variables_used(text)
    except TemplateError:
        return  # said before lint looks at it
    tree, remarks = understood(text)

    assert (tree is None) == bool(remarks)
    assert all(0 <= one.start <= len(text) and one.problem and one.cure for one in remarks)
    if tree is not None:
        promql_parser.parse(render(text, SAMPLE))


@pytest.mark.parametrize(
    ("query", "at", "said", "cure"),
    [
        ("sum(rate(x))", 4, "expected type matrix in call to function 'rate', got vector", "correct the query"),
        ("a + summ(b)", 4, "unknown function with name 'summ'", 'did you mean "sum"?'),
        ("a + zzzzzz(b)", 4, "unknown function with name 'zzzzzz'", "correct the query"),
        ('a + x{a="b",c=~"("}', 12, "illegal regex for (", "correct the query"),
        ("1 and 2", 0, "set operator 'and' not allowed in binary scalar expression", "correct the query"),
        ('sum(x{a=~".*"}) + {b=~".*"}', 18, "vector selector must contain at least one non-empty matcher", ""),
    ],
)
def test_what_the_library_refuses_is_said_of_the_innermost_part(query: str, at: int, said: str, cure: str) -> None:
    tree, (remark,) = understood(query)

    assert tree is None
    assert (remark.code, remark.start, remark.problem) == ("BW101", at, said)
    assert cure in remark.cure


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("x[5m]", "a range of values for each series"),
        ("(x[5m:])", "a range of values for each series"),
        ('"text"', "a text"),
    ],
)
def test_what_gives_no_numbers_is_said(query: str, said: str) -> None:
    tree, (remark,) = understood(query)

    assert tree is None
    assert (remark.code, remark.problem) == ("BW103", f"the query gives {said}, not one")
