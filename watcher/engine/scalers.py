"""Writes the minimums of autoscalers, in threads of its own.

What always holds: whoever asks never waits, and never hears of a failure: it looks whether it was done, and asks again.
So an API that refuses autoscalers, or hangs over them, delays no flip (S2). One autoscaler is written once at a time,
and not more often than every second, whoever else keeps writing it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from watcher.adapters.errors import AdapterError, Conflict
from watcher.adapters.kubernetes.caches import Caches
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.effects import SetMinimum

Key = tuple[str, str]
"""A Release, or an autoscaler: namespace and name."""

PAUSE = 1.0
"""Seconds from one writing of an autoscaler to the next."""

log = structlog.get_logger(__name__)


class Scalers:
    """`wake(release)` is called after each answer."""

    def __init__(self, hands: Hands, caches: Caches, wake: Callable[[Key], None], threads: int = 2) -> None:
        self._hands, self._caches, self._wake = hands, caches, wake
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="scaler")
        self._lock = threading.Lock()
        self._busy: set[Key] = set()
        self._written: dict[Key, float] = {}

    def ask(self, release: Key, change: SetMinimum) -> None:
        """Write a minimum soon; one that is being written, or was a moment ago, is not written again."""
        key = (release[0], change.scaler)
        with self._lock:
            if key in self._busy or time.monotonic() - self._written.get(key, -PAUSE) < PAUSE:
                return
            self._busy.add(key)
            self._written[key] = time.monotonic()
        try:
            self._threads.submit(self._write, release, change)
        except RuntimeError:  # it stops: whoever comes next asks again
            return

    def stop(self) -> None:
        """Take no more, and wait for what is under way: each call has a deadline."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _write(self, release: Key, change: SetMinimum) -> None:
        namespace = release[0]
        try:
            self._caches.remember_scaler(namespace, self._hands.set_minimum(namespace, change))
            log.info(
                "an autoscaler has another minimum",
                release=release[1],
                autoscaler=change.scaler,
                minimum=change.minimum,
                given_back=change.held is None,
            )
        except Conflict as error:
            log.debug("an autoscaler was changed meanwhile, looks again", autoscaler=change.scaler, error=str(error))
        except AdapterError as error:
            log.warning("an autoscaler did not take its minimum", autoscaler=change.scaler, error=str(error))
        finally:
            with self._lock:
                self._busy.discard((namespace, change.scaler))
        self._wake(release)
