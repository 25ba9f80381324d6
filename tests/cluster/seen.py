"""What a test sees of a namespace by watches of its own: every state of its objects, in order, with the time.

What always holds: a state is noted before anybody who waits for it goes on; what is called `at` a state is called once,
from the watch's own thread, the moment the state is seen.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from watcher.adapters.kubernetes import paths
from watcher.demo.platform.discovery import KubernetesTargets

Kind = Literal["services", "pods", "endpointslices", "releases"]
Object = Mapping[str, Any]

KINDS: dict[Kind, Callable[[str], str]] = {
    "services": paths.services,
    "pods": paths.pods,
    "endpointslices": paths.endpoint_slices,
    "releases": paths.releases,
}
RETRY_AFTER = 0.2
DEADLINE = 330.0
"""Seconds of silence after which a watch is dead; the server ends it before."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One state of one object. `at` is when it was seen, on this machine's monotonic clock: each kind has a watch of
    its own, so of two kinds the one seen first need not have been first. `revision` tells: the API server counts it
    over all objects.
    """

    at: float
    kind: Kind
    name: str
    deleted: bool
    object: Object

    @property
    def revision(self) -> int:
        return int(self.object["metadata"]["resourceVersion"])


class Seen:
    """Watches from when it is entered."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._where, self._namespace = KubernetesTargets.from_kubeconfig(kubeconfig), namespace
        self._changed = threading.Condition()
        self._sights: list[Sight] = []
        self._calls: list[tuple[Kind, Callable[[Object], bool], Callable[[], None]]] = []
        self._stopped = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads = [
            threading.Thread(target=self._follow, args=(kind,), name=f"sees {kind}", daemon=True) for kind in KINDS
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        for open_ in tuple(self._sockets):
            with suppress(OSError):
                open_.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    # -- looking back -------------------------------------------------------------------------------------------------

    def all(self, kind: Kind) -> list[Sight]:
        """Every state so far, the oldest first."""
        with self._changed:
            return [sight for sight in self._sights if sight.kind == kind]

    def now(self, kind: Kind) -> dict[str, Object]:
        """The latest state of each object, by name."""
        found: dict[str, Object] = {}
        for sight in self.all(kind):
            if sight.deleted:
                found.pop(sight.name, None)
            else:
                found[sight.name] = sight.object
        return found

    def first(self, kind: Kind, such: Callable[[Object], bool], after: Sight | None = None) -> Sight:
        """The first state such as this, after another one. Waits a little, as it may be on its way still."""
        begin = after.revision if after else 0

        def found() -> list[Sight]:
            return [s for s in self.all(kind) if s.revision > begin and not s.deleted and such(s.object)]

        self.until(lambda: bool(found()), f"such a state of {kind}, after revision {begin}", 20)
        return found()[0]

    def catch_up(self, kind: Kind) -> None:
        """Wait until everything was seen that the API server knows of a kind by now: only then can be said what was
        not seen.
        """
        (listed,) = self._ask(KINDS[kind](self._namespace))
        there = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in listed["items"]}

        def caught_up() -> bool:
            seen = {sight.name: sight.revision for sight in self.all(kind)}
            return all(seen.get(name, 0) >= revision for name, revision in there.items())

        self.until(caught_up, f"the watch of {kind} to catch up", 20)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def until(
        self, reached: Callable[[], bool], what: str, seconds: float = 60.0, last: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait; looks again at each new state. Fails with what it last was."""
        ends = time.monotonic() + seconds
        with self._changed:
            while not reached():
                left = ends - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, 1.0))
            else:
                return
        raise AssertionError(f"waited {seconds:g} s for {what}; {last()}")

    def at(self, kind: Kind, such: Callable[[Object], bool], call: Callable[[], None]) -> None:
        """Call at the first state such as this, from now on. It must neither raise nor take long."""
        with self._changed:
            self._calls.append((kind, such, call))

    # -- watching -----------------------------------------------------------------------------------------------------

    def _follow(self, kind: Kind) -> None:
        path, version = KINDS[kind](self._namespace), ""
        while not self._stopped.is_set():
            with suppress(OSError, HTTPException, ValueError, KeyError):
                if not version:
                    (listed,) = self._ask(path)
                    for item in listed["items"]:
                        self._note(kind, item, deleted=False)
                    version = listed["metadata"]["resourceVersion"]
                for event in self._ask(f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=300"):
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._note(kind, event["object"], deleted=event["type"] == "DELETED")
            self._stopped.wait(RETRY_AFTER)

    def _ask(self, path: str) -> Iterator[dict[str, Any]]:
        """The JSON documents of one answer, a line each."""
        server = urlsplit(self._where.api_server)
        context = ssl.create_default_context(cafile=str(self._where.ca_file))
        connection = HTTPSConnection(server.hostname or "", server.port or 443, timeout=DEADLINE, context=context)
        connection.connect()
        opened = connection.sock
        try:
            self._sockets.add(opened)
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._where.token}"})
            with connection.getresponse() as answer:
                if answer.status != 200:
                    raise HTTPException(f"{path}: {answer.status}")
                for line in answer:
                    yield json.loads(line)
        finally:
            self._sockets.discard(opened)
            connection.close()

    def _note(self, kind: Kind, found: Object, *, deleted: bool) -> None:
        sight = Sight(time.monotonic(), kind, found["metadata"]["name"], deleted, found)
        with self._changed:
            self._sights.append(sight)
            due = [row for row in self._calls if not deleted and row[0] == kind and row[1](found)]
            self._calls = [row for row in self._calls if row not in due]
            self._changed.notify_all()
        for _, _, call in due:
            call()
