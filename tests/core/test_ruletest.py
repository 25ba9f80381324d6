"""Files of rule tests: what they may say, how they are refused, and how what came is held against what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from watcher.core.documents import Document, read_documents
from watcher.core.evaluation import Sample, advance, initial
from watcher.core.models import Model
from watcher.core.readings import NoData, Number, Reading
from watcher.core.rules import BoundRule, RuleSet
from watcher.core.ruletest import RuleTest, Test, Variables
from watcher.core.ruletest_cases import WEEK, Case, Course, cases, check, layout, reach
from watcher.core.units import Invalid

KINDS: dict[str, type[Model]] = {"RuleTest": RuleTest, "RuleSet": RuleSet}

RULES = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleSet
metadata: {name: http}
spec:
  rules:
    - name: errors
      query: sum(rate(bad{app="{{ application }}",pod=~"{{ deployment }}-.*"}[{{ window }}]))
      threshold: {above: 10%}
      for: 10s
      warmUp: 10s
    - name: speed
      query: speed{color="{{ color }}",was="{{ previousColor }}",version="{{ version }}"}
      threshold: {below: 5}
      warmUp: 10s
      traffic: {query: 'traffic{service="{{ service }}"}', atLeast: 1}
"""

HEAD = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleTest
metadata: {name: http}
spec:
  rules: [http]
"""

TESTS = """\
  tests:
    - name: first
      interval: 10s
      input_series:
        - {series: bad, values: 0+0x6}
      expect:
        - {at: 20s, rule: errors, outcome: pass}
        - at: 30s
          verdict: pass
      verdict: pass
