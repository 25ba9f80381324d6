"""Files and Applications together: all at once, silence with a reason, and what an Application makes of a rule."""

from __future__ import annotations

import pytest

from tests.core.lint.document import APPLICATION, HEAD, KINDS, SCRAPES, as_file, codes, findings
from watcher.core.lint.files import lint

SEL = 'namespace="{{ namespace }}",color="{{ color }}"'
GOOD = f"query: max(x{{{SEL}}})\nthreshold: {{above: 5}}\n"
RATE = f"query: sum(rate(r_total{{{SEL}}}[{{{{ window }}}}]))\nthreshold: {{above: 5}}\n"
SET = as_file(RATE)


def app(*rules: str, watch: str = "") -> str:
    """An Application with these rules and keys of its watch."""
    return APPLICATION.replace("{rules: [example]}", "{rules: [" + ", ".join(rules) + "]" + watch + "}")


def said(text: str, application: str) -> list[str]:
    return [str(one) for one in findings(text, application=application)]


def test_a_wrong_rule_hides_neither_its_own_queries_nor_its_neighbours() -> None:
    text = (
        HEAD
        + "    - name: Wrong Name\n      query: sum(x\n      treshold: {above: 5}\n"
        + f"    - name: right\n      query: max(x{{{SEL}}}[5m])\n      threshold: {{above: 5}}\n"
        + '    - name: other\n      query: ""\n      threshold: {above: 5}\n'
        + '    - name: variable\n      query: x{a="{{ clor }}"}\n      threshold: {above: 5}\n'
        + "    - 3\n"
    )

    assert [(one.line, one.code) for one in findings(text)] == [
        (6, "BW001"),
        (7, "BW101"),
        (8, "BW001"),
        (10, "BW101"),
        (13, "BW001"),
        (16, "BW002"),
        (18, "BW001"),
    ]


def test_what_is_said_of_a_query_lies_in_it_however_it_is_written() -> None:
    for written, place in (
        ("query: sum(x)", (7, 18)),
        ('query: "sum(x)"', (7, 19)),
        ("query: 'sum(x)'", (7, 19)),
        ("query: |\n  sum(\n    x)", (9, 11)),
        ("query: >\n  sum(x)", (7, 14)),
        ("query:\n  sum(x)", (8, 13)),
    ):
        found = findings(written + "\nthreshold: {above: 5}\n")
        assert {(one.line, one.column) for one in found} == {place}, written


def test_broken_yaml_is_said_and_what_was_read_before_it_is_looked_at() -> None:
    found = findings(as_file(RATE + "threshold: {above: 1}\n").replace("sum(rate", "sum(rat"))

    assert [one.code for one in found] == ["BW101", "BW001"]
    assert codes("kind: [") == ["BW001"]
    assert codes("- kind: RuleSet\n") == ["BW001"]
    assert codes("kind: RuleSet\nspec: {rules: 3}\n") == ["BW001"] * 3
    assert codes("kind: Setings\n") == ["BW001"] * 2


def test_a_second_document_of_one_name_is_said() -> None:
    found = lint({"a.yaml": SET, "b.yaml": SET}, KINDS, SCRAPES).all()

    assert [(one.file, one.code) for one in found] == [("b.yaml", "BW001")]
    assert "the first is in a.yaml:1" in str(found[0])


def test_a_code_is_silenced_with_a_reason_for_all_that_it_finds_in_the_rule() -> None:
    text = "query: max(x) + max(y)\nthreshold: {above: 5}\n"
    ignored = 'lint: {ignore: [{code: BW201, reason: "one colour"}, {code: BW203, reason: "one namespace"}]}\n'

    assert codes(text) == ["BW201", "BW203", "BW201", "BW203"]
    assert codes(text + ignored) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (
            "BW104",
            "BW901 warning: example/example: nothing here is BW104 (the query may give several series): take it out",
        ),
        ("BW601", ""),
        ("BW701", ""),
        ("BW001", "BW902 error: example/example: BW001 (the file is not what its schema allows) stays: take it out"),
        ("BW409", 'BW902 error: example/example: BW409 is no code that lint has: did you mean "BW4'),
        ("BW888", "BW902 error: example/example: BW888 is no code that lint has"),
    ],
)
def test_an_ignore_that_silences_nothing_is_a_finding_where_it_could_have_been_found(code: str, found: str) -> None:
    seen = findings(GOOD + f"lint:\n  ignore:\n    - {{code: {code}, reason: none}}\n")

    assert len(seen) == bool(found)
    assert all(found in str(one) and (one.line, one.column) == (11, 20) for one in seen)


def test_a_form_that_is_newer_than_lint_can_be_silenced() -> None:
    text = f"query: sum(rate(r_total{{{SEL}}}[1m] smoothed))\nthreshold: {{above: 5}}\n"

    assert codes(text) == ["BW101"]
    assert codes(text + 'lint: {ignore: [{code: BW101, reason: "Prometheus 3.7 has it"}]}\n') == []


def test_with_an_application_an_ignore_of_what_it_finds_has_to_be_needed() -> None:
    ignored = "lint: {ignore: [{code: BW601, reason: none}]}\n"

    assert codes(RATE + ignored, application=app("example")) == ["BW901"]
    assert codes(RATE + ignored, application=app("example", watch=", duration: 30s")) == []


@pytest.mark.parametrize(
    ("rules", "place", "problem"),
    [
        ("exampel", (7, 19), 'there is no RuleSet "exampel" among these files: did you mean "example"?'),
        ("shop", (7, 19), 'there is no RuleSet "shop" among these files: name the file or directory with it as well'),
        ("{ruleSet: exampel}", (7, 29), 'did you mean "example"?'),
        ("{ruleSet: example, rule: exampl}", (7, 44), 'has no rule "exampl": did you mean "example"?'),
        ("{ruleSet: example, rule: zzz}", (7, 44), "write one of example"),
        ("{ruleSet: example, override: {traffic: {atLeast: 5}}}", (7, 49), "asks for no traffic"),
    ],
)
def test_what_an_application_names_wrongly_is_said_at_its_entry(
    rules: str, place: tuple[int, int], problem: str
) -> None:
    (found,) = findings(RATE, application=app(rules))

    assert (found.file, found.line, found.column, found.code) == ("application.yaml", *place, "BW003")
    assert problem in str(found)


def test_of_a_rule_set_that_is_not_valid_an_application_knows_nothing() -> None:
    text = as_file(RATE) + "    - name: wrong\n"

    assert codes(text, application=app("example", "{ruleSet: example, rule: wrong}")) == ["BW001"]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("example", []),
        ("{ruleSet: example, override: {window: 30s}}", ["BW303"]),
        ("{ruleSet: example, override: {window: 2m}}", []),
        ("{ruleSet: example, rule: example, override: {threshold: {below: 0}}}", ["BW501"]),
        ("{ruleSet: example, override: {threshold: {below: 0}}}, {ruleSet: example, override: {for: 1m}}", []),
    ],
)
def test_what_an_override_makes_of_a_rule_is_said_at_the_override(rules: str, found: list[str]) -> None:
    seen = findings(RATE, application=app(rules))

    assert [one.code for one in seen] == found
    assert all((one.file, one.line, one.rule) == ("application.yaml", 7, "example/example") for one in seen)


def test_a_window_that_is_short_already_is_said_once_at_the_rule() -> None:
    seen = findings(RATE + "window: 20s\n", application=app("{ruleSet: example, override: {window: 30s}}"))

    assert [(one.file, one.code) for one in seen] == [("example.yaml", "BW303")]


@pytest.mark.parametrize(
    ("keys", "watch", "found"),
    [
        ("for: 4m\n", ", duration: 5m", ""),
        (
            "for: 4m1s\n",
            ", duration: 5m",
            "evaluated 25 times in a watch of 5m (warm-up 1m, every 10s), and needs 26 for",
        ),
        ("window: 2m\n", ", duration: 2m", ""),
        ("window: 2m\n", ", duration: 119s", "evaluated 0 times in a watch of 1m59s"),
        ("breaches: {count: 2, of: 5}\n", ", duration: 60s", "evaluated once in a watch of 1m"),
        ("breaches: {count: 2, of: 5}\n", ", duration: 70s", ""),
        ("warmUp: 5s\nlint: {ignore: [{code: BW304, reason: none}]}\n", ", duration: 10s", ""),
    ],
)
def test_a_rule_that_cannot_fire_within_the_watch(keys: str, watch: str, found: str) -> None:
    seen = said(RATE + keys, app("example", watch=watch))

    assert len(seen) == bool(found)
    assert all(found in one and "application.yaml:7:19: BW601" in one for one in seen)


def test_the_cure_is_long_enough() -> None:
    (found,) = findings(RATE + "for: 2m\n", application=app("example", watch=", duration: 90s"))

    assert found.cure == "watch for 3m or more, or ask for less"
    assert findings(RATE + "for: 2m\n", application=app("example", watch=", duration: 3m")) == []


def test_a_burn_rate_that_does_not_fit_into_the_watch_is_refused_as_by_the_daemon() -> None:
    text = f"""\
burnRate:
  objective: 99%
  bad: sum(rate(r_total{{{SEL},code="500"}}[{{{{ window }}}}]))
  total: sum(rate(r_total{{{SEL}}}[{{{{ window }}}}]))
"""

    assert codes(text, application=app("example", watch=", duration: 30m")) == []
    (found,) = said(text, app("example", watch=", duration: 3m"))
    assert "BW003 error: rule example/example: no pair of burn rate windows fits into a watch of 3m" in found


def test_a_query_that_is_none_does_not_keep_an_application_from_being_looked_at() -> None:
    text = as_file(RATE.replace("sum(rate", "sum(rat"))

    assert codes(text, application=app("{ruleSet: example, override: {window: 30s}}")) == ["BW101"]
