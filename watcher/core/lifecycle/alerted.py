"""What follows from the alerts that a Release has heard of.

What always holds: only what began after the flip counts; an alert that asks for a rollback leads back, also if it ended
meanwhile; what one alert holds, its end lets go, or a person; and as long as alerts were left out that may matter, the
watch is no pass (S7).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from watcher.core.alerts import Heard, Incomplete
from watcher.core.effects import Tell
from watcher.core.lifecycle.turn import Turn
from watcher.core.release import Release
from watcher.core.units import format_duration

FIRING = "AlertFiring"
"""Why a person is needed when alerts still hold a watch whose time is over."""

PATIENCE = timedelta(minutes=15)
"""How long a group of alerts that was incomplete, and that nobody speaks of any more, holds."""

TELLS = {"hold": "The watch does not end as a pass while it fires.", "notify": "It only notifies."}


def counting(release: Release) -> list[Heard]:
    """The alerts that began after the flip. One that came while it was under way may have begun before."""
    since = release.status.switched_at
    return [alert for alert in release.status.alerts if since and alert.starts_at > since]


def rollback(turn: Turn) -> tuple[str, str, dict[str, object]] | None:
    """What sends traffic back: code, sentence, evidence."""
    found = [alert for alert in counting(turn.release) if alert.action == "rollback"]
    if not found:
        return None
    first = min(found, key=lambda alert: alert.starts_at)
    return first.code, first.said(_switched(turn.release)), first.evidence()


def holds(turn: Turn) -> list[str]:
    """Why the watch cannot end as a pass, a sentence's part each."""
    if turn.observes:
        return []
    resume = turn.release.spec.resume
    freed = resume.at if resume else None
    found = [
        alert.said(_switched(turn.release))
        for alert in counting(turn.release)
        if alert.action == "hold" and alert.state == "firing" and not (freed and freed > alert.heard_at)
    ]
    found += [
        f"{one.by} left out {_alerts(one)}, and one of them may matter"
        for one in turn.status.incomplete_alerts
        if turn.now < one.at + PATIENCE and not (freed and freed > one.since)
    ]
    return found


def news(release: Release, now: datetime, lasts: timedelta) -> Iterator[Tell]:
    """What people are told of alerts: each once, and its end. What led back is told as the verdict."""
    for alert in counting(release):
        if alert.action == "rollback":
            continue
        said = alert.said(_switched(release))
        if now - alert.heard_at < lasts:
            told = f"{said[0].upper()}{said[1:]}. {TELLS[alert.action]}"
            yield Tell(f"alert/{alert.key}", FIRING, told, "warning", alert.evidence())
        if alert.resolved_at and now - alert.resolved_at < lasts:
            told = f"Alert {alert.name} is over{' and holds no more' if alert.action == 'hold' else ''}."
            yield Tell(f"alert-over/{alert.key}", "AlertResolved", told, "info", alert.evidence())
    for one in release.status.incomplete_alerts:
        if now - one.since < lasts:
            told = (
                f"{one.by} left out {_alerts(one)}: one of them may matter, so the watch does not end as a pass before "
                f"all are sent, or for {format_duration(PATIENCE)}. Raise max_alerts."
            )
            at = int(one.since.timestamp())
            yield Tell(f"alerts-incomplete/{one.group}/{at}", "AlertsIncomplete", told, "warning", {"by": one.by})


def _alerts(one: Incomplete) -> str:
    return "1 alert" if one.left_out == 1 else f"{one.left_out} alerts"


def _switched(release: Release) -> datetime:
    assert release.status.switched_at is not None
    return release.status.switched_at
