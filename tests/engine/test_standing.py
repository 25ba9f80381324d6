"""What `/metrics` says of how things stand: colours, as comparisons ask for them later, Releases, rules."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import Collector

from tests.support.acting import application
from watcher.core.application import Application
from watcher.core.binding import bind_rules
from watcher.core.comparison import Compared, Unknown
from watcher.core.documents import read_documents
from watcher.core.evaluation import Held, Outcome, RuleState
from watcher.core.models import API_VERSION
from watcher.core.release import Colors, Condition, ForeignFlip, Keep, Phase, Release, Spec, Status
from watcher.core.rules import BoundRule, RuleSet
from watcher.engine.config import KINDS
from watcher.engine.measures import Measures
from watcher.engine.standing import ActiveColors, StandingReleases, StandingRules, Watched

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)


def test_the_live_colour_is_1_and_the_other_0_and_an_unknown_one_neither() -> None:
    live = {("prod", "chat"): "green", ("prod", "shop"): ""}
    measures = Measures()
    measures.registry.register(ActiveColors(lambda: live))

    def shown() -> list[str]:
        text = generate_latest(measures.registry).decode()
        return [line for line in text.splitlines() if line.startswith("watcher_active_color{")]

    assert shown() == [
        'watcher_active_color{active="blue",application="chat",application_namespace="prod"} 0.0',
        'watcher_active_color{active="green",application="chat",application_namespace="prod"} 1.0',
        'watcher_active_color{active="blue",application="shop",application_namespace="prod"} 0.0',
        'watcher_active_color{active="green",application="shop",application_namespace="prod"} 0.0',
    ]
    live["prod", "chat"] = "blue"
    assert shown()[0].endswith(" 1.0")


def release(
    phase: Phase,
    kind: str,
    truth: Literal["True", "False", "Unknown"] = "True",
    *,
    application: str = "chat",
    keep: Keep | None = None,
) -> Release:
    condition = Condition(type=kind, status=truth, reason=kind, last_transition_time=NOW)
    return Release(
        name="a",
        namespace="prod",
        uid="1",
        resource_version="1",
        created_at=NOW,
        spec=Spec(application=application),
        status=Status(phase=phase, conditions=(condition,), keep=keep),
    )


def test_conditions_of_running_releases_and_of_a_way_back_that_is_kept_are_counted() -> None:
    kept = Keep(color="blue", deployment="chat-blue", until=NOW)
    releases = [
        release(Phase.WATCHING, "Blind"),
        release(Phase.WATCHING, "NeedsAttention", "False"),
        release(Phase.ROLLED_BACK, "Blind"),
        release(Phase.COMPLETED, "WayBackLost", keep=kept),
        release(Phase.COMPLETED, "WayBackLost", keep=kept.model_copy(update={"done": True})),
        release(Phase.COMPLETED, "WayBackLost"),
        release(Phase.WATCHING, "Sunny"),
        release(Phase.WATCHING, "Blind", application="of nobody"),
    ]
    measures = Measures()
    measures.registry.register(StandingReleases(lambda: [("prod", "chat"), ("prod", "shop")], lambda: releases))

    def shown(application: str) -> dict[str, float]:
        about = {"application": application, "application_namespace": "prod"}
        kinds = ("Blind", "NeedsAttention", "WayBackLost")
        found = {
            kind: measures.registry.get_sample_value("watcher_release_condition", about | {"condition": kind})
            for kind in kinds
        }
        return {kind: value for kind, value in found.items() if value is not None}

    assert shown("chat") == {"Blind": 1, "NeedsAttention": 0, "WayBackLost": 1}
    assert shown("shop") == {"Blind": 0, "NeedsAttention": 0, "WayBackLost": 0}
    assert shown("of nobody") == {}
    releases.clear()
    assert shown("chat") == {"Blind": 0, "NeedsAttention": 0, "WayBackLost": 0}


def test_an_ended_release_that_left_services_on_different_colours_still_needs_somebody() -> None:
    ended = release(Phase.SUPERSEDED, "NeedsAttention")
    (condition,) = ended.status.conditions
    mixed = condition.model_copy(update={"reason": "MixedColors"})
    left = ended.model_copy(update={"status": ended.status.model_copy(update={"conditions": (mixed,)})})
    seen = [ended]
    family, *_ = StandingReleases(lambda: [("prod", "chat")], lambda: seen).collect()
    assert {s.labels["condition"]: s.value for s in family.samples}["NeedsAttention"] == 0
    seen[:] = [left]
    family, *_ = StandingReleases(lambda: [("prod", "chat")], lambda: seen).collect()
    assert {s.labels["condition"]: s.value for s in family.samples}["NeedsAttention"] == 1


# -- Releases ---------------------------------------------------------------------------------------------------------


def samples(collector: Collector) -> dict[str, dict[tuple[str, ...], float]]:
    """What a collector gives, by family and by the values of the labels after those of the Application."""
    return {
        family.name: {tuple(sample.labels.values())[2:]: sample.value for sample in family.samples}
        for family in collector.collect()
    }


def test_releases_are_counted_by_phase_and_those_that_run_are_named_with_when_their_phase_began() -> None:
    running = release(Phase.WATCHING, "Blind")
    spec, status = running.spec, running.status
    running = running.model_copy(
        update={
            "spec": spec.model_copy(update={"version": "v" * 100}),
            "status": status.model_copy(update={"colors": Colors(from_="blue", to="green"), "phase_since": NOW}),
        }
    )
    found = [running, release(Phase.COMPLETED, "Blind"), release(Phase.COMPLETED, "Blind")]
    shown = samples(StandingReleases(lambda: [("prod", "chat")], lambda: found))

    assert shown["watcher_releases"] == {("Watching",): 1, ("Completed",): 2}
    assert shown["watcher_release_phase_start_timestamp_seconds"] == {
        ("a", "v" * 64, "green", "Watching"): NOW.timestamp()
    }
    found.clear()
    shown = samples(StandingReleases(lambda: [("prod", "chat")], lambda: found))
    assert shown["watcher_release_phase_start_timestamp_seconds"] == {}
    assert shown["watcher_releases"] == {}


def test_a_release_that_has_not_begun_waits_since_it_was_made() -> None:
    pending = release(Phase.PENDING, "Blind")
    shown = samples(StandingReleases(lambda: [("prod", "chat")], lambda: [pending]))

    assert shown["watcher_release_phase_start_timestamp_seconds"] == {("a", "", "", "Pending"): NOW.timestamp()}


# -- rules ------------------------------------------------------------------------------------------------------------


def rule(id_: str, **limit: Any) -> BoundRule:
    ruleset, _, name = id_.partition("/")
    query = {"query": "up", "threshold": limit} if "with" not in limit else {"query": "up", "compare": limit}
    raw = {
        "apiVersion": API_VERSION,
        "kind": "RuleSet",
        "metadata": {"name": ruleset},
        "spec": {"rules": [{"name": name, "window": "1m"} | query]},
    }
    app = application(watch={"duration": "5m", "interval": "10s", "rules": [ruleset]})
    found = read_documents(json.dumps(app) + "\n---\n" + json.dumps(raw), "it.yaml", KINDS)
    assert found.problems == []
    apps = [d.model for d in found.items if isinstance(d.model, Application)]
    sets = {d.name: d.model for d in found.items if isinstance(d.model, RuleSet)}
    (bound,) = bind_rules(apps[0], sets, "green", "blue", "2")
    return bound


def state(outcome: Outcome, value: float | None, held: Held | None = None) -> RuleState:
    return RuleState(at=1.0, outcome=outcome, value=value, held=held)


def test_each_rule_shows_outcome_value_and_limits_in_base_units() -> None:
    watched = Watched(
        (
            (rule("http/errors", above="1%"), state(Outcome.BREACH, 0.042)),
            (rule("http/ready", below="3"), state(Outcome.PASS, 4.0)),
            (rule("http/load", outside=["1", "5"]), state(Outcome.THIN, None)),
            (
                rule("http/latency", **{"with": ["before"], "tolerance": {"relative": "20%", "absolute": "50ms"}}),
                state(Outcome.PASS, 0.25, Compared(False, 0.2, 0.25, -math.inf, 0.3, "fine")),
            ),
            (
                rule("http/unknown", **{"with": ["before"], "tolerance": {"relative": "20%", "absolute": "50ms"}}),
                state(Outcome.NO_DATA, None, Unknown("nothing is known", "now unknown")),
            ),
        ),
        behind=12.5,
    )
    shown = samples(StandingRules(lambda: [(release(Phase.WATCHING, "Blind"), watched)]))

    assert shown["watcher_rule_outcome"] == {
        ("http/errors", "breach"): 1,
        ("http/ready", "pass"): 1,
        ("http/load", "thin"): 1,
        ("http/latency", "pass"): 1,
        ("http/unknown", "noData"): 1,
    }
    assert shown["watcher_rule_value"] == {("http/errors",): 0.042, ("http/ready",): 4.0, ("http/latency",): 0.25}
    assert shown["watcher_rule_threshold"] == {
        ("http/errors", "upper"): 0.01,
        ("http/ready", "lower"): 3.0,
        ("http/load", "upper"): 5.0,
        ("http/load", "lower"): 1.0,
        ("http/latency", "upper"): 0.3,
    }
    assert shown["watcher_watch_behind_seconds"] == {(): 12.5}


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_watches_of_one_application_the_release_that_moves_traffic_is_shown(turned: bool) -> None:
    watched = Watched(((rule("http/errors", above="1%"), state(Outcome.PASS, 0.0)),), behind=0.0)
    foreign = release(Phase.WATCHING, "Blind")
    flip = ForeignFlip(from_="blue", to="green", at=NOW)
    foreign = foreign.model_copy(update={"spec": foreign.spec.model_copy(update={"foreign_flip": flip})})
    aside = Watched(watched.rules, behind=99.0)
    both = [(foreign, aside), (release(Phase.WATCHING, "Blind"), watched)]
    shown = samples(StandingRules(lambda: both[::-1] if turned else both))

    assert shown["watcher_watch_behind_seconds"] == {(): 0.0}
    assert len(shown["watcher_rule_value"]) == 1
