"""What people must have been told, read from the Release alone.

What always holds: whatever a status says was decided or happened is asked to be told again at every step, under the
same key, until it is old news. So a kill between the writing of a status and the telling loses nothing, and the one
who tells drops what was told before (S5, S11).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from watcher.core.application import by_hand
from watcher.core.effects import Tell
from watcher.core.lifecycle import alerted, foreign
from watcher.core.release import FOREIGN, Condition, Decision, Phase, Release, Status

NEWS = timedelta(hours=1)
"""How long a fact is news: as long as the API server keeps the Event that shows it was told."""

FLAPPING = 600
"""Seconds within which a condition that comes and goes is told once."""

SEVERITY: dict[Phase, Literal["info", "warning", "critical"]] = {
    Phase.COMPLETED: "info",
    Phase.ABORTED: "info",
    Phase.FAILED: "warning",
    Phase.SUPERSEDED: "warning",
    Phase.ROLLED_BACK: "critical",
}


COMMANDS = {
    "approve": ("Approved", "Approved"),
    "pause": ("Paused", "Paused"),
    "resume": ("Resumed", "Resumed"),
    "abort": ("AbortAsked", "An abort was asked for"),
    "rollback": ("RollbackAsked", "A rollback was asked for"),
    "override_window": ("WindowOverridden", "Deployment windows and freezes are overridden"),
}
"""What a person or a program asked of the Release: its reason as a word, and as the beginning of a sentence."""


def news(release: Release, now: datetime) -> Iterator[Tell]:
    """Everything that spec and status make news, each with its key."""
    status = release.status
    several = bool(status.pinned and status.pinned.application.spec.also)
    yield from _commands(release, now)
    for flip in status.flips:
        if now - flip.at < NEWS:
            if flip.reason == FOREIGN:
                yield foreign.news(release, flip)
                continue
            back = status.rollback is not None and flip.reason == status.rollback.code
            yield Tell(
                flip.news,
                "SwitchedBack" if back else "Switched",
                f"Traffic{f' of Service {flip.service}' if several else ''} moved from {flip.from_} to {flip.to} "
                f"({flip.reason}).",
                "warning" if back else "info",
                flip.evidence(),
            )
    if status.rollback and now - status.rollback.at < NEWS:
        told = f"Rolling back: {status.rollback.message}."
        yield Tell("verdict", "RollbackDecided", told, "critical", _decided_by(status, status.rollback))
    yield from alerted.news(release, now, NEWS)
    for condition in status.conditions:
        if condition.status == "True" and now - condition.last_transition_time < NEWS:
            yield from _of_condition(condition)
    if status.ended_at and now - status.ended_at < NEWS:
        severity = SEVERITY.get(status.phase, "info")
        yield Tell("end", status.reason or status.phase.value, status.message, severity, _ended_by(release))


def _commands(release: Release, now: datetime) -> Iterator[Tell]:
    """Who asked for what, and why. One without a time is news as long as the Release is."""
    for name, (reason, said) in COMMANDS.items():
        command = getattr(release.spec, name)
        if command is None:
            continue
        since = command.at or release.status.ended_at
        if since is None or now - since < NEWS:
            yield Tell(command.news(name), reason, f"{said} {command.told()}.", "info", command.evidence())


def _decided_by(status: Status, decision: Decision) -> dict[str, object]:
    """Who decided, or what: the rule with its query as it was sent, or the check with what it gave."""
    evidence: dict[str, object] = {"code": decision.code, "at": decision.at.isoformat()}
    if decision.by or decision.code == "manual":
        evidence["by"] = decision.by
    for rule in status.rules:
        if decision.code == f"rule/{rule.name}":
            evidence |= {"rule": rule.name, "value": rule.value, "threshold": rule.threshold, "query": rule.query}
            evidence |= {"since": rule.since.isoformat()} if rule.since else {}
    for alert in status.alerts:
        if decision.code == alert.code and alert.action == "rollback":
            evidence |= alert.evidence()
    for check in status.checks:
        if decision.code == f"check/{check.id}":
            evidence |= {"check": check.id, "output": check.output}
    return evidence


def _ended_by(release: Release) -> dict[str, object]:
    """Who ended it, where a person did, and what became of it."""
    spec, status = release.spec, release.status
    command = spec.abort or spec.rollback if status.phase is Phase.ABORTED else None
    by = command.by if command else status.rollback.by if status.rollback else ""
    evidence: dict[str, object] = {**status.evidence, "phase": status.phase.value}
    return evidence | ({"by": by} if by else {})


def deleted(release: Release) -> Tell:
    """That somebody deleted a Release before its end: nothing is undone, and nobody goes on."""
    colors, version = release.status.colors, release.spec.version or "an unnamed version"
    said = f"Release {release.name} was deleted while it was {release.phase.value}"
    if colors is None:
        return Tell("deleted", "ReleaseDeleted", f"{said}: {version} is not released.", "warning")
    pinned = release.status.pinned
    if release.phase is Phase.SWITCHING and release.traffic_moved and pinned:
        cure = by_hand(release.namespace, "NAME", pinned.application.spec.selector_key, "COLOR")
        message = (
            f"{said}: some of its Services select {colors.to} and some {colors.from_}. "
            f"Let them select the same one: {cure}"
        )
        return Tell("deleted", "ReleaseDeleted", message, "critical")
    if not release.traffic_moved:
        return Tell("deleted", "ReleaseDeleted", f"{said}: {version} stays on {colors.to} as it is.", "warning")
    left = "the rollback is not finished" if release.phase is Phase.ROLLING_BACK else f"nobody watches {version}"
    message = (
        f"{said}: {left}, and traffic stays where it is. "
        f"Go back with: watcher rollback {release.spec.application} -n {release.namespace}"
    )
    return Tell("deleted", "ReleaseDeleted", message, "critical")


def _of_condition(condition: Condition) -> Iterator[Tell]:
    when = int(condition.last_transition_time.timestamp()) // FLAPPING
    if condition.type == "WayBackLost":
        yield Tell(f"way-back-lost/{when}", "WayBackLost", condition.message, "critical")
    elif condition.type == "Blind":
        yield Tell(f"blind/{when}", "Blind", condition.message, "warning")
    else:
        yield Tell(f"attention/{condition.reason}/{when}", condition.reason, condition.message, "critical")
