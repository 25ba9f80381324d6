"""The ground of the fault cells: one embedded cluster, a namespace with a pair for each cell, and a record of where
each live selector has been.

What always holds: pods are processes that only sleep (or end), so that hundreds of cells fit on a small machine; all
that a cell starts ends with it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ruamel.yaml import YAML

from watcher.adapters.errors import AdapterError, Conflict
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.release import Release
from watcher.demo.cluster.launcher import running_cluster
from watcher.demo.files import shipped

APPLICATION, PREVIEW = "shop", "shop-preview"
GOOD, OLD, CRASHING = "shop:2", "shop:1", "shop:crash"
IMAGES = {
    "shop:*": {"command": ["sleep", "3600"]},
    CRASHING: {"command": ["sh", "-c", "echo no database; exit 3"]},
}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Ground:
    """The cluster. `directory` is for whoever needs files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = ExitStack()
        self._seen: dict[str, list[str]] = defaultdict(list)
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        images = self.directory / "images.yaml"
        images.write_text(json.dumps(IMAGES), "utf-8")
        cluster = self._stack.enter_context(
            running_cluster(images, kubeconfig=self.directory / "kubeconfig", backoff_scale=0.02, cpu="64")
        )
        self.kubeconfig = cluster.kubeconfig
        self.connection = Connection(self.kubeconfig, pool=32)
        self._stack.callback(self.connection.close)
        self.hands = Hands(self.connection)
        self.connection.create(CRDS, YAML(typ="safe", pure=True).load(shipped("deploy/crd.yaml").read_text("utf-8")))
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._stack.close()

    # -- given --------------------------------------------------------------------------------------------------------

    def pair(self, namespace: str) -> None:
        """A namespace with a live blue, an idle green, and a Service for each."""
        self.connection.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        for color, replicas in (("blue", 2), ("green", 0)):
            self.connection.create(paths.deployments(namespace), _deployment(color, replicas))
        for name, color in ((APPLICATION, "blue"), (PREVIEW, "green")):
            selector = {"app": APPLICATION, "color": color}
            spec = {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}
            self.connection.create(paths.services(namespace), {"metadata": {"name": name}, "spec": spec})
        self.wait(lambda: self.ready(namespace, "blue") == 2, f"blue of {namespace} to be ready", 60)

    def release(self, namespace: str, image: str) -> Release:
        """Ask for a release."""
        body = {
            "apiVersion": "watcher.bluegreen.dev/v1alpha1",
            "kind": "Release",
            "metadata": {"name": "it", "namespace": namespace},
            "spec": {"application": APPLICATION, "version": image.partition(":")[2], "images": {"shop": image}},
        }
        return self.hands.create_release(namespace, body)

    def remove(self, namespace: str) -> None:
        with suppress(AdapterError):
            self.connection.delete(f"/api/v1/namespaces/{namespace}")

    # -- then ---------------------------------------------------------------------------------------------------------

    def read(self, release: Release) -> Release:
        found = self.hands.read_release(release.namespace, release.name)
        assert found is not None
        return found

    def selected(self, namespace: str) -> str:
        service = self.hands.read_service(namespace, APPLICATION)
        return service.view.selector.get("color", "") if service else ""

    def ready(self, namespace: str, color: str) -> int:
        found = self.connection.get(paths.pods(namespace), labelSelector=f"color={color}")
        return sum(
            condition["type"] == "Ready" and condition["status"] == "True"
            for pod in found["items"]
            for condition in (pod.get("status") or {}).get("conditions") or ()
        )

    def been(self, namespace: str) -> tuple[str, ...]:
        """The colours that the live selector had, one after the other."""
        now = self.selected(namespace)
        with suppress(TimeoutError):
            self.wait(lambda: self._seen[namespace][-1:] == [now], "the watch to see the last flip", 10)
        return tuple(self._seen[namespace])

    def wait(
        self, reached: Callable[[], bool], what: str, seconds: float, last: Callable[[], str] = lambda: ""
    ) -> None:
        """Look again and again until something is so; raises TimeoutError."""
        ends = time.monotonic() + seconds
        while True:
            with suppress(AdapterError):
                if reached():
                    return
            if time.monotonic() > ends:
                raise TimeoutError(f"waited {seconds:g} s for {what}; {last()}")
            time.sleep(0.1)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """See every change of every live selector."""
        version = "0"
        while not self._stop.is_set():
            query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "300"}
            with suppress(AdapterError, Conflict):
                for event in self.connection.watch("/api/v1/services", query, 400):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._note(event["object"])
            self._stop.wait(0.05)

    def _note(self, service: Mapping[str, Any]) -> None:
        meta, color = service["metadata"], (service["spec"].get("selector") or {}).get("color", "")
        seen = self._seen[meta.get("namespace", "")]
        if meta["name"] == APPLICATION and seen[-1:] != [color]:
            seen.append(color)


def _deployment(color: str, replicas: int) -> dict[str, Any]:
    labels = {"app": APPLICATION, "color": color}
    # Asked once, a second after the start: what crashes at once is never ready.
    probe = {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "periodSeconds": 600}
    container = {"name": "shop", "image": OLD, "ports": [{"containerPort": 8080}], "readinessProbe": probe}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "metadata": {"name": f"{APPLICATION}-{color}"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
