"""The time, injected. What always holds: durations do not change when somebody sets the wall clock."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Aware UTC time for what is written down, monotonic seconds for what is waited for."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Whether the event is set within so many seconds of this clock."""
        ...


class SystemClock:
    """Wall-clock time read once, at start, and carried on by the monotonic clock: a wall clock that is set back or
    forward during a watch neither shortens nor lengthens it.
    """

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()

    def now(self) -> datetime:
        return self._started_at + timedelta(seconds=time.monotonic() - self._started)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)
