"""Placeholders in queries: no value changes what a query is made of; what cannot be rendered is said with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.templates import VARIABLES, TemplateError, render, variables_used

HARMLESS = {name: "1m" if name == "window" else "x" for name in VARIABLES}
VALUES = st.text() | st.text(alphabet="\"'`\\{}[]()|.*+?^$#\n\r\tnx07u,=~ab")


def shape(query: str) -> str:
    """The syntax tree of a query, with every matcher's value left out."""
    blanked = re.sub(r"(=~|!~|!=|=)\"(\\.|[^\"\\])*\"", r"\1''", promql_parser.parse(query).prettify())
    return re.sub(r"\s+", "", blanked)  # the length of a value decides where lines break


def matched(query: str, quote: str) -> str:
    """What the one matcher of a selector compares with."""
    if quote == "`":  # promql_parser reads escapes there, Prometheus does not
        before, value, after = query.split("`")
        assert (before.strip("=!~ \n"), after) == ("up{color", "}")
        return value
    parsed = promql_parser.parse(query)
    assert isinstance(parsed, promql_parser.VectorSelector)
    (found,) = parsed.matchers.matchers
    return str(found.value)


def refusal(template: str, variables: Mapping[str, str]) -> TemplateError | None:
    try:
        render(template, variables)
    except TemplateError as refused:
        return refused
    return None


@pytest.mark.parametrize("quote", ['"', "'", "`"])
@given(value=VALUES)
def test_a_value_inside_quotes_is_read_back_as_it_is(quote: str, value: str) -> None:
    template, variables = f"up{{color={quote}{{{{ color }}}}{quote}}}", {"color": value}
    if quote == "`" and re.search("[`\r]", value):
        assert refusal(template, variables)
    else:
        assert matched(render(template, variables), quote) == value


@pytest.mark.parametrize("quote", ['"', "'", "`"])
@pytest.mark.parametrize("operator", ["=~", "!~", "=~ # a comment\n "])
@given(value=VALUES)
def test_a_value_in_a_matcher_means_itself_only(quote: str, operator: str, value: str) -> None:
    template, variables = f"up{{color{operator}{quote}{{{{ color }}}}-.*{quote}}}", {"color": value}
    if quote == "`" and re.search("[`\r]", value):
        assert refusal(template, variables)
    else:
        pattern = re.compile(matched(render(template, variables), quote))
        assert pattern.fullmatch(value + "-7f9")
        assert not pattern.fullmatch(value + "x")


@given(value=VALUES, raw=st.text(alphabet="abc-7", max_size=9))
def test_rendering_never_changes_the_structure_of_a_query(value: str, raw: str) -> None:
    template = (
        'sum by (pod) (rate(a_total{color="{{ color }}",pod=~"{{ deployment }}-.*"}[{{ window }}]))\n'
        "/ ignoring(x) max_over_time(b{version='{{ version }}',n!~`{{ namespace }}`}[{{ window }}:{{ window }}]"
        " offset {{ window }})"
    )
    values = HARMLESS | {"color": value, "deployment": value, "version": value, "namespace": raw}
    assert shape(render(template, values)) == shape(render(template, HARMLESS))


@given(st.text(alphabet="{} \"'`\\ncolorwindow[]=~#a\n"))
def test_any_template_is_rendered_or_refused(template: str) -> None:
    refused = refusal(template, HARMLESS)
    if refused is not None:
        line, column = refused.line or 0, refused.column or 0
        assert 1 <= line <= template.count("\n") + 1
        assert 1 <= column <= len(template.split("\n")[line - 1]) + 1


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("vector(1)", "vector(1)"),
        ('x{a="{{color}}"}', 'x{a="gr"}'),
        ("x{a='{{  color  }}'}", "x{a='gr'}"),
        ('x{a="\\\\d\\"{{ color }}"}', 'x{a="\\\\d\\"gr"}'),
        ('x{a="\\x41\\u00e9\\U0001F600\\101{{ color }}"}', 'x{a="\\x41\\u00e9\\U0001F600\\101gr"}'),
        ("x # {{ nonsense }} '\n+ y", "x \n+ y"),
        ('x{a="# {{ color }}"} # end', 'x{a="# gr"} '),
        ("x[{{ window }}]", "x[1m30s]"),
        ("x offset -{{ window }}", "x offset -1m30s"),
        ('x{a=~"[^.]+", b="{{ version }}"}', 'x{a=~"[^.]+", b="2.4.1"}'),
        ('x{a=~"v{{ version }}"}', 'x{a=~"v2\\\\.4\\\\.1"}'),
        ("x{a=~`\\\\{{ version }}`}", "x{a=~`\\\\2\\.4\\.1`}"),
    ],
)
def test_a_template_is_rendered(template: str, rendered: str) -> None:
    assert render(template, {"color": "gr", "version": "2.4.1", "window": "1m30s"}) == rendered


