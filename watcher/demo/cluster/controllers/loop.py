"""The one loop that runs every controller of the embedded cluster.

It exists so that a change is followed to its end before anything else happens: a selector patched, the EndpointSlice
rewritten and the proxy told are one uninterrupted step. What always holds: a controller is told a key at least once
after each change that concerns it, never while it runs, and one that fails is asked again later without holding up
the others. Controllers do not await.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from watcher.demo.cluster.store import Change, Gone, Store

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of the object to look at."""

RETRY = 1.0
ROUNDS = 500
"""Keys worked off in one go; more yield to the rest of the process first."""


class Controller(Protocol):
    """Level-triggered: `reconcile` reads the state as it is, whatever change woke it."""

    def keys(self, change: Change) -> Iterable[Key]:
        """Which keys a change concerns."""

    def reconcile(self, key: Key) -> float | None:
        """Move one step. Returns after how many seconds to look again even if nothing changes."""


class Manager:
    """Feeds changes to controllers, in the order in which they were given."""

    def __init__(self, store: Store, controllers: Sequence[Controller]) -> None:
        self._store = store
        self._controllers = controllers
        self._queue: dict[tuple[int, Key], None] = {}
        self._timers: dict[tuple[int, Key], tuple[float, asyncio.TimerHandle]] = {}
        self._version = 0

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            self._relist()
            while True:
                while self._pump():
                    await asyncio.sleep(0)
                await self._store.wait(self._version)
        finally:
            for _, timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    def _pump(self) -> bool:
        """Work off what is queued and what that causes. True when the turn was used up before the work was."""
        for _ in range(ROUNDS):
            self._read()
            if not self._queue:
                return False
            item = min(self._queue, key=lambda queued: queued[0])
            del self._queue[item]
            self._reconcile(item)
        return True

    def _read(self) -> None:
        if self._store.version == self._version:
            return
        try:
            changes = self._store.since(self._version)
        except Gone:
            self._relist()
            return
        for change in changes:
            self._note(change)
        self._version = self._store.version

    def _relist(self) -> None:
        self._version = self._store.version
        for kind in self._store.kinds:
            for found in self._store.objects(kind):
                self._note(Change("ADDED", self._version, kind, found, None))

    def _note(self, change: Change) -> None:
        for index, controller in enumerate(self._controllers):
            try:
                keys = list(controller.keys(change))
            except Exception:
                # An object that one controller cannot read must not keep the others from working.
                log.exception("%s cannot read a change of %s", type(controller).__name__, change.kind.plural)
                continue
            for key in keys:
                self._queue[(index, key)] = None

    def _reconcile(self, item: tuple[int, Key]) -> None:
        index, key = item
        try:
            again = self._controllers[index].reconcile(key)
        except Exception:
            log.exception("%s failed on %s/%s", type(self._controllers[index]).__name__, *key)
            again = RETRY
        if again is not None:
            self._later(item, again)

    def _later(self, item: tuple[int, Key], delay: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + max(delay, 0.0)
        known = self._timers.get(item)
        if known is not None:
            if known[0] <= due:
                return
            known[1].cancel()
        self._timers[item] = (due, loop.call_at(due, self._ring, item))

    def _ring(self, item: tuple[int, Key]) -> None:
        self._timers.pop(item, None)
        self._queue[item] = None
        if self._pump():
            asyncio.get_running_loop().call_soon(self._pump)
