"""Plays a scenario on a stage, and says what came of it: the object that `watcher demo --json` prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from watcher.core.release import Release
from watcher.demo.platform.ledger import Second, Traffic
from watcher.demo.scenarios import Scenario, verdict_on
from watcher.demo.stage import Stage, StageFailed

BASELINE = 4.0
"""Seconds of undisturbed traffic before the release is asked for."""

LONGEST = 150.0
"""Seconds that a scenario may take."""

SETTLE = 3.0
"""Seconds of traffic after the end, to see that clients are well."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario. Times are Unix seconds, durations seconds; None where there was no such thing."""

    scenario: str
    as_expected: bool
    complaints: Sequence[str]
    phase: str
    reason: str
    message: str
    active: str
    flips: Sequence[Mapping[str, object]]
    client_requests: int
    client_failures: Mapping[str, int]
    seconds_from_fault_to_breach: float | None
    seconds_from_breach_to_flip: float | None
    seconds_from_flip_to_first_healthy_second: float | None
    seconds: float

    def json(self) -> dict[str, Any]:
        """With camelCase keys, as the rest of the project's JSON."""
        plain = asdict(self)
        return {_camel(key): value for key, value in plain.items()}


def play(
    scenario: Scenario,
    stage: Stage,
    watch: Callable[[Release], None] = lambda _: None,
    *,
    baseline: float = BASELINE,
    settle: float = SETTLE,
) -> Outcome:
    """Play it to its end. `watch` is called with the Release each time it is looked at."""
    began = time.monotonic()
    time.sleep(baseline)
    if scenario.before:
        scenario.before(stage)
    asked = stage.release(scenario.version)
    acted = False
    complaints: list[str] = []

    def ended(release: Release) -> bool:
        nonlocal acted
        stage.need_daemon()
        watch(release)
        if scenario.act and not acted and release.phase is scenario.at:
            acted = True
            scenario.act(stage, release)
        return scenario.ends(release)

    try:
        release = stage.follow(asked, ended, LONGEST, f"scenario {scenario.name} to end")
    except StageFailed as error:
        complaints.append(str(error))
        release = stage.read(asked)
    time.sleep(settle)
    traffic = stage.load.snapshot()
    release, active = stage.read(release), stage.active()
    complaints += verdict_on(scenario, release, active)
    complaints += _unharmed(scenario, traffic)
    return _outcome(scenario, release, active, traffic, complaints, time.monotonic() - began)


def _unharmed(scenario: Scenario, traffic: Traffic) -> list[str]:
    """A flip by itself costs no client anything: no refused, no reset connection (a crashing version's deaths may)."""
    if not traffic.requests:
        return ["no client request was made"]
    lost = traffic.results["refused"] + traffic.results["reset"]
    if lost and not scenario.refusals:
        return [f"clients saw {lost} refused or reset connections"]
    return []


def _outcome(
    scenario: Scenario, release: Release, active: str, traffic: Traffic, complaints: Sequence[str], seconds: float
) -> Outcome:
    status = release.status
    verdict_at = status.rollback.at.timestamp() if status.rollback else None
    back_at = status.flips[1].at.timestamp() if len(status.flips) > 1 else None
    fault_at = _fault_began(status.switched_at, traffic)
    healthy_at = _first_healthy(back_at, traffic)
    return Outcome(
        scenario=scenario.name,
        as_expected=not complaints,
        complaints=tuple(complaints),
        phase=release.phase.value,
        reason=status.reason,
        message=status.message,
        active=active,
        flips=tuple({"from": f.from_, "to": f.to, "at": f.at.timestamp(), "reason": f.reason} for f in status.flips),
        client_requests=traffic.requests,
        client_failures={cause: count for cause, count in traffic.results.items() if cause != "ok"},
        seconds_from_fault_to_breach=_between(fault_at, verdict_at),
        seconds_from_breach_to_flip=_between(verdict_at, back_at),
        seconds_from_flip_to_first_healthy_second=_between(back_at, healthy_at),
        seconds=round(seconds, 1),
    )


def _fault_began(switched_at: datetime | None, traffic: Traffic) -> float | None:
    """When clients first saw a failure after the switch; for faults that fail no request, the switch itself."""
    if switched_at is None:
        return None
    moved = switched_at.timestamp()
    failed = [second.at for second in traffic.seconds if second.failed and second.at >= int(moved)]
    return max(moved, float(failed[0])) if failed else moved


def _first_healthy(back_at: float | None, traffic: Traffic) -> float | None:
    """When the first full second began in which every request was answered well, and by one colour."""
    if back_at is None:
        return None
    return next((float(s.at) for s in traffic.seconds if s.at >= back_at and _healthy(s)), None)


def _healthy(second: Second) -> bool:
    return second.requests > 0 and second.failed == 0 and len(second.colors) == 1


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 3)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
