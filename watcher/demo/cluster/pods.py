"""One pod on the node: its address, its containers in order, and its orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Sequence

from watcher.demo.cluster.addresses import AddressBlock
from watcher.demo.cluster.containers import Container, Grace, Host
from watcher.demo.cluster.podstatus import pod_status, quality
from watcher.demo.cluster.resources import POD
from watcher.demo.cluster.store import Object

log = logging.getLogger(__name__)

HOST_IP = "127.0.0.1"


class PodWorker:
    """Runs a pod until it is stopped. `on_gone` is called once nothing of it is left."""

    def __init__(self, host: Host, block: AddressBlock, pod: Object, on_gone: Callable[[PodWorker], None]) -> None:
        self._host = host
        self._block = block
        self._on_gone = on_gone
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        self.address = block.pod_ip()
        now = host.store.timestamp()
        self._facts = {
            "qosClass": quality(pod["spec"]),
            "startTime": now,
            "hostIP": HOST_IP,
            "hostIPs": [{"ip": HOST_IP}],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
        }
        self.pod.setdefault("status", {}).update(self._facts)
        spec = pod["spec"]
        policy = spec.get("restartPolicy") or "Always"
        # An init container that succeeded is done, whatever the pod's policy.
        init_policy = "Never" if policy == "Never" else "OnFailure"
        self.init = self._containers(spec.get("initContainers") or (), init_policy)
        self.main = self._containers(spec.get("containers") or (), policy)
        self._grace: Grace | None = None
        self._life = asyncio.ensure_future(self._live())
        self._life.add_done_callback(self._note_failure)
        self._end: asyncio.Task[None] | None = None

    def _containers(self, specs: Sequence[Object], policy: str) -> list[Container]:
        return [Container(self._host, lambda: self.pod, spec, policy=policy, publish=self.publish) for spec in specs]

    async def _live(self) -> None:
        self.publish()
        for container in self.init:
            await container.run()
            if container.state.exit_code != 0:
                return
        await asyncio.gather(*(container.run() for container in self.main))

    def _note_failure(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled() and life.exception() is not None:
            log.error("the worker of pod %s/%s failed", *self.key, exc_info=life.exception())

    def stop(self, seconds: float) -> None:
        """Begin the end, or hurry one that is under way."""
        if self._grace is not None:
            self._grace.shorten(seconds)
            return
        self._grace = Grace(time.monotonic() + seconds)
        self._end = asyncio.ensure_future(self._finish(self._grace))

    async def gone(self) -> None:
        """Return when the end is complete."""
        if self._end is not None:
            await asyncio.wait([self._end])

    async def _finish(self, grace: Grace) -> None:
        await asyncio.gather(*(container.stop(grace) for container in [*self.init, *self.main]))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(self._life)
        self._life.cancel()
        await asyncio.wait([self._life])
        self._block.release(self.address)
        shutil.rmtree(self._host.directory / self.uid, ignore_errors=True)
        found = self._host.store.find(POD, *self.key)
        if found is not None and found["metadata"]["uid"] == self.uid:
            self._host.store.delete(POD, *self.key)
        self._on_gone(self)

    def publish(self) -> None:
        """Write the pod's status, as long as the object is there."""
        found = self._host.store.find(POD, *self.key)
        if found is None or found["metadata"]["uid"] != self.uid:
            return
        now = self._host.store.timestamp()
        init = [container.state for container in self.init]
        main = [container.state for container in self.main]
        status = pod_status(found.get("status") or {}, init, main, self._facts, now)
        self.pod = self._host.store.update(POD, *self.key, lambda pod: pod.update(status=status))
