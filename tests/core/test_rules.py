"""Rules as files have them, as Applications change them, and as a Release keeps them."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from watcher.core.binding import Watched, bind
from watcher.core.models import API_VERSION, Metadata, Model, Name, PositiveDuration, Value, plain
from watcher.core.rules import (
    BoundRule,
    Rule,
    RuleOverride,
    RuleSet,
    Threshold,
    apply_override,
)
from watcher.core.templates import TemplateError
from watcher.core.units import Invalid, Quantity

VARIABLES = {"namespace": "prod", "application": "chat", "color": "green", "deployment": "chat.green"}


def rule(**keys: Any) -> Rule:
    """A rule from what a file says."""
    return Rule.model_validate_json(
        json.dumps({"name": "error-rate", "query": "up", "threshold": {"above": "1%"}} | keys)
    )


def override(**keys: Any) -> RuleOverride:
    return RuleOverride.model_validate_json(json.dumps(keys))


def rule_set(*rules: dict[str, Any]) -> RuleSet:
    document = {
        "apiVersion": API_VERSION,
        "kind": "RuleSet",
        "metadata": {"name": "http"},
        "spec": {"rules": list(rules)},
    }
    return RuleSet.model_validate_json(json.dumps(document))


def bound(written: Rule, **variables: str) -> BoundRule:
    (made,) = bind(rule_set({"name": "a", "query": "up", "threshold": {"above": 1}}), written, watched(**variables))
    return made


def watched(**variables: str) -> Watched:
    now = VARIABLES | variables
    before = now | {"color": "blue", "deployment": "chat.blue"}
    return Watched(now, before, timedelta(seconds=10), timedelta(minutes=15), "enforce")


def test_the_defaults_of_a_rule() -> None:
    defaults = rule()
    assert defaults.window == timedelta(minutes=1)
    made = bound(defaults)
    assert (made.on_breach, made.on_no_data, made.on_error) == ("rollback", "hold", "hold")
    assert (defaults.for_, defaults.breaches, defaults.traffic, defaults.reduce) == (None, None, None, None)
    assert bound(defaults).warm_up == timedelta(minutes=1)
    assert bound(defaults).for_ == timedelta()


def test_the_warm_up_is_the_window_unless_said() -> None:
    assert bound(rule(window="5m")).warm_up == timedelta(minutes=5)
    assert bound(rule(window="5m", warmUp="0s")).warm_up == timedelta()


@pytest.mark.parametrize(
    ("threshold", "text", "breaching", "passing"),
    [
        ({"above": "1%"}, "> 1%", [0.0100001, math.inf], [0.01, 0, -math.inf]),
        ({"below": "99.9%"}, "< 99.9%", [0.9989, -math.inf], [0.999, 1, math.inf]),
        ({"outside": [1, "2.5"]}, "outside 1 to 2.5", [0.99, 2.51, math.inf, -math.inf], [1, 2, 2.5]),
        ({"above": 0}, "> 0", [0.1], [0, -1]),
    ],
)
def test_a_comparison_is_strict(
    threshold: dict[str, Any], text: str, breaching: list[float], passing: list[float]
) -> None:
    limit = Threshold.model_validate_json(json.dumps(threshold))
    assert str(limit) == text
    assert all(limit.breached_by(value) for value in breaching)
    assert not any(limit.breached_by(value) for value in passing)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"threshold": {}}, "a threshold has no limit: write exactly one of above, below, outside"),
        ({"threshold": {"above": 1, "below": 2}}, "a threshold has above and below: write exactly one of"),
        ({"threshold": {"outside": [2, 2]}}, "the range from 2 to 2 is empty: write the lower limit first"),
        ({"for": "1m", "breaches": {"count": 2, "of": 3}}, 'a rule has "for" and "breaches": write one of them'),
        ({"breaches": {"count": 4, "of": 3}}, "4 of 3 can never be: write a count of at most 3"),
        ({"breaches": {"count": 0, "of": 3}}, "greater than or equal to 1"),
        ({"onNoData": "breach"}, '"onNoData: breach" without "for" would roll back at the first gap'),
        ({"onError": "breach", "for": "0s"}, '"onError: breach" without "for" would roll back at the first gap'),
        ({"onError": "pass"}, "Input should be 'hold' or 'breach'"),
        ({"query": None}, '"query" is missing: add "query: ..."'),
        ({"query": "  "}, "the query is empty: write a PromQL expression"),
        ({"query": "x{a='{{ colour }}'}"}, '"colour" is no variable: did you mean "color"?'),
        ({"traffic": {"query": "{{ color }}", "atLeast": 1}}, '"color" stands outside of quotes'),
        ({"window": "0s"}, '0s is too short: write a duration above zero, such as "30s"'),
        ({"window": 60}, '60 is a duration without a unit: did you mean "60s"?'),
        ({"window": True}, 'this is no duration: write a text such as "30s"'),
        ({"threshold": {"above": True}}, "this is no number: write a number with or without a unit"),
        ({"threshold": {"above": "1 quux"}}, '"1 quux" has an unknown unit'),
        ({"name": "Error Rate"}, 'did you mean "error-rate"?'),
        ({"name": "---"}, 'write one such as "error-rate"'),
        ({"reduce": "median"}, "Input should be 'max', 'min', 'sum' or 'avg'"),
    ],
)
def test_a_rule_that_cannot_mean_anything_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        rule(**keys)
    assert said in str(refused.value)


def test_a_rule_that_lacks_its_threshold_is_refused() -> None:
    with pytest.raises(ValidationError, match="threshold"):
        Rule.model_validate_json('{"name": "a", "query": "up"}')


def test_two_rules_of_a_set_cannot_share_a_name() -> None:
    one = {"name": "a", "query": "up", "threshold": {"above": 1}}
    with pytest.raises(ValidationError, match='a second rule is called "a": give each rule a name of its own'):
        rule_set(one, one)
    with pytest.raises(ValidationError, match="at least 1 item"):
        rule_set()


@pytest.mark.parametrize(
    ("keys", "changes"),
    [
        ({}, {}),
        ({"window": "5m"}, {"window": timedelta(minutes=5)}),
        ({"for": "0s"}, {"for_": timedelta()}),
        ({"threshold": {"below": 1}}, {"threshold": Threshold.model_validate_json('{"below": 1}')}),
        ({"onBreach": "notify"}, {"on_breach": "notify"}),
    ],
)
def test_an_application_changes_only_what_it_names(keys: dict[str, Any], changes: dict[str, Any]) -> None:
    before = rule(**{"for": "30s"}, window="2m")
    assert apply_override(before, override(**keys)) == before.model_copy(update=changes)


def test_an_application_changes_the_floor_of_traffic() -> None:
    before = rule(traffic={"query": "sum(x)", "atLeast": 50})
    after = apply_override(before, override(traffic={"atLeast": "10/s"}))
    assert after.traffic is not None
    assert (after.traffic.query, after.traffic.at_least.text) == ("sum(x)", "10/s")


@pytest.mark.parametrize(
    ("keys", "changes", "said", "path"),
    [
        (
            {"breaches": {"count": 1, "of": 2}},
            {"for": "1m"},
            '"error-rate" counts breaches, so "for" cannot change it: leave it out',
            ("for",),
        ),
        (
            {},
            {"traffic": {"atLeast": 1}},
            '"error-rate" asks for no traffic: leave it out, or give the rule a traffic query',
            ("traffic",),
        ),
        (
            {"for": "1m", "onNoData": "breach"},
            {"for": "0s"},
            '"error-rate" has onNoData: breach: write a duration above zero',
            ("for",),
        ),
        (
            {"for": "1m", "onError": "breach"},
            {"for": "0s"},
            '"error-rate" has onError: breach: write a duration above zero',
            ("for",),
        ),
    ],
)
def test_a_change_that_does_not_fit_its_rule_is_refused(
    keys: dict[str, Any], changes: dict[str, Any], said: str, path: tuple[str, ...]
) -> None:
    with pytest.raises(Invalid) as refused:
        apply_override(rule(**keys), override(**changes))
    assert (str(refused.value), refused.value.path) == (said, path)


def test_binding_renders_both_queries() -> None:
    written = rule(
        query="""
          sum(rate(x{color="{{ color }}", pod=~"{{ deployment }}-.*"}[{{ window }}]))  # a note
        """,
        traffic={"query": "sum(increase(x{app='{{ application }}'}[{{ window }}]))", "atLeast": 50},
        window="90s",
    )
    made = bound(written, color='gr"een')
    assert made.id == "http/error-rate"
    assert made.name == "error-rate"
    assert made.query == r'sum(rate(x{color="gr\"een", pod=~"chat\\.green-.*"}[1m30s]))'
    assert made.traffic_query == "sum(increase(x{app='chat'}[1m30s]))"
    assert made.traffic_at_least is not None
    assert made.traffic_at_least.number == 50


def test_binding_without_a_value_is_refused() -> None:
    with pytest.raises(TemplateError, match='"version" has no value here'):
        bound(rule(query="x{v='{{ version }}'}"))


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("on_breach", ["rollback", "notify", "observe"])
def test_only_a_rule_that_rolls_back_in_an_enforcing_watch_enforces(mode: Any, on_breach: str) -> None:
    made = bound(rule(onBreach=on_breach)).model_copy(update={"mode": mode})
    assert made.enforcing == (mode == "enforce" and on_breach == "rollback")


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"for": "90s", "onNoData": "breach", "traffic": {"query": "sum(x)", "atLeast": "5/min"}, "reduce": "max"},
        {"breaches": {"count": 3, "of": 5}, "threshold": {"outside": ["250ms", "1.5s"]}},
    ],
)
def test_a_bound_rule_survives_the_way_through_a_status(keys: dict[str, Any]) -> None:
    made = bound(rule(**keys))
    assert BoundRule.model_validate_json(made.model_dump_json()) == made
    without_nulls = plain(made)
    assert None not in without_nulls.values()
    assert BoundRule.model_validate_json(json.dumps(without_nulls)) == made


def test_models_take_python_values_and_publish_their_schema() -> None:
    class Sample(Model):
        name: Name
        wait_for: PositiveDuration
        limit: Value

    made = Sample(name="a", wait_for=timedelta(seconds=90), limit=Quantity(0.01, "1%", "%"))
    assert plain(made) == {"name": "a", "waitFor": "1m30s", "limit": "1%"}
    properties = Sample.model_json_schema()["properties"]
    assert properties["waitFor"]["type"] == "string"
    assert properties["limit"]["type"] == ["string", "number"]
    assert "a-z0-9" in properties["name"]["pattern"]
    assert RuleSet.model_json_schema()["additionalProperties"] is False


def test_a_model_takes_no_unknown_key_and_never_changes() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Metadata.model_validate_json('{"name": "a", "uid": "b"}')
    with pytest.raises(ValidationError, match="frozen"):
        rule().name = "other"  # type: ignore[misc]


def test_lint_is_told_to_leave_something_alone_only_with_a_reason() -> None:
    ignored = {"code": "BW203", "reason": "one namespace only"}
    assert rule(lint={"ignore": [ignored]}).lint.ignore[0].code == "BW203"
    for wrong in ({"code": "BW203"}, {**ignored, "reason": " "}, {**ignored, "code": "203"}):
        with pytest.raises(ValidationError):
            rule(lint={"ignore": [wrong]})
