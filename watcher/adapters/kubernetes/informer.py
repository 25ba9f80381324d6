"""A cache of one kind in one namespace, kept by list and watch; and the wake-ups that its changes give.

What always holds: the watch is only a wake-up. When it breaks, ends, or falls silent, the kind is listed anew, so the
cache is never older than the re-list interval; between changes nothing is asked of the API server. An object never
becomes older between two lists, whatever the order in which readers and the watch report it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import structlog

from watcher.adapters.errors import AdapterError, Fatal
from watcher.adapters.kubernetes.connection import Connection, Gone, NotFound

T = TypeVar("T")

RELIST = 300.0
"""Seconds after which a watch is ended and the kind is listed again."""
SILENCE = 100.0
"""Seconds without a byte after which a watch counts as dead. A server sends a bookmark about every minute."""
FIRST_RETRY, LAST_RETRY = 0.2, 5.0

log = structlog.get_logger(__name__)


class Informer(Generic[T]):
    """Objects of one kind by name. `on_change(name, before, after)` is called from the informer's thread, once the
    cache has what came after.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        parse: Callable[[Mapping[str, Any]], T],
        on_change: Callable[[str, T | None, T | None], None],
        query: Mapping[str, str] | None = None,
        *,
        relist: float = RELIST,
        silence: float = SILENCE,
        last_retry: float = LAST_RETRY,
    ) -> None:
        """`relist`, `silence`: seconds that a watch lasts, and that it counts as alive without a byte. `last_retry`:
        seconds that it waits at most after a failure."""
        self._relist, self._silence, self._last_retry = relist, silence, last_retry
        self._connection, self._path, self._parse, self._on_change = connection, path, parse, on_change
        self._query = dict(query or {})
        self._objects: Mapping[str, T] = {}
        self._versions: dict[str, int] = {}
        """The newest version known of each object; of one that was deleted, that of its end."""
        self._put: set[str] = set()
        """What readers put since the watch last spoke of it."""
        self._changing = threading.Lock()
        self._stop = threading.Event()
        self.synced = threading.Event()
        self.refused = threading.Event()
        """The last answer was that there is no such kind, or no right to list it."""
        self.seen_at = 0.0
        """Monotonic time of the last answer of the API server."""
        self._thread = threading.Thread(target=self._run, name=f"watch {path.rpartition('/')[2]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; a watch that is waiting ends with the process."""
        self._stop.set()

    def all(self) -> Mapping[str, T]:
        """The objects by name, as they are now: a snapshot that does not change."""
        return self._objects

    def get(self, name: str) -> T | None:
        return self._objects.get(name)

    def put(self, name: str, found: T, version: str) -> None:
        """What the caller has just read or written itself, unless the watch brought something newer meanwhile. The
        watch will say the same later, and that wakes even if nothing is new then.
        """
        with self._changing:
            if self._take(name, found, version):
                self._put.add(name)

    def _take(self, name: str, found: T | None, version: str) -> bool:
        """Keep an object, or with None its end, if that is not older than what is known."""
        # Versions of one kind can be compared as numbers (Kubernetes API concepts, "Resource versions").
        number = int(version) if version.isdigit() else 0
        if number and number < self._versions.get(name, 0):
            return False
        self._versions[name] = number
        changed = dict(self._objects)
        if found is None:
            changed.pop(name, None)
        else:
            changed[name] = found
        self._objects = changed
        return True

    def _run(self) -> None:
        wait = FIRST_RETRY
        while not self._stop.is_set():
            try:
                version = self._list()
                self.refused.clear()
                wait = FIRST_RETRY
                self._follow(version)
            except Gone:
                # At once, but not in a tight loop when the server finds every version too old.
                self._stop.wait(FIRST_RETRY)
            except AdapterError as error:
                if isinstance(error, (Fatal, NotFound)):
                    self.refused.set()
                log.warning("cannot watch, tries again", path=self._path, error=str(error), seconds=wait)
                self._stop.wait(wait)
                wait = min(wait * 2, self._last_retry)
            except Exception:
                log.exception("the watch failed on what it was sent, lists again", path=self._path)
                self._stop.wait(LAST_RETRY)

    def _list(self) -> str:
        answer = self._connection.get(self._path, **self._query)
        found: dict[str, T] = {}
        versions: dict[str, int] = {}
        for raw in answer.get("items") or ():
            name, version = raw["metadata"]["name"], raw["metadata"]["resourceVersion"]
            found[name] = self._parse(raw)
            versions[name] = int(version) if version.isdigit() else 0
        with self._changing:
            # The list is the truth, even if it seems older: a restored cluster counts anew.
            before, self._objects = self._objects, found
            self._versions = versions
        self.seen_at = time.monotonic()
        self.synced.set()
        for name in before.keys() | found.keys():
            if before.get(name) != found.get(name):
                self._on_change(name, before.get(name), found.get(name))
        return str((answer.get("metadata") or {}).get("resourceVersion", ""))

    def _follow(self, version: str) -> None:
        ends = time.monotonic() + self._relist
        while not self._stop.is_set() and time.monotonic() < ends:
            query = self._query | {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": str(max(1, int(self._relist))),
            }
            began = time.monotonic()
            for event in self._connection.watch(self._path, query, self._silence):
                if self._stop.is_set():
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                self.seen_at = time.monotonic()
                if event["type"] != "BOOKMARK":
                    self._apply(event["type"], event["object"])
            # A server that ends watches at once must not be asked in a tight loop.
            self._stop.wait(max(0.0, FIRST_RETRY - (time.monotonic() - began)))

    def _apply(self, kind: str, raw: Mapping[str, Any]) -> None:
        name = raw["metadata"]["name"]
        after = None if kind == "DELETED" else self._parse(raw)
        with self._changing:
            before = self._objects.get(name)
            if not self._take(name, after, raw["metadata"]["resourceVersion"]):
                return
            was_put = name in self._put
            self._put.discard(name)
        if before != after or was_put:
            self._on_change(name, before, after)
