"""The time, injected.

What always holds: nothing that lasts (a watch, a deadline, a keep-time) takes longer or shorter because somebody set
the wall clock. Between such things the machine's time is followed: a machine that slept, or had a wrong time at the
start, must not leave the daemon asking for the wrong hour for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from watcher.core.release import Release

STEP = timedelta(seconds=1)
"""By how much the wall clock must differ to count as set: smaller differences come and go."""


class Clock(Protocol):
    """Aware UTC time for what is written down, monotonic seconds for what is waited for."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Whether the event is set within so many seconds of this clock."""
        ...


class SystemClock:
    """Wall-clock time read once and carried on by the monotonic clock, until it is told to read it again."""

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._wall = wall
        self._read = (wall(), time.monotonic())

    def now(self) -> datetime:
        at, monotonic = self._read
        return at + timedelta(seconds=time.monotonic() - monotonic)

    def follow(self) -> timedelta:
        """Go by the wall clock again where it was set; returns by how much. Only while nothing `lasts`."""
        off = self._wall() - self.now()
        if abs(off) < STEP:
            return timedelta(0)
        self._read = (self._wall(), time.monotonic())
        return off

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


def lasts(releases: Iterable[Release]) -> bool:
    """Whether anything is under way whose times are written down: a Release, or a keep-time after one."""
    return any(not r.phase.terminal or (r.status.keep is not None and not r.status.keep.done) for r in releases)