"""


def read(text: str) -> tuple[list[Document], list[str]]:
    found = read_documents(text, "t.yaml", KINDS)
    return found.items, [str(problem) for problem in found.problems]


def ready(text: str) -> tuple[list[Case], list[str]]:
    documents, problems = read(f"{RULES}---\n{text}")
    assert problems == []
    sets = {one.name: one.model for one in documents if isinstance(one.model, RuleSet)}
    found, wrong = cases(documents, {"t.yaml": f"{RULES}---\n{text}"}, sets)
    return found, [str(problem) for problem in wrong]


def one_case(text: str = HEAD + TESTS) -> Case:
    found, wrong = ready(text)
    assert wrong == []
    return found[0]


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_case_knows_the_lines_of_its_expectations() -> None:
    case = one_case()
    lines = f"{RULES}---\n{HEAD}{TESTS}".splitlines()

    assert lines[case.line - 1].strip() == "- name: first"
    assert "outcome: pass" in lines[case.line_of(0) - 1]
    assert "at: 30s" in lines[case.line_of(1) - 1]
    assert lines[case.line_of(None) - 1].strip() == "verdict: pass"


def test_the_rules_are_bound_as_for_an_application_of_these_names() -> None:
    variables = "  variables: {application: shop, color: blue, version: '7', service: front}\n"
    case = one_case(HEAD + variables + TESTS)
    errors, speed = case.rules

    assert errors.query == 'sum(rate(bad{app="shop",pod=~"shop-blue-.*"}[1m]))'
    assert speed.query == 'speed{color="blue",was="green",version="7"}'
    assert speed.traffic_query == 'traffic{service="front"}'
    assert all(rule.enforcing for rule in case.rules)
    assert all(rule.interval == timedelta(seconds=10) for rule in case.rules)


def test_without_variables_the_names_are_those_of_the_documents_table() -> None:
    errors, speed = one_case().rules

    assert 'app="app",pod=~"app-green-.*"' in errors.query
    assert 'version="1.0.0"' in speed.query
    assert speed.traffic_query == 'traffic{service="app"}'


@pytest.mark.parametrize("color", ["blue", "green"])
def test_a_deployment_may_have_any_name_even_that_of_the_other_colour(color: Any) -> None:
    variables = Variables(color=color, deployment="app-blue")
    app = variables.application_with(["http"], timedelta(minutes=1), timedelta(seconds=10))

    assert app.deployment(color) == "app-blue"


def test_a_test_may_name_rules_of_its_own() -> None:
    text = TESTS.replace("      interval", "      rules: [{ruleSet: http, rule: errors}]\n      interval")
    case = one_case(HEAD + text)

    assert [rule.id for rule in case.rules] == ["http/errors"]


def test_the_watch_lasts_until_the_last_value_of_the_longest_series() -> None:
    text = TESTS.replace("0x6}", "0x6}\n        - {series: b, values: 1 2}").replace(
        "      expect", "      switchedAt: 15s\n      expect"
    )

    assert one_case(HEAD + text).test.duration == timedelta(seconds=45)


def test_the_watch_may_be_longer_than_the_series() -> None:
    text = TESTS.replace("      expect", "      watch: {duration: 5m, interval: 1m}\n      expect")

    assert one_case(HEAD + text).test.duration == timedelta(minutes=5)


REFUSED = {
    ("0+0x6", "0y6"): 't.yaml:10:33: "0y6" is no value',
    ("series: bad", "series: 'bad{'"): "t.yaml:10:25: a label has to stand here",
    ("{series: bad, values: 0+0x6}", "{series: bad, values: 0x5}"): 'put it in quotes: "0x5"',
    ("input_series", "inputSeries"): 'did you mean "input_series"?',
    ("input_series", "promql_expr_test"): 'write "expect"',
    ("outcome: pass", "outcome: passes"): 'did you mean "pass"?',
    (", outcome: pass", ""): "nothing is expected of",
    ("rule: errors, outcome: pass", "breached: true"): "this expects nothing of anyone",
    ("outcome: pass", "verdict: pass"): "a verdict is that of all rules together",
    ("at: 20s", "at: 2m"): "t.yaml:12:16: 2m is after the end of the watch (1m)",
    ("at: 20s", "at: 20"): 'did you mean "20s"?',
    ("interval: 10s", "interval: 1s"): "less than its interval",
    ("interval: 10s", "watch: {interval: 100ms}"): "an interval under 1s is too short",
    ("interval: 10s", "watch: {duration: 10w, interval: 1s}"): "more than 10000 times",
    ("0x6}", "0x6}\n        - {series: 'bad{a=\"\"}', values: '1'}"): "stands here twice",
    ("metadata: {name: http}", "metadata: {name: http}\nmore: 1"): "unknown key",
}


@pytest.mark.parametrize(("change", "said"), REFUSED.items(), ids=[f"{a} to {b}" for a, b in REFUSED])
def test_a_wrong_file_is_refused_with_place_and_cure(change: tuple[str, str], said: str) -> None:
    text = (HEAD + TESTS).replace(*change, 1)
    documents, problems = read(text)

    assert documents == []
    assert any(said in problem for problem in problems), problems


def test_a_test_that_expects_nothing_is_refused() -> None:
    text = HEAD + TESTS.partition("      expect")[0]

    assert "expects nothing" in read(text)[1][0]


def test_two_tests_of_one_name_are_refused() -> None:
    text = HEAD + TESTS + TESTS.partition("\n")[2]

    assert "t.yaml:16:13: a second test is called" in read(text)[1][0]


def test_a_name_that_leaves_no_room_for_a_colour_is_refused() -> None:
    text = f"{HEAD}  variables: {{application: {'a' * 58}}}\n{TESTS}"

    assert "leaves no room for a colour" in read(text)[1][0]


def test_an_unknown_rule_is_refused_where_it_stands() -> None:
    text = (HEAD + TESTS).replace("rule: errors", "rule: error")
    found, wrong = ready(text)

    assert found == []
    assert wrong == ['t.yaml:28:27: no rule "error" is tested here: did you mean "errors"?']


def test_a_rule_that_resembles_none_is_told_which_there_are() -> None:
    _, wrong = ready((HEAD + TESTS).replace("rule: errors", "rule: zzz"))

    assert "the rules here are errors, speed" in wrong[0]


def test_a_name_that_several_sets_have_is_not_guessed() -> None:
    more = RULES.replace("name: http", "name: more")
    documents, _ = read(f"{RULES}---\n{more}---\n{(HEAD + TESTS).replace('[http]', '[http, more]')}")
    sets = {one.name: one.model for one in documents if isinstance(one.model, RuleSet)}
    text = f"{RULES}---\n{more}---\n{(HEAD + TESTS).replace('[http]', '[http, more]')}"

    _, wrong = cases(documents, {"t.yaml": text}, sets)

    assert 'several rules are called "errors": write http/errors or more/errors' in str(wrong[0])


def test_an_unknown_rule_set_is_refused_at_the_rules_of_the_file_or_of_the_test() -> None:
    _, of_file = ready((HEAD + TESTS).replace("[http]", "[htp]"))
    _, of_test = ready(HEAD + TESTS.replace("      interval", "      rules: [htp]\n      interval"))

    assert 't.yaml:21:10: there is no RuleSet "htp": did you mean "http"?' in of_file
    assert 't.yaml:24:14: there is no RuleSet "htp": did you mean "http"?' in of_test


def test_without_any_rule_set_the_cure_is_to_name_their_files() -> None:
    documents, _ = read(HEAD + TESTS)

    _, wrong = cases(documents, {"t.yaml": HEAD + TESTS}, {})

    assert "name the files of the RuleSets as well" in str(wrong[0])


# -- times ------------------------------------------------------------------------------------------------------------


def bound(query: str, **changes: Any) -> BoundRule:
    rule = one_case().rules[0]
    return rule.model_copy(update={"query": query, **changes})


@pytest.mark.parametrize(
    ("query", "seconds"),
    [("up", 0), ("rate(x[5m])", 300), ("x[1h30m] offset 1d", 5400 + 86400), ("x[2w:10s]", 2 * WEEK + 10)],
)
def test_a_rule_sees_no_further_than_its_durations_together(query: str, seconds: float) -> None:
    assert reach(bound(query)) == seconds


def test_a_comparison_sees_the_week_before() -> None:
    text = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleSet
metadata: {name: http}
spec:
  rules:
    - name: errors
      query: bad{app="{{ application }}"}
      compare: {tolerance: {relative: 10%, absolute: 1%}}
"""
    documents, problems = read(f"{text}---\n{HEAD}{TESTS}")
    assert problems == []
    sets = {one.name: one.model for one in documents if isinstance(one.model, RuleSet)}
    found, wrong = cases(documents, {"t.yaml": f"{text}---\n{HEAD}{TESTS}"}, sets)

    assert wrong == []
    assert reach(found[0].rules[0]) > WEEK


