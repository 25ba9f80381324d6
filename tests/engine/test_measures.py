"""What `/metrics` counts: each thing once, from zero, and for the Applications that there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import generate_latest

from watcher.core.documents import Problem
from watcher.core.release import FOREIGN, Command, Decision, Flip, ForeignFlip, Phase, Release, Spec, Status
from watcher.engine.measures import Measures

CREATED = datetime(2026, 11, 23, 14, 0, 0, tzinfo=UTC)
CHAT = ("prod", "chat")


def at(seconds: float) -> datetime:
    return CREATED + timedelta(seconds=seconds)


def flip(index: int, to: str, reason: str, seconds: float) -> Flip:
    return Flip(index=index, from_="green" if to == "blue" else "blue", to=to, reason=reason, at=at(seconds))


def release(phase: Phase, *, spec: dict[str, Any] | None = None, **status: Any) -> Release:
    return Release(
        name="a",
        namespace="prod",
        uid="1",
        resource_version="1",
        created_at=CREATED,
        spec=Spec(application="chat", images={"chat": "chat:2"}).model_copy(update=spec or {}),
        status=Status(phase=phase, **status),
    )


OUT = flip(1, "green", "switch", 90)
LIVE: dict[str, Any] = {"switched_at": at(90), "flips": (OUT,)}


@pytest.fixture
def measures() -> Measures:
    made = Measures()
    made.know([CHAT])
    return made


def value(measures: Measures, name: str, **labels: str) -> float | None:
    about = {"application_namespace": "prod", "application": "chat"} | labels
    return measures.registry.get_sample_value(name, about)


def delivered(measures: Measures) -> tuple[float | None, ...]:
    """Deployments, failures, and how many lead times, restores and rollbacks were timed."""
    timed = ("watcher_lead_time_seconds", "watcher_restore_seconds", "watcher_rollback_seconds")
    counted = ("watcher_deployments_total", "watcher_deployment_failures_total")
    return tuple(value(measures, name) for name in (*counted, *(f"{name}_count" for name in timed)))


def test_every_series_of_an_application_is_there_at_zero_before_anything_happens(measures: Measures) -> None:
    assert value(measures, "watcher_flips_total", direction="back", reason="rule") == 0
    assert value(measures, "watcher_flips_total", direction="forward", reason="foreign") == 0
    assert value(measures, "watcher_verdicts_total", verdict="hold") == 0
    assert value(measures, "watcher_release_phase_transitions_total", phase="RolledBack") == 0
    assert delivered(measures) == (0, 0, 0, 0, 0)


def test_what_happens_to_a_known_application_makes_no_series_that_was_not_there(measures: Measures) -> None:
    before = len(generate_latest(measures.registry).splitlines())
    story(measures, "rule/http/errors")

    assert len(generate_latest(measures.registry).splitlines()) == before


def story(measures: Measures, reason: str) -> None:
    """A Release that goes live, and back two seconds after its verdict."""
    rollback = Decision(code=reason, message="bad", at=at(120))
    back = (OUT, flip(2, "blue", reason, 122))
    steps = [
        release(Phase.PENDING),
        release(Phase.SWITCHING),
        release(Phase.VERIFYING, **LIVE),
        release(Phase.WATCHING, verdict="hold", **LIVE),
        release(Phase.ROLLING_BACK, verdict="rollback", rollback=rollback, **LIVE),
        release(Phase.ROLLING_BACK, verdict="rollback", rollback=rollback, **LIVE | {"flips": back}),
        release(Phase.ROLLED_BACK, verdict="rollback", rollback=rollback, **LIVE | {"flips": back}),
    ]
    for old, new in pairwise(steps):
        measures.moved(old, new)


def test_a_release_that_goes_back_is_a_deployment_and_a_failure_and_each_time_is_taken(measures: Measures) -> None:
    story(measures, "rule/http/errors")

    assert delivered(measures) == (1, 1, 1, 1, 1)
    assert value(measures, "watcher_lead_time_seconds_sum") == 90
    assert value(measures, "watcher_restore_seconds_sum") == 32, "from going live to being off it"
    assert value(measures, "watcher_rollback_seconds_sum") == 2, "from the verdict"
    assert value(measures, "watcher_verdicts_total", verdict="rollback") == 1
    assert value(measures, "watcher_verdicts_total", verdict="hold") == 1
    assert value(measures, "watcher_flips_total", direction="forward", reason="switch") == 1
    assert value(measures, "watcher_release_phase_transitions_total", phase="RollingBack") == 1


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("rule/http/errors", "rule"),
        ("rules", "rule"),
        ("pods/Crashed", "pods"),
        ("check/live/readyz", "check"),
        ("VerifyDeadline", "check"),
        ("manual", "manual"),
        ("alert/HighErrorRate", "alert"),
        ("inconclusive", "inconclusive"),
        ("SelectorMoved", "other"),
    ],
)
def test_what_sends_traffic_back_is_told_by_one_of_a_few_words(measures: Measures, reason: str, shown: str) -> None:
    story(measures, reason)

    assert value(measures, "watcher_flips_total", direction="back", reason=shown) == 1


def test_a_release_that_never_went_live_is_neither_a_deployment_nor_a_failure(measures: Measures) -> None:
    measures.moved(release(Phase.TESTING), release(Phase.FAILED))
    measures.moved(release(Phase.SWITCHING), release(Phase.ROLLED_BACK, flips=(OUT, flip(2, "blue", "NotReady", 95))))

    assert delivered(measures) == (0, 0, 0, 0, 0)


def test_a_rollback_by_hand_with_no_release_running_is_a_failure_of_what_was_deployed_before(
    measures: Measures,
) -> None:
    spec = {"images": {}, "rollback": Command(by="me")}
    back: dict[str, Any] = {"switched_at": None, "flips": (flip(1, "blue", "manual", 5),)}
    measures.moved(release(Phase.ROLLING_BACK, spec=spec), release(Phase.ROLLED_BACK, spec=spec, **back))

    assert delivered(measures) == (0, 1, 0, 0, 0)


def test_a_flip_that_somebody_else_made_is_counted_as_such_and_delivers_nothing(measures: Measures) -> None:
    spec = {"images": {}, "foreign_flip": ForeignFlip(from_="blue", to="green", at=at(0))}
    seen: dict[str, Any] = {"switched_at": at(0), "flips": (flip(1, "green", FOREIGN, 0),)}
    measures.moved(release(Phase.PENDING, spec=spec), release(Phase.WATCHING, spec=spec, **seen))

    assert value(measures, "watcher_flips_total", direction="forward", reason="foreign") == 1
    assert delivered(measures) == (0, 0, 0, 0, 0)


def test_the_same_release_seen_again_counts_nothing(measures: Measures) -> None:
    live = release(Phase.WATCHING, verdict="hold", **LIVE)
    before = generate_latest(measures.registry)
    measures.moved(live, live)

    assert without_process(generate_latest(measures.registry)) == without_process(before)


def without_process(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if "process_" not in line]


def test_the_series_of_an_application_go_with_its_file_and_nothing_brings_them_back(measures: Measures) -> None:
    measures.know([CHAT, ("prod", "shop")])
    measures.know([("prod", "shop")])
    story(measures, "manual")
    text = generate_latest(measures.registry).decode()

    assert 'application="chat"' not in text
    assert 'application="shop"' in text


def test_a_channel_is_counted_from_zero_and_goes_with_the_settings(measures: Measures) -> None:
    measures.know([CHAT], ["team-chat", "pager"])
    measures.notifications.labels("team-chat", "failed").inc()
    measures.know([CHAT], ["team-chat"])

    def shown(channel: str, outcome: str) -> float | None:
        labels = {"channel": channel, "outcome": outcome}
        return measures.registry.get_sample_value("watcher_notifications_total", labels)

    assert shown("team-chat", "failed") == 1, "what it counted is still there"
    assert shown("team-chat", "delivered") == shown("team-chat", "given_up") == 0
    assert shown("pager", "failed") is None


def test_problems_are_counted_by_the_kind_of_their_document(measures: Measures) -> None:
    problems = [Problem("a.yaml", 1, 1, "bad", "mend it", kind) for kind in ("RuleSet", "RuleSet", "")]

    def shown() -> dict[str, float | None]:
        ask = measures.registry.get_sample_value
        kinds = ("RuleSet", "Application", "file")
        found = {kind: ask("watcher_config_problems", {"kind": kind}) for kind in kinds}
        return found | {"valid": ask("watcher_config_valid"), "at": ask("watcher_config_loaded_timestamp_seconds")}

    measures.files((), ["RuleSet", "Application"], CREATED)
    good = {"RuleSet": 0, "Application": 0, "file": 0, "valid": 1, "at": CREATED.timestamp()}
    assert shown() == good
    measures.files(problems, ["RuleSet", "Application"])
    assert shown() == good | {"RuleSet": 2, "file": 1, "valid": 0}
    measures.files((), ["RuleSet", "Application"])
    assert shown() == good
