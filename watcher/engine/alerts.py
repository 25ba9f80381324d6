"""What an alert from outside does to a Release: it becomes a command of the Release, written before it is acknowledged.

What always holds: it is kept on the Release, in one write with what it asks for, so no restart loses it, the leader
sees it whichever replica was told, and the same alert sent again changes nothing. Telling people comes after that, and
fails alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from watcher.adapters.errors import AdapterError
from watcher.adapters.kubernetes.hands import Event, Hands
from watcher.core.alerts import Alert, Notice, action_for, counts
from watcher.core.application import Application
from watcher.core.release import ASKED, GROUP, KIND, VERSION, Phase, Release
from watcher.engine.asking import command

log = structlog.get_logger(__name__)

JUDGED = frozenset({Phase.VERIFYING, Phase.WATCHING})
FREED = "freed"


class TooEarly(Exception):
    """A Release is just being switched: whether the alert began after that cannot be said yet. Send it again."""


@dataclass
class Received:
    """What came of a notice."""

    acted: list[str] = field(default_factory=list)
    ignored: int = 0
    incomplete: int = 0


def receive(hands: Hands, apps: Iterable[Application], notice: Notice, by: str) -> Received:
    """Do what the alerts ask for. Raises TooEarly, and AdapterError when it is not safely written."""
    found = Received(incomplete=notice.truncated_alerts)
    meant: set[str] = set()
    for app in apps:
        alerts = [(alert, action) for alert in notice.alerts if (action := action_for(app.spec.alerts, alert))]
        if not alerts and not found.incomplete:
            continue
        for release in hands.read_releases(app.namespace):
            if release.spec.application != app.name or release.phase.terminal:
                continue
            for alert, action in alerts:
                done = _one(hands, release, alert, action, by)
                release = done or release  # noqa: PLW2901 - as it was last written
                if done is not None:
                    meant.add(alert.key)
                    found.acted.append(f"{release.name}: {alert.status} {alert.name}: {action}")
            if found.incomplete and release.phase in JUDGED:
                _say(hands, release, "incomplete", f"{by} left out {found.incomplete} alerts: one of them may matter.")
    found.ignored = sum(alert.key not in meant for alert in notice.alerts)
    return found


def _one(hands: Hands, release: Release, alert: Alert, action: str, by: str) -> Release | None:
    """The Release as it is afterwards; None when the alert changes nothing."""
    known = release.asked.get(alert.key)
    if alert.status == "resolved":
        return _freed(hands, release, alert, by) if known == "hold" else None
    if known is not None:
        return None
    if release.phase is Phase.SWITCHING:
        raise TooEarly(f"{release.name} is just being switched")
    since = release.status.switched_at
    if release.phase not in JUDGED or since is None or not counts(alert, since):
        return None
    why = f"alert {alert.name} has been firing since {alert.starts_at}"
    mark = {ASKED + alert.key: action}
    if action == "rollback" and release.spec.rollback is None:
        after = hands.command(release.namespace, release.name, "rollback", command(by, why), mark)
    elif action == "hold" and release.spec.paused is None:
        after = hands.command(release.namespace, release.name, "pause", command(by, why), mark)
    else:
        after = hands.annotate(release.namespace, release.name, mark)
    _say(hands, release, alert.key, f"{why}: {action}, as the Application says.")
    return after


def _freed(hands: Hands, release: Release, alert: Alert, by: str) -> Release:
    """The alert ended. What was read back tells whether another one still holds, whichever replica wrote it."""
    after = hands.annotate(release.namespace, release.name, {ASKED + alert.key: FREED})
    held = any(key.startswith("alert-") and done == "hold" for key, done in after.asked.items())
    pause = after.spec.paused
    if held or pause is None or pause.by != by or after.phase.terminal:
        return after
    return hands.command(release.namespace, release.name, "resume", command(by, f"alert {alert.name} has ended"))


def _say(hands: Hands, release: Release, key: str, message: str) -> None:
    about = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": release.name,
        "namespace": release.namespace,
        "uid": release.uid,
    }
    try:
        hands.event(Event(about, f"alert/{key}", "Alert", message, "Warning", datetime.now(UTC)))
    except AdapterError as error:
        log.warning("an Event about an alert was not written", release=release.name, error=str(error))
