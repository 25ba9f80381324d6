"""The example platform in a namespace of its own, with clients if they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.cluster.seen import Object, Seen
from tests.cluster.setting import Setting
from tests.cluster.waiting import apply, fetch, kubectl, until
from tests.support.worker import WORKER, worker
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.release import Release, from_json
from watcher.demo.platform import manifests
from watcher.demo.platform.load import LoadGenerator

CONVERGED = 3
"""Times in a row that kube-proxy must serve the Service before clients begin."""


class Platform:
    """Blue serves, green is idle."""

    def __init__(self, setting: Setting, connection: Connection, seen: Seen) -> None:
        self.setting, self.namespace, self.seen = setting, setting.namespace, seen
        self.hands = Hands(connection)

    def create(self) -> None:
        """Apply its manifests as they are, all but the namespace, blue's size, and what lets many scenarios share one
        small node: each takes less of it, and its probes have patience with a busy one.
        """
        objects = manifests.objects()[1:]
        for body in objects:
            if body["metadata"]["name"] == manifests.DEPLOYMENTS["blue"]:
                body["spec"]["replicas"] = self.setting.replicas
        self._apply(objects)

    def create_worker(self) -> None:
        """The same for its worker, and wait until that serves."""
        self._apply(worker())
        label = {"app": WORKER, "color": "blue"}

        def serves() -> bool:
            pods = self.seen.now("pods").values()
            return any(label.items() <= pod["metadata"]["labels"].items() and is_ready(pod) for pod in pods)

        self.seen.until(serves, "the worker's blue to be ready", 90, self.pods)

    def _apply(self, objects: list[dict[str, Any]]) -> None:
        for body in objects:
            body["metadata"]["namespace"] = self.namespace
            if body["kind"] == "Deployment":
                (container,) = body["spec"]["template"]["spec"]["containers"]
                container["resources"]["requests"]["cpu"] = "40m"
                container["readinessProbe"]["timeoutSeconds"] = container["livenessProbe"]["timeoutSeconds"] = 5
        apply(*objects)

    def wait(self) -> None:
        """Until blue serves."""
        self.seen.until(lambda: self.ready("blue") == self.setting.replicas, "blue to be ready", 90, self.pods)

    def remove(self) -> None:
        kubectl("delete", "namespace", self.namespace, "--wait=false")

    # -- looking ------------------------------------------------------------------------------------------------------

    def color(self) -> str:
        """The colour that the live Service selects."""
        return selected(self.seen.now("services")[manifests.APPLICATION])

    def ready(self, color: str) -> int:
        """The colour's pods that are ready."""
        return sum(of(color, pod) and is_ready(pod) for pod in self.seen.now("pods").values())

    def pods(self) -> str:
        return kubectl("get", "pods", "-n", self.namespace, "--output=wide")

    def read(self, release: Release) -> Release:
        """The Release as it was last seen."""
        found = self.seen.now("releases").get(release.name)
        return from_json(dict(found)) if found else release

    # -- acting -------------------------------------------------------------------------------------------------------

    def clients(self, rate: float) -> LoadGenerator:
        """Clients of the live Service, through the address that kube-proxy serves, as soon as it serves it."""
        service = self.hands.read_service(self.namespace, manifests.APPLICATION)
        assert service is not None
        url = f"http://{service.cluster_ip}:{service.ports[0].number}"
        until(lambda: all(fetch(f"{url}/healthz") is not None for _ in range(CONVERGED)), f"kube-proxy to serve {url}")
        return LoadGenerator(url, rate=rate, connections=4)

    def patch(self, color: str, change: Mapping[str, Any]) -> None:
        """Change the spec of a colour's Deployment."""
        body = json.dumps({"spec": change})
        kubectl("patch", "deployment", manifests.DEPLOYMENTS[color], "-n", self.namespace, "--patch", body)

    def release(self, version: str, image: str | None = None) -> Release:
        """Ask for a release."""
        body = {
            "apiVersion": "watcher.bluegreen.dev/v1alpha1",
            "kind": "Release",
            "metadata": {"generateName": f"{manifests.APPLICATION}-", "namespace": self.namespace},
            "spec": {
                "application": manifests.APPLICATION,
                "version": version,
                "images": {manifests.CONTAINER: image or manifests.image(version)},
                "requestedBy": "the tests",
            },
        }
        return self.hands.create_release(self.namespace, body)


def selected(service: Object) -> str:
    return str(service["spec"]["selector"].get("color", ""))


def is_live(service: Object) -> bool:
    return str(service["metadata"]["name"]) == manifests.APPLICATION


def of(color: str, pod: Object) -> bool:
    return bool(pod["metadata"].get("labels", {}).get("color") == color)


def is_ready(pod: Object) -> bool:
    """Ready, and not told to stop."""
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def has_failed(pod: Object) -> bool:
    """Whether its status shows that a container failed."""
    for container in pod.get("status", {}).get("containerStatuses", ()):
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
        if ended and ended["exitCode"]:
            return True
    return False
