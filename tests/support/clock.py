"""A clock that moves when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime


class HandClock:
    """Wall-clock and monotonic time in one: `seconds` since the epoch."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds
