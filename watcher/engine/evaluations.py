"""What the rules of one watch said, evaluation by evaluation, for whoever asks.

What always holds: it is the fold of the watch, over what Prometheus remembers, so any replica says the same as the one
that watches, and nothing has to be written down for it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from watcher.core.evaluation import RuleState
from watcher.core.release import Release
from watcher.engine.replay import replay
from watcher.engine.watches import Metrics

MOST = 2000
"""Evaluations of one rule that are shown: of a longer watch the last ones."""


def evaluations(metrics: Metrics, release: Release, now: datetime) -> dict[str, Any]:
    """The evaluations of a Release that was switched, until now or the end of its watch. Raises Unanswered."""
    status = release.status
    assert status.switched_at is not None
    assert status.pinned is not None
    until = min(one for one in (now, status.ended_at, status.watch_until) if one is not None)
    since = status.switched_at.timestamp()
    rules = status.pinned.rules
    found = replay(metrics, rules, since, until.timestamp()) if until > status.switched_at else {}
    return {
        "release": release.name,
        "switchedAt": _text(status.switched_at),
        "until": _text(max(until, status.switched_at)),
        "items": [
            {"rule": rule.id, "limit": rule.limit, "items": [_point(state) for state in found.get(rule.id, ())[-MOST:]]}
            for rule in rules
        ],
    }


def _point(state: RuleState) -> dict[str, Any]:
    outcome = "breach" if state.breach else state.outcome.value
    point = {"at": _text(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=state.at or 0)), "outcome": outcome}
    has = state.value is not None and math.isfinite(state.value)
    return point | ({"value": state.value} if has else {})


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
