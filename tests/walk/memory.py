"""What Prometheus remembers of a watch, and what that means for its Release: worked out anew, apart from the daemon.

What always holds: evaluation times are those of docs/rules.md, and what is remembered of them never changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from math import ceil

from tests.walk.outside import History
from watcher.core.release import Release

INTERVAL, WARM_UP = 2.0, 4.0
LIMIT, FLOOR = 10.0, 50.0
"""Above which the rule `errors` is breached, and from how much traffic on."""


def times(switched: datetime, until: datetime) -> Iterator[float]:
    """The evaluation times of the rule `errors`."""
    origin, k = ceil(switched.timestamp()), ceil(WARM_UP / INTERVAL)
    while origin + k * INTERVAL <= until.timestamp():
        yield origin + k * INTERVAL
        k += 1


def spoke(history: History, at: float) -> bool:
    """Whether the rule had anything to judge."""
    return history.at("errors", at) is not None and (history.at("traffic", at) or 0) >= FLOOR


def breached(history: History, at: float) -> bool:
    return spoke(history, at) and (history.at("errors", at) or 0) > LIMIT


def enforces(release: Release) -> bool:
    """Whether the rule `errors` may send the Release back."""
    pinned = release.status.pinned
    return pinned is not None and any(rule.id == "walk/errors" and rule.enforcing for rule in pinned.rules)


def breaches(release: Release, history: History, now: datetime) -> list[float]:
    """The times at which the Release's watch was breached until now, as far as that counts."""
    switched, until = release.status.switched_at, release.status.watch_until
    if switched is None or until is None or not enforces(release):
        return []
    return [at for at in times(switched, min(until, now)) if breached(history, at)]