def test_tests_lie_so_far_apart_that_none_sees_another() -> None:
    test = one_case().test
    far, near = [bound("x[3w] offset 2w")], [bound("up")]

    starts = layout([(test, near), (test, far), (test, near), (test, [])])

    assert all(start % WEEK == 0 for start in starts)
    assert starts[1] - starts[0] > 5 * WEEK
    assert starts[2] - starts[1] > 5 * WEEK
    assert starts[3] > starts[2]


def test_tests_that_look_back_over_ages_are_refused() -> None:
    test = one_case().test

    with pytest.raises(Invalid, match="span more than 130 years"):
        layout([(test, [bound("x[90y]")])] * 2)


# -- judging ----------------------------------------------------------------------------------------------------------

SWITCHED = 1000.0


def course(rule: BoundRule, readings: Sequence[Reading], traffic: Reading | None = None) -> Course:
    state, states = initial(rule), []
    for index, one in enumerate(readings, 1):
        state = advance(rule, state, Sample(SWITCHED + 10 * index, one, traffic))
        states.append(state)
    return rule, tuple(states)


def judged(expect: str, errors: Sequence[Reading], speed: Sequence[Reading] = (), **_: Any) -> list[tuple[bool, str]]:
    """What came of some expectations, when the two rules read these."""
    text = HEAD + TESTS.partition("      expect")[0] + expect
    case = one_case(text)
    first, second = case.rules
    return [
        (one.ok, one.got)
        for one in check(case.test, [course(first, errors), course(second, speed, Number(1))], SWITCHED)
    ]


HIGH, LOW = Number(0.25), Number(0.01)

JUDGED = [
    ("{at: 5s, rule: errors, outcome: pending}", True, "pending"),
    ("{at: 10s, rule: errors, outcome: pass, value: 1%}", True, "pass 1%"),
    ("{at: 10s, rule: errors, value: 1.004%}", True, "pass 1%"),
    ("{at: 10s, rule: errors, value: 1.02%}", False, "pass 1%"),
    ("{at: 10s, rule: errors, value: 1.006%}", False, "pass 1%"),
    ("{at: 10s, rule: errors, value: 0}", False, "pass 0.01"),
    ("{at: 10s, rule: errors, outcome: breach}", False, "pass 1%"),
    ("{at: 19s, rule: errors, outcome: pass}", True, "pass 1%"),
    ("{at: 20s, rule: errors, outcome: breach, breached: false}", True, "breach 25%, not breached"),
    ("{at: 20s, rule: errors, breached: true}", False, "breach 25%, not breached"),
    ("{at: 30s, rule: http/errors, breached: true}", True, "breach 25%, breached"),
    ("{at: 40s, rule: errors, outcome: noData, breached: true}", True, "noData, breached (no data)"),
    ("{at: 40s, rule: errors, value: 1%}", False, "noData (no data)"),
    ("{at: 20s, verdict: hold}", True, "hold"),
    ("{at: 30s, verdict: rollback}", True, "rollback"),
]


@pytest.mark.parametrize(("expected", "ok", "got"), JUDGED, ids=[one[0] for one in JUDGED])
def test_what_came_is_held_against_what_was_expected(expected: str, ok: bool, got: str) -> None:
    (found,) = judged(f"      expect: [{expected}]\n", [LOW, HIGH, HIGH, NoData()], [Number(6)] * 3)

    assert found == (ok, got)


def test_values_that_look_alike_are_told_apart() -> None:
    (found,) = judged("      expect: [{at: 10s, rule: speed, value: 1.0049}]\n", [], [Number(0.9996)])

    assert found == (False, "breach 0.9996")


def test_the_verdict_of_a_test_is_that_at_the_end_of_the_watch_with_its_reasons() -> None:
    short = judged("      verdict: pass\n", [LOW], [Number(6)])
    good = judged("      verdict: pass\n", [LOW] * 6, [Number(6)] * 6)

    assert short[0][0] is False
    assert short[0][1].startswith("inconclusive: ")
    assert good == [(True, "pass")]


def test_a_test_of_nothing_but_a_verdict_needs_no_series() -> None:
    text = TESTS.replace("        - {series: bad, values: 0+0x6}\n", "").replace("input_series:", "input_series: []")
    text = text.replace("      expect", "      watch: {duration: 1m}\n      expect")

    assert isinstance(one_case(HEAD + text).test, Test)
