"""What `/metrics` says of the colours, as comparisons ask for it later, and of what needs a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from prometheus_client import generate_latest

from watcher.core.release import Condition, Keep, Phase, Release, Spec, Status
from watcher.engine.measures import ActiveColors, Measures, StandingConditions

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
    measures.registry.register(StandingConditions(lambda: [("prod", "chat"), ("prod", "shop")], lambda: releases))

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
    (family,) = StandingConditions(lambda: [("prod", "chat")], lambda: seen).collect()
    assert {s.labels["condition"]: s.value for s in family.samples}["NeedsAttention"] == 0
    seen[:] = [left]
    (family,) = StandingConditions(lambda: [("prod", "chat")], lambda: seen).collect()
    assert {s.labels["condition"]: s.value for s in family.samples}["NeedsAttention"] == 1