@pytest.mark.parametrize(
    ("template", "line", "column", "said"),
    [
        ('x\n  {a="{{ colour }}"}', 2, 7, '"colour" is no variable: did you mean "color"?'),
        ('"{{ .Namespace }}"', 1, 2, '".Namespace" is no variable: did you mean "namespace"?'),
        ('"{{ q }}"', 1, 2, f'"q" is no variable: use one of {", ".join(VARIABLES)}'),
        ('"{{ color }"', 1, 2, 'this placeholder is not closed: write it as "{{ color }}"'),
        ('x{a="b', 1, 5, 'this string is not closed: end it with "'),
        ("x{a='b\n'}", 1, 7, "a line ends inside a ' string: close it, or use backticks"),
        (
            '"\\d+"',
            1,
            2,
            '"\\d" is no escape that Prometheus knows: write "\\\\d", or put the text in backticks',
        ),
        (
            '"\\{{ color }}"',
            1,
            2,
            '"\\{" is no escape that Prometheus knows: write "\\\\{", or put the text in backticks',
        ),
        ('x{a=~"\\\\{{ color }}"}', 1, 9, "a placeholder cannot follow a backslash: take the backslash away"),
        ("x{a=~`\\{{ color }}`}", 1, 8, "a placeholder cannot follow a backslash: take the backslash away"),
        ("{{ color }}", 1, 1, '"color" stands outside of quotes: put it inside quotes, as in color="{{ color }}"'),
        ("x{{ window }}", 1, 2, 'the window is glued to its neighbour: write it apart, as in "[{{ window }}]"'),
        ("[{{ window }}s]", 1, 2, 'the window is glued to its neighbour: write it apart, as in "[{{ window }}]"'),
        (
            "{{ window }}{{ window }}",
            1,
            1,
            'the window is glued to its neighbour: write it apart, as in "[{{ window }}]"',
        ),
    ],
)
def test_what_can_never_be_rendered_is_refused_with_its_place(template: str, line: int, column: int, said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        variables_used(template)
    assert (refused.value.line, refused.value.column, str(refused.value)) == (line, column, said)


@pytest.mark.parametrize(
    ("template", "variables", "said"),
    [
        ("'{{ color }}'", {}, '"color" has no value here: use another variable'),
        (
            "[{{ window }}]",
            {"window": "x"},
            '"x" stands where only a duration can: give "window" a duration such as "1m"',
        ),
        (
            "[{{ window }}]",
            {"window": "1m] or y[1m"},
            '"1m] or y[1m" stands where only a duration can: give "window" a duration such as "1m"',
        ),
        ("`{{ color }}`", {"color": "a`b"}, '"a`b" cannot stand inside backticks: use double quotes in the query'),
        ("`{{ color }}`", {"color": "a\rb"}, '"a\\rb" cannot stand inside backticks: use double quotes in the query'),
        ("'{{ color }}'", {"color": "\ud800"}, '"\\ud800" is not valid Unicode: use another value'),
    ],
)
def test_a_value_that_cannot_stand_is_refused(template: str, variables: dict[str, str], said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        render(template, variables)
    assert str(refused.value) == said


def test_the_variables_of_a_template_are_known() -> None:
    assert variables_used('x{a="{{ color }}",b="{{color}}"}[{{ window }}] # {{ version }}') == {"color", "window"}
