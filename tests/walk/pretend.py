"""The cluster of the walk: the embedded API server and its controllers over real HTTP, with pods that are pretended.

What always holds: everything but the kubelet is what the other tests have; a pod without a process is ready or sick as
it is told, at once; and all times in the cluster are those of the clock that is moved by hand.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import uvicorn

from tests.support.api import kubeconfig, teach
from tests.support.clock import HandClock
from watcher.adapters.kubernetes.connection import Connection
from watcher.demo.cluster.api import create_app
from watcher.demo.cluster.controllers.common import terminating
from watcher.demo.cluster.controllers.deployments import Deployments
from watcher.demo.cluster.controllers.endpointslices import EndpointSlices
from watcher.demo.cluster.controllers.garbage import Garbage
from watcher.demo.cluster.controllers.loop import Controller, Key, Manager
from watcher.demo.cluster.controllers.replicasets import ReplicaSets
from watcher.demo.cluster.podstatus import ContainerState, pod_status, waiting
from watcher.demo.cluster.resources import BUILT_IN, NAMESPACE, POD, Kind
from watcher.demo.cluster.store import Change, NotFound, Object, Store

T = TypeVar("T")
ADDRESS = "127.0.0.1"
"""Of every pod and every Service: a server of the walk answers the checks there."""
DEADLINE = 20.0


Note = Callable[[Change, bool], None]
"""Told of each change twice: as it is made, and again (True) when the controllers hear of it."""


class NotedStore(Store):
    """Tells of each change before anybody can have an answer."""

    def __init__(self, now: Callable[[], datetime], note: Note) -> None:
        super().__init__(now)
        self._note = note

    def _commit(
        self,
        type_: Literal["ADDED", "MODIFIED", "DELETED"],
        kind: Kind,
        new: Object,
        before: Object | None,
        *,
        dry_run: bool = False,
    ) -> Object:
        done = super()._commit(type_, kind, new, before, dry_run=dry_run)
        if not dry_run:
            self._note(self._history[-1], False)
        return done


class Witness:
    """The first of the controllers: what it has seen, they have seen."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self.version = 0

    def keys(self, change: Change) -> Iterable[Key]:
        self._note(change, True)
        self.version = max(self.version, change.version)
        return ()

    def reconcile(self, key: Key) -> float | None:
        raise AssertionError(f"a witness has no work: {key}")


class PretendKubelet:
    """Says of each pod what it is told to say: `sick` is by namespace and colour, and an image can be sick by name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sick: dict[tuple[str, str], str] = {}
        self.crashes: dict[tuple[str, str], int] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        if change.kind == POD:
            yield (change.object["metadata"]["namespace"], change.object["metadata"]["name"])

    def reconcile(self, key: Key) -> float | None:
        pod = self._store.find(POD, *key)
        if pod is None:
            return None
        if terminating(pod):
            self._store.delete(POD, *key)
            return None
        status = self._status(pod)
        self._store.update(POD, *key, lambda found: found.update(status=status))
        return None

    def look_again(self, namespace: str) -> None:
        """Say it anew of all pods."""
        for pod in self._store.objects(POD, namespace):
            self.reconcile((namespace, pod["metadata"]["name"]))

    def _status(self, pod: Object) -> Object:
        before = pod.get("status") or {}
        place = (pod["metadata"]["namespace"], pod["metadata"]["labels"].get("color", ""))
        now = self._store.timestamp()
        known = {row["name"]: row for row in before.get("containerStatuses") or ()}
        rows = []
        for spec in pod["spec"]["containers"]:
            how = self.sick.get(place, "")
            how = spec["image"].rpartition(":")[2] if spec["image"].endswith((":crashing", ":unready")) else how
            restarts = int(known.get(spec["name"], {}).get("restartCount", 0))
            row = ContainerState(spec["name"], spec["image"], restarts=restarts, started=True)
            if how == "crashing":
                row.restarts = max(1, restarts, self.crashes.get(place, 0))
                row.state = waiting("CrashLoopBackOff", "back-off restarting failed container")
                row.last = {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": now, "finishedAt": now}}
            else:
                row.state, row.ready = {"running": {"startedAt": now}}, how != "unready"
            rows.append(row)
        return pod_status(before, [], rows, {"podIP": ADDRESS, "startTime": before.get("startTime", now)}, now)


class Pretend:
    """The cluster, in a thread of its own."""

    def __init__(self, directory: Path, clock: HandClock, note: Note) -> None:
        self.directory, self.clock = directory, clock
        self._note = note

    def __enter__(self) -> Self:
        self.store = NotedStore(self.clock.now, self._note)
        for kind in (NAMESPACE, *BUILT_IN):
            self.store.register(kind)
        self.kubelet, self.witness = PretendKubelet(self.store), Witness(self._note)
        app = create_app(self.store, cluster_ip=lambda: ADDRESS)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind((ADDRESS, 0))
        listener.listen(128)
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, timeout_graceful_shutdown=2)
        )
        self._stop_watches = app.state.stop_watches
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="cluster", daemon=True)
        self._thread.start()
        self.kubeconfig = kubeconfig(self.directory / "cluster.json", f"http://{ADDRESS}:{listener.getsockname()[1]}")
        self.connection = Connection(self.kubeconfig)
        teach(self.connection)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.connection.close()
        self._loop.call_soon_threadsafe(self._stop_watches)
        self._server.should_exit = True
        self._thread.join(DEADLINE)

    def inside(self, action: Callable[[], T]) -> T:
        """Do something with the store, where it lives."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def act() -> None:
            try:
                done.set_result(action())
            except Exception as error:  # noqa: BLE001 - belongs to whoever asked
                done.set_exception(error)

        self._loop.call_soon_threadsafe(act)
        return done.result(DEADLINE)

    def make_namespace(self, name: str) -> None:
        self.inside(lambda: self.store.create(NAMESPACE, {"metadata": {"name": name}, "status": {"phase": "Active"}}))

    def purge(self, namespace: str) -> None:
        """Take away everything in a namespace."""

        def act() -> None:
            for kind in self.store.kinds:
                for found in self.store.objects(kind, namespace) if kind.namespaced else ():
                    with suppress(NotFound):
                        self.store.delete(kind, namespace, found["metadata"]["name"])

        self.inside(act)

    def _serve(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        controllers: list[Controller] = [
            self.witness,
            EndpointSlices(self.store),
            Garbage(self.store),
            Deployments(self.store),
            ReplicaSets(self.store),
            self.kubelet,
        ]
        working = self._loop.create_task(Manager(self.store, controllers).run())
        self._loop.run_until_complete(self._server.serve(sockets=[listener]))
        working.cancel()
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(working)
        self._loop.close()
