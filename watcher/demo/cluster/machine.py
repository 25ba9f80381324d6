"""The running half of the embedded cluster: its controllers, its node and its Services, over one store.

What always holds: after `stop` no process of a pod is left, no Service listens, and the block of addresses is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from watcher.demo.cluster.addresses import AddressBlock
from watcher.demo.cluster.containers import Host
from watcher.demo.cluster.controllers.autoscalers import Autoscalers
from watcher.demo.cluster.controllers.deployments import Deployments
from watcher.demo.cluster.controllers.endpointslices import EndpointSlices
from watcher.demo.cluster.controllers.garbage import Garbage
from watcher.demo.cluster.controllers.jobs import Jobs
from watcher.demo.cluster.controllers.loop import Manager
from watcher.demo.cluster.controllers.namespaces import FIRST, Namespaces
from watcher.demo.cluster.controllers.replicasets import ReplicaSets
from watcher.demo.cluster.controllers.scheduling import NODE_NAME, Scheduler
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.images import Images
from watcher.demo.cluster.kubelet import Kubelet
from watcher.demo.cluster.pods import HOST_IP
from watcher.demo.cluster.processes import Reaper
from watcher.demo.cluster.proxy import Proxy
from watcher.demo.cluster.resources import BUILT_IN, NAMESPACE, NODE
from watcher.demo.cluster.store import AlreadyExists, Object, Store

STOP_GRACE = 1.0
"""Seconds that pods get between SIGTERM and SIGKILL when the whole cluster stops."""


class Machine:
    """Runs what a store asks for. `cpu`, `memory` and `pods` are what the one node offers."""

    def __init__(
        self,
        store: Store,
        images: Path,
        *,
        state_dir: Path | None = None,
        namespaces: Sequence[str] = (),
        backoff_scale: float = 0.1,
        cpu: str = "8",
        memory: str = "16Gi",
        pods: int = 110,
    ) -> None:
        self.store = store
        self._images = Images(images)
        self._state_dir = state_dir
        self._namespaces = (*FIRST, *namespaces)
        self._scale = backoff_scale
        self._capacity = {"cpu": cpu, "memory": memory, "pods": str(pods)}
        self._tasks: list[asyncio.Task[None]] = []
        self._cleanup = contextlib.ExitStack()

    async def start(self) -> None:
        """Claim addresses and begin."""
        with contextlib.ExitStack() as stack:
            self.block = AddressBlock.claim()
            stack.callback(self.block.close)
            reaper = Reaper()
            stack.callback(reaper.close)
            directory = Path(tempfile.mkdtemp(prefix="cluster-", dir=self._state_dir))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            host = Host(self.store, self._images, Recorder(self.store, "kubelet"), reaper, directory, self._scale)
            self.kubelet = Kubelet(host, self.block)
            self.proxy = Proxy(self.store, self.block)
            stack.callback(self.proxy.close)
            self._prepare()
            # The order counts: what a change means for traffic comes before what it means for processes.
            manager = Manager(
                self.store,
                [
                    EndpointSlices(self.store),
                    self.proxy,
                    Namespaces(self.store),
                    Garbage(self.store),
                    Autoscalers(self.store),
                    Deployments(self.store),
                    ReplicaSets(self.store),
                    Jobs(self.store, self._scale),
                    Scheduler(self.store),
                    self.kubelet,
                ],
            )
            self._tasks = [asyncio.ensure_future(manager.run()), asyncio.ensure_future(self.kubelet.look_after())]
            self._cleanup = stack.pop_all()

    async def stop(self) -> None:
        """End all pods and let everything go. May be called more than once."""
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        try:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.kubelet.stop(STOP_GRACE)
        finally:
            self._cleanup.close()

    def logs(self, namespace: str, name: str, container: str, previous: bool) -> str | None:
        """What a container printed, for the API."""
        return self.kubelet.logs(namespace, name, container, previous)

    def cluster_ip(self) -> str:
        """A fresh address for a Service, for the API."""
        return self.block.service_ip()

    def _prepare(self) -> None:
        known = {kind.key for kind in self.store.kinds}
        for kind in BUILT_IN:
            if kind.key not in known:
                self.store.register(kind)
        for name in dict.fromkeys(self._namespaces):
            with contextlib.suppress(AlreadyExists):
                self.store.create(NAMESPACE, namespace_object(name))
        with contextlib.suppress(AlreadyExists):
            self.store.create(NODE, node_object(self._capacity, self.store.timestamp()))


def namespace_object(name: str) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def node_object(capacity: dict[str, str], now: str) -> Object:
    """The one node, ready."""
    machine = os.uname()
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    return {
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine, machine.machine),
            },
        },
        "spec": {},
        "status": {
            "capacity": dict(capacity),
            "allocatable": dict(capacity),
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": HOST_IP}, {"type": "Hostname", "address": NODE_NAME}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0+embedded",
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "process://1",
                "operatingSystem": "linux",
                "osImage": "embedded",
                "kernelVersion": machine.release,
                "architecture": machine.machine,
                "bootID": "",
                "machineID": "",
                "systemUUID": "",
            },
        },
    }
