"""Where workers run: one at a time per Release, many Releases side by side, and rollbacks in a lane of their own.

What always holds: a key never runs twice at once; a wake-up during a run makes it run again; and a full ordinary lane
never delays what is woken in the rescue lane (S2).
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Generic, TypeVar

import structlog

from watcher.engine.clock import Clock

K = TypeVar("K", bound=Hashable)

log = structlog.get_logger(__name__)

IDLE = 3600.0
"""Seconds that a wait without an end lasts."""


class Lanes(Generic[K]):
    """`run(key)` does the work; `rescue(key)` says whether it belongs in the rollback lane now; `failed(key)` is called
    after a run that raised what nobody foresaw, so that it can be tried again.
    """

    def __init__(
        self,
        run: Callable[[K], None],
        rescue: Callable[[K], bool],
        failed: Callable[[K], None] = lambda _: None,
        *,
        ordinary: int = 8,
        rescues: int = 4,
    ) -> None:
        self._run, self._rescue, self._failed = run, rescue, failed
        self._ordinary = ThreadPoolExecutor(ordinary, thread_name_prefix="worker")
        self._rescues = ThreadPoolExecutor(rescues, thread_name_prefix="rescue")
        self._lock = threading.Lock()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._stopped = False

    def wake(self, key: K) -> None:
        """Run the key soon; once is enough however often it is woken before."""
        with self._lock:
            if self._stopped or key in self._waiting:
                return
            if key in self._running:
                self._again.add(key)
                return
            self._waiting.add(key)
            self._submit(key)

    def busy(self) -> int:
        """How many keys run or wait."""
        with self._lock:
            return len(self._waiting) + len(self._running)

    def stop(self) -> None:
        """Take no more work, and wait for what runs: every call in it has a deadline."""
        with self._lock:
            self._stopped = True
        self._ordinary.shutdown(wait=True, cancel_futures=True)
        self._rescues.shutdown(wait=True, cancel_futures=True)

    def _submit(self, key: K) -> None:
        lane = self._rescues if self._rescue(key) else self._ordinary
        lane.submit(self._once, key)

    def _once(self, key: K) -> None:
        with self._lock:
            self._waiting.discard(key)
            self._running.add(key)
        try:
            self._run(key)
        except Exception:
            log.exception("a worker failed; it is tried again", key=str(key))
            self._failed(key)
        finally:
            with self._lock:
                self._running.discard(key)
                if key in self._again and not self._stopped:
                    self._again.discard(key)
                    self._waiting.add(key)
                    self._submit(key)


class Alarms(Generic[K]):
    """Wake-ups at given times: the earliest one asked for each key counts until it rings."""

    def __init__(self, clock: Clock, ring: Callable[[K], None]) -> None:
        self._clock, self._ring = clock, ring
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name="alarms", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def set(self, key: K, at: datetime) -> None:
        """Ring for the key at a time, unless it rings earlier anyway."""
        due = self._clock.monotonic() + (at - self._clock.now()).total_seconds()
        with self._lock:
            if self._due.get(key, float("inf")) <= due:
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
        self._changed.set()

    def cancel(self, key: K) -> None:
        with self._lock:
            self._due.pop(key, None)

    def due(self) -> bool:
        """Whether an alarm should have rung by now."""
        with self._lock:
            return any(at <= self._clock.monotonic() for at in self._due.values())

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()

    def _loop(self) -> None:
        while not self._stopped:
            self._changed.clear()
            wait = self._ring_what_is_due()
            if not self._stopped:
                self._clock.wait(self._changed, wait)

    def _ring_what_is_due(self) -> float:
        """Ring, and return the seconds until the next alarm, or until one may look again when there is none."""
        while True:
            with self._lock:
                if not self._heap:
                    return IDLE
                wait = self._heap[0][0] - self._clock.monotonic()
                if wait > 0:
                    return wait
                due, _, key = heapq.heappop(self._heap)
                if self._due.get(key) != due:
                    continue
                del self._due[key]
            self._ring(key)
