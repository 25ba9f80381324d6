"""The daemon in the cluster, as deploy/ describes it, and the example platform, once in each of several namespaces."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.cluster.waiting import apply, fetch, kubectl, read, until
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.release import Release
from watcher.demo.files import demo_config
from watcher.demo.platform import manifests
from watcher.demo.platform.load import LoadGenerator

ROOT = Path(__file__).resolve().parents[2]
DAEMON = "bluegreen-watcher"
"""Its Deployment, its namespace and its service account."""


class Platform:
    """The example platform in a namespace of its own: blue serves, green is idle."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self.namespace = namespace
        self.hands = Hands(connection)

    def create(self) -> None:
        """Apply its manifests as they are, all but the namespace, and wait until blue serves."""
        objects = manifests.objects()
        for body in objects:
            meta = body["metadata"]
            meta["namespace" if "namespace" in meta else "name"] = self.namespace
        kubectl("apply", "--filename=-", stdin=json.dumps(objects[0]))
        until(lambda: bool(kubectl("get", "serviceaccount/default", "-n", self.namespace, check=False)), "its account")
        apply(*objects[1:])
        until(lambda: self.ready_pods("blue") == 2, "blue to be ready", last=self.pods)

    def remove(self) -> None:
        kubectl("delete", "namespace", self.namespace, "--wait=false")

    def clients(self, rate: float = 40.0) -> LoadGenerator:
        """Clients of the live Service, through the address that kube-proxy serves, as soon as it serves it."""
        service = self.hands.read_service(self.namespace, manifests.APPLICATION)
        assert service is not None
        url = f"http://{service.cluster_ip}:{service.ports[0].number}"
        until(lambda: fetch(f"{url}/healthz") is not None, f"kube-proxy to serve {url}")
        return LoadGenerator(url, rate=rate)

    def active(self) -> str:
        """The colour that the live Service selects."""
        service = self.hands.read_service(self.namespace, manifests.APPLICATION)
        return service.view.selector.get("color", "") if service else ""

    def ready_pods(self, color: str) -> int:
        found = read("pods", "-n", self.namespace, f"--selector=color={color}")
        return sum(
            condition["status"] == "True"
            for pod in found["items"]
            for condition in pod.get("status", {}).get("conditions", ())
            if condition["type"] == "Ready"
        )

    def pods(self) -> str:
        return kubectl("get", "pods", "-n", self.namespace, "--output=wide")

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

    def follow(self, release: Release, reached: Callable[[Release], bool], what: str, seconds: float) -> Release:
        """Wait until the Release is as asked; returns it so."""
        latest = [release]

        def there() -> bool:
            found = self.hands.read_release(release.namespace, release.name)
            assert found is not None
            latest[0] = found
            return reached(found)

        def last() -> str:
            status = latest[0].status
            return f"{status.phase.value}: {status.message}\n{self.pods()}\nthe daemons' last lines:\n{daemon_log(15)}"

        until(there, what, seconds, last)
        return latest[0]

    def end(self, release: Release, seconds: float = 120.0) -> Release:
        """Wait for its end."""
        return self.follow(release, lambda found: found.phase.terminal, "the end of the Release", seconds)


def deploy_daemon(namespaces: Sequence[str], prometheus: str) -> None:
    """Apply deploy/ as it is, with an Application for each namespace, and this Prometheus."""
    yaml = YAML(typ="safe", pure=True)
    objects = list(yaml.load_all(kubectl("kustomize", str(ROOT / "deploy"))))
    for body in objects:
        if body["kind"] == "ConfigMap" and body["metadata"]["name"] == "watcher-config":
            body["data"].pop("chatbot-platform.yaml")
            body["data"] |= {f"{name}.yaml": json.dumps(_application(name)) for name in namespaces}
        if body["kind"] == "Deployment":
            (container,) = body["spec"]["template"]["spec"]["containers"]
            (url,) = (row for row in container["env"] if row["name"] == "WATCHER_PROMETHEUS_URL")
            url["value"] = prometheus
    # The namespace and the new kind first: what follows needs them.
    first = ("Namespace", "CustomResourceDefinition")
    apply(*(body for body in objects if body["kind"] in first))
    kubectl("wait", "--for=condition=Established", "crd/releases.watcher.bluegreen.dev", "--timeout=30s")
    apply(*(body for body in objects if body["kind"] not in first))
    try:
        kubectl("rollout", "status", f"deployment/{DAEMON}", "-n", DAEMON, "--timeout=120s", seconds=130)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{kubectl('describe', 'pods', '-n', DAEMON)}\n{daemon_log(20)}") from None


def _application(namespace: str) -> dict[str, Any]:
    """The demo's Application, in this namespace."""
    text = (demo_config() / "application.yaml").read_text("utf-8")
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    found["metadata"]["namespace"] = namespace
    return found


def daemon_log(lines: int = -1) -> str:
    """What the daemons' pods have logged; no pod's log when it cannot be had."""
    selector = f"--selector=app.kubernetes.io/name={DAEMON}"
    return kubectl("logs", "-n", DAEMON, selector, f"--tail={lines}", "--prefix", check=False)


def start_times() -> list[tuple[str, float]]:
    """Each daemon's pod, and the seconds from its container's start to its readiness, as the cluster saw it."""
    found = []
    for pod in read("pods", "-n", DAEMON)["items"]:
        (container,) = pod["status"]["containerStatuses"]
        (ready,) = (one for one in pod["status"]["conditions"] if one["type"] == "Ready")
        began = datetime.fromisoformat(container["state"]["running"]["startedAt"])
        seconds = (datetime.fromisoformat(ready["lastTransitionTime"]) - began).total_seconds()
        found.append((pod["metadata"]["name"], seconds))
    return found
