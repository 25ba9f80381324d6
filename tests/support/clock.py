"""A clock that moves when it is told to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

LOOK = 0.003
"""Real seconds between two looks of somebody who waits."""


class HandClock:
    """Wall-clock and monotonic time in one: `seconds` since the epoch."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        ends = self.seconds + seconds
        while not event.is_set() and self.seconds < ends:
            event.wait(LOOK)
        return event.is_set()
