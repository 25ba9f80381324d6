"""The kubelet of the one node: runs what was scheduled there, ends what is to go, and watches over memory and logs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from watcher.demo.cluster.addresses import AddressBlock
from watcher.demo.cluster.containers import Container, Host
from watcher.demo.cluster.controllers.common import terminating
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.pods import PodWorker
from watcher.demo.cluster.resources import POD
from watcher.demo.cluster.store import Change, Object

SAMPLE = 1.0
"""Seconds between two looks at the memory of containers that have a limit."""
SAMPLES_PER_LOG_CHECK = 5
FORCED = 2.0
"""Seconds that a pod gets to end whose object was deleted by force."""


class Kubelet:
    """A controller for pods: starts and stops workers, which live on their own."""

    def __init__(self, host: Host, block: AddressBlock) -> None:
        self._host = host
        self._block = block
        self._workers: dict[str, PodWorker] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        if change.kind == POD:
            yield (change.object["metadata"]["namespace"], change.object["metadata"]["name"])

    def reconcile(self, key: Key) -> float | None:
        pod = self._host.store.find(POD, *key)
        for worker in list(self._workers.values()):
            if worker.key == key and (pod is None or pod["metadata"]["uid"] != worker.uid):
                # The object went without waiting for us: somebody forced it.
                worker.stop(min(grace_of(worker.pod), FORCED))
        if pod is None:
            return None
        worker_here = self._workers.get(pod["metadata"]["uid"])
        if terminating(pod):
            if worker_here is not None:
                worker_here.stop(grace_of(pod))
            else:
                self._host.store.delete(POD, *key)
        elif worker_here is not None:
            worker_here.pod = pod
        elif pod["spec"].get("nodeName"):
            self._workers[pod["metadata"]["uid"]] = PodWorker(self._host, self._block, pod, self._forget)
        return None

    async def look_after(self) -> None:
        """Sample memory and cut logs until cancelled."""
        samples = 0
        while True:
            await asyncio.sleep(SAMPLE)
            samples += 1
            for container in self._containers():
                container.check_memory()
                if samples % SAMPLES_PER_LOG_CHECK == 0:
                    container.log.bound()

    def logs(self, namespace: str, name: str, container: str, previous: bool) -> str | None:
        """What a container printed; None when there is no such container or run."""
        for worker in self._workers.values():
            if worker.key == (namespace, name):
                for found in [*worker.main, *worker.init]:
                    if found.state.name == container:
                        return found.log.read(previous=previous)
        return None

    async def stop(self, seconds: float) -> None:
        """End every pod, each within `seconds`, without touching the objects' deletion marks."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.stop(seconds)
        await asyncio.gather(*(worker.gone() for worker in workers))

    def _containers(self) -> list[Container]:
        return [container for worker in self._workers.values() for container in [*worker.init, *worker.main]]

    def _forget(self, worker: PodWorker) -> None:
        self._workers.pop(worker.uid, None)


def grace_of(pod: Object) -> float:
    """Seconds that a pod's containers get between SIGTERM and SIGKILL."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds", 30)
    return float(asked)
