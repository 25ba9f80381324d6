"""The metrics server that is not configured: every rule is blind, and says why (S7)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from watcher.core.readings import Answer, Failed, Query

UNKNOWN = Failed(
    "no Prometheus is configured: set prometheus.url in watcher.yaml, or WATCHER_PROMETHEUS_URL", transient=False
)


class NoMetrics:
    """Answers every query with the same failure."""

    reachable = False

    def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]:
        return {query.id: UNKNOWN for query in batch}

    def instant(self, expr: str, at: datetime, *, within: float | None = None) -> Answer:
        return UNKNOWN
