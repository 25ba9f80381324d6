"""What happened to a Release, in order, told from what the cluster keeps of it: spec, status, Events, and the mark on
its Service.

What always holds: nothing is left out of the status, and an Event that tells what the status says too adds to that
entry instead of making a second one. Events are kept for an hour or so; without them the story has all but the asides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from watcher.core.alerts import Heard
from watcher.core.lifecycle import alerted
from watcher.core.lifecycle.telling import COMMANDS
from watcher.core.release import FOREIGN, UNNAMED, WATCHER, CheckRecord, Flip, Release, RuleRecord

Kind = Literal["asked", "begun", "command", "check", "rule", "alert", "decision", "flip", "condition", "event", "end"]
ORDER: tuple[Kind, ...] = (
    "asked",
    "begun",
    "command",
    "check",
    "rule",
    "alert",
    "decision",
    "flip",
    "condition",
    "event",
    "end",
)
"""What comes first of what has the same time."""

LIKELY = ("override_window", "pause", "resume", "approve", "rollback", "abort")
"""In which order commands of the same second were given, most likely: their times have no fractions."""

AFTER_SWITCH = ("live", "postSwitch")
AT_END = ("onFailure",)
"""Stages of checks and hooks by when they run; all others run before the switch."""

MOMENT = timedelta(microseconds=1)
"""What puts one thing behind another that has a time."""


@dataclass(frozen=True, slots=True)
class Told:
    """An Event about the Release. `key` says which news it tells; empty for an Event that is not the watcher's."""

    at: datetime
    reason: str
    message: str
    key: str = ""
    actor: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when (None where nobody noted it), who did it, and on what it rests."""

    kind: Kind
    at: datetime | None
    actor: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    """Which news of the Release this is."""
    place: datetime | None = None
    """Where it belongs in the order, when its own time is not known."""
    told: Told | None = None
    """The Event that told it."""


def story(release: Release, events: Sequence[Told], marks: Collection[str] = ()) -> list[Entry]:
    """Everything that is known to have happened, in its order. `marks` are what the last flips left on the Services."""
    by_key = {event.key: event for event in reversed(events) if event.key}
    known = [_joined(entry, by_key.get(entry.key)) for entry in _known(release, marks)]
    used = {entry.key for entry in known if entry.told}
    rest = [
        Entry("event", event.at, event.actor or WATCHER, f"{event.reason}: {event.message}", event.evidence, event.key)
        for event in events
        if event.key not in used
    ]
    return sorted([*known, *rest], key=lambda entry: _place(entry, release))


def _place(entry: Entry, release: Release) -> tuple[datetime, int]:
    return entry.at or entry.place or release.created_at, ORDER.index(entry.kind)


def _joined(entry: Entry, event: Told | None) -> Entry:
    if event is None:
        return entry
    actor = event.actor if entry.actor in (WATCHER, UNNAMED) and event.actor else entry.actor
    evidence = {**event.evidence, **entry.evidence}
    # A command without a time of its own was given by the time that it was told.
    at = event.at if entry.at is None and entry.kind == "command" else entry.at
    return replace(entry, at=at, actor=actor, evidence=evidence, told=event)


def _known(release: Release, marks: Collection[str]) -> Iterator[Entry]:
    """What spec and status say."""
    status = release.status
    yield _asked(release)
    if status.started_at:
        colors = status.colors
        way = f" from {colors.from_} to {colors.to}" if colors else ""
        yield Entry("begun", status.started_at, WATCHER, f"Begun{way}.")
    yield from _commands(release)
    for check in status.checks:
        yield _check(release, check)
    for rule in status.rules:
        yield _rule(release, rule)
    for alert in alerted.counting(release):
        yield from _alert(release, alert)
    if status.rollback:
        found = status.rollback
        message = f"Rolling back: {found.message}."
        yield Entry("decision", found.at, found.by or WATCHER, message, {"code": found.code}, "verdict")
    for flip in status.flips:
        yield _flip(release, flip, marks)
    for condition in status.conditions:
        message = f"{condition.type} is {condition.status}: {condition.message}"
        yield Entry("condition", condition.last_transition_time, WATCHER, message, {"reason": condition.reason})
    if status.ended_at:
        kept = {"kept": f"{status.keep.color} until {status.keep.until.isoformat()}"} if status.keep else {}
        said = f"{status.phase.value}: {status.message}"
        yield Entry("end", status.ended_at, WATCHER, said, {"reason": status.reason, **kept}, "end")


def _asked(release: Release) -> Entry:
    spec = release.spec
    by = spec.requested_by or (spec.rollback.by if spec.rollback and release.is_rollback_only else "")
    what = " ".join(word for word in (spec.application, spec.version) if word)
    message = f"A rollback of {what} is asked for." if release.is_rollback_only else f"{what} is asked for."
    evidence: dict[str, Any] = {"images": dict(spec.images)} if spec.images else {}
    return Entry(
        "asked", release.created_at, by or UNNAMED, message, evidence | ({"force": True} if spec.force else {})
    )


def _commands(release: Release) -> Iterator[Entry]:
    for name, (_, said) in sorted(COMMANDS.items(), key=lambda one: LIKELY.index(one[0])):
        command = getattr(release.spec, name)
        if command is None:
            continue
        evidence = {"why": command.reason} if command.reason else {}
        yield Entry("command", command.at, command.by or UNNAMED, f"{said}.", evidence, command.news(name))


def _flip(release: Release, flip: Flip, marks: Collection[str]) -> Entry:
    several = len({one.service for one in release.status.flips}) > 1
    whose = f" of Service {flip.service}" if several else ""
    message = f"Traffic{whose} moved from {flip.from_} to {flip.to} ({flip.reason})."
    evidence = {"service": flip.service} if flip.service else {}
    if flip.reason == FOREIGN:
        by = release.spec.foreign_flip.by if release.spec.foreign_flip else ""
        return Entry("flip", flip.at, by or UNNAMED, message, evidence, flip.news)
    own = flip.mark(release.uid)
    evidence |= {"mark": own} | ({"onService": "carried by the Service"} if own in marks else {})
    return Entry("flip", flip.at, WATCHER, message, evidence, flip.news)


def _alert(release: Release, alert: Heard) -> Iterator[Entry]:
    """That it fired, and that it was over. Both are placed by when they were heard."""
    switched_at = release.status.switched_at
    assert switched_at is not None
    said = alert.said(switched_at)
    message = f"{said[0].upper()}{said[1:]} ({alert.action})."
    yield Entry("alert", alert.heard_at, alert.by or UNNAMED, message, alert.evidence(), f"alert/{alert.key}")
    if alert.resolved_at:
        told = f"Alert {alert.name} was resolved."
        yield Entry("alert", alert.resolved_at, alert.by or UNNAMED, told, {}, f"alert-over/{alert.key}")


def _check(release: Release, check: CheckRecord) -> Entry:
    """A check or hook. Nobody notes when it ended, but its stage has a place."""
    status = release.status
    stage = check.id.partition("/")[0]
    place = status.switched_at or status.ended_at or status.phase_since
    if stage in AFTER_SWITCH and status.switched_at:
        place = status.switched_at + MOMENT
    elif stage in AT_END and (last := status.ended_at or status.phase_since):
        place = last + MOMENT
    elif stage == "postRollback" and status.flips:
        place = status.flips[-1].at + MOMENT
    said = f"Check {check.id} {'passed' if check.ok else 'FAILED'}: {check.message}"
    evidence = {"output": check.output} if check.output and not check.ok else {}
    return Entry("check", None, WATCHER, said, evidence, place=place)


def _rule(release: Release, rule: RuleRecord) -> Entry:
    numbers = {
        "value": rule.value,
        "threshold": rule.threshold or None,
        "before": rule.before,
        "low": rule.low,
        "high": rule.high,
        "query": rule.query or None,
    }
    evidence = {name: value for name, value in numbers.items() if value is not None}
    at = rule.since or release.status.rules_at
    return Entry("rule", at, WATCHER, f"Rule {rule.name}: {rule.outcome}: {rule.message}", evidence)


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry for programs."""
    found: dict[str, Any] = {
        "at": _iso(entry.at),
        "kind": entry.kind,
        "actor": entry.actor,
        "message": entry.message,
        "evidence": dict(entry.evidence),
    }
    if entry.told is not None:
        found["event"] = {"reason": entry.told.reason, "message": entry.told.message, "at": _iso(entry.told.at)}
    return found


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
