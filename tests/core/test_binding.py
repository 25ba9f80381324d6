"""From an Application and its rule sets to the rules of one watch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from watcher.core.application import Application
from watcher.core.binding import bind_rules, binding_problems
from watcher.core.rules import RuleSet
from watcher.core.units import Invalid


def rule_set(name: str, *rules: str, **changes: Any) -> RuleSet:
    body = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "RuleSet",
        "metadata": {"name": name},
        "spec": {
            "rules": [
                {"name": rule, "query": 'up{color="{{ color }}",was="{{ previousColor }}"}', "threshold": {"above": 1}}
                | changes
                for rule in rules
            ]
        },
    }
    return RuleSet.model_validate_json(json.dumps(body))


def application(rules: Sequence[object], **watch: object) -> Application:
    body = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "chat", "namespace": "prod"},
        "spec": {
            "service": "chat",
            "colors": {"blue": {"deployment": "chat-blue"}, "green": {"deployment": "chat-green"}},
            "watch": {"rules": rules} | watch,
        },
    }
    return Application.model_validate_json(json.dumps(body))


HTTP = rule_set("http", "errors", "latency")


def test_every_rule_of_a_set_is_bound_to_the_colours_of_the_release() -> None:
    bound = bind_rules(application(["http"], interval="5s", mode="observe"), {"http": HTTP}, "green", "blue", "2.4.1")
    assert [rule.id for rule in bound] == ["http/errors", "http/latency"]
    assert bound[0].query == 'up{color="green",was="blue"}'
    assert {rule.interval.total_seconds() for rule in bound} == {5.0}
    assert not any(rule.enforcing for rule in bound)


def test_a_use_of_one_rule_changes_that_one_and_keeps_its_place() -> None:
    use = {"ruleSet": "http", "rule": "errors", "override": {"threshold": {"above": "2%"}}}
    bound = bind_rules(application(["http", use]), {"http": HTTP}, "green", "blue", "2.4.1")
    assert [(rule.id, str(rule.threshold)) for rule in bound] == [("http/errors", "> 2%"), ("http/latency", "> 1")]


@pytest.mark.parametrize(
    ("rules", "problem", "cure"),
    [
        (["htpp"], 'there is no RuleSet "htpp"', 'did you mean "http"?'),
        (["billing"], 'there is no RuleSet "billing"', "write one of http"),
        (
            [{"ruleSet": "http", "rule": "saturation"}],
            'RuleSet "http" has no rule "saturation"',
            "write one of errors, latency",
        ),
        ([{"ruleSet": "http", "rule": "error"}], 'RuleSet "http" has no rule "error"', 'did you mean "errors"?'),
        (
            [{"ruleSet": "http", "override": {"traffic": {"atLeast": 5}}}],
            'rule http/errors: "errors" asks for no traffic',
            "leave it out",
        ),
    ],
)
def test_what_cannot_be_bound_is_named_with_its_cure(rules: list[object], problem: str, cure: str) -> None:
    with pytest.raises(Invalid) as caught:
        bind_rules(application(rules), {"http": HTTP}, "green", "blue", "2.4.1")
    assert caught.value.problem == problem
    assert caught.value.cure.startswith(cure)


def test_without_any_rule_set_the_error_says_that_none_is_loaded() -> None:
    with pytest.raises(Invalid, match="none is loaded"):
        bind_rules(application(["http"]), {}, "green", "blue", "2.4.1")


def test_everything_that_cannot_be_bound_is_said_once_with_its_path() -> None:
    use = {"ruleSet": "http", "override": {"traffic": {"atLeast": 5}, "threshold": {"above": 2}}}
    rules = ["http", "htpp", {"ruleSet": "http", "rule": "error"}, use]
    at = ("spec", "watch", "rules")
    assert [(found.problem, found.path) for found in binding_problems(application(rules), {"http": HTTP})] == [
        ('there is no RuleSet "htpp"', (*at, 1, "ruleSet")),
        ('RuleSet "http" has no rule "error"', (*at, 2, "rule")),
        ('rule http/errors: "errors" asks for no traffic', (*at, 3, "override", "traffic")),
        ('rule http/latency: "latency" asks for no traffic', (*at, 3, "override", "traffic")),
    ]
    assert binding_problems(application(["http"]), {"http": HTTP}) == []


def test_a_burn_rate_that_does_not_fit_into_the_watch_is_said_at_its_entry() -> None:
    window = "[{{ window }}]"
    burning = {"name": "burn", "burnRate": {"objective": "99.9%", "bad": f"x{window}", "total": f"y{window}"}}
    body = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "RuleSet",
        "metadata": {"name": "slo"},
        "spec": {"rules": [burning]},
    }
    sets = {"slo": RuleSet.model_validate_json(json.dumps(body))}
    (found,) = binding_problems(application(["slo"], duration="2m"), sets)
    assert found.path == ("spec", "watch", "rules", 0)
    assert str(found) == (
        "rule slo/burn: no pair of burn rate windows fits into a watch of 2m: "
        "watch for 5m20s or more, or write a threshold on the share of bad events"
    )
    bound = bind_rules(application(["slo"], duration="20m"), sets, "green", "blue", "2")
    assert [rule.id for rule in bound] == ["slo/burn-5m-1m", "slo/burn-10m-1m"]
