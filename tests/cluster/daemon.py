"""The image that was built, as deploy/ describes it: two replicas, of which one acts.

What always holds: the manifests are the ones that are shipped, rights included; only what every user has to set is set:
Applications, the address of Prometheus, and where to notify.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

from tests.cluster.setting import Setting
from tests.cluster.waiting import apply, fetch, kubectl, run, until
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.leases import Leases

ROOT = Path(__file__).resolve().parents[2]
DAEMON = "bluegreen-watcher"
"""Its Deployment, its namespace when it serves several, and its service account."""
LABEL = f"--selector=app.kubernetes.io/name={DAEMON}"
API_PORT = "6443"
FIRST = ("Namespace", "CustomResourceDefinition")
"""What all else needs."""


class Daemon:
    """Its two replicas in one namespace."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._api, self.namespace = connection, namespace

    # -- deploying ----------------------------------------------------------------------------------------------------

    @classmethod
    def for_all(cls, connection: Connection, settings: Iterable[Setting], prometheus: str, notify: str) -> Self:
        """deploy/ as it is: a namespace of its own, and rights in every namespace."""
        objects = _rendered("deploy")
        _configure(objects, settings, prometheus, notify)
        apply(*(body for body in objects if body["kind"] in FIRST))
        kubectl("wait", "--for=condition=Established", "crd/releases.watcher.bluegreen.dev", "--timeout=30s")
        apply(*(body for body in objects if body["kind"] not in FIRST))
        return cls(connection, DAEMON)

    @classmethod
    def for_one(cls, connection: Connection, setting: Setting, prometheus: str, notify: str) -> Self:
        """deploy/overlays/one-namespace, in the namespace of its application: rights in that one only."""
        objects = _rendered("deploy/overlays/one-namespace")
        _configure(objects, [setting], prometheus, notify)
        for body in objects:
            body["metadata"]["namespace"] = setting.namespace
            for subject in body.get("subjects", ()):
                subject["namespace"] = setting.namespace
        apply(*objects)
        return cls(connection, setting.namespace)

    def wait(self) -> None:
        """Until both replicas are ready."""
        try:
            kubectl("rollout", "status", f"deployment/{DAEMON}", "-n", self.namespace, "--timeout=180s", seconds=190)
        except AssertionError as error:
            described = kubectl("describe", "pods", "-n", self.namespace)
            raise AssertionError(f"{error}\n{described}\n{self.log(20)}") from None

    def configure(self, files: Mapping[str, str]) -> None:
        """Change files of its ConfigMap, and have the kubelet renew the mounted ones now, not within a minute."""
        patch = json.dumps({"data": dict(files)})
        kubectl("patch", "configmap", "watcher-config", "-n", self.namespace, "--patch", patch)
        stamp = f"renewed-at={time.monotonic()}"
        kubectl("annotate", "pods", "--overwrite", "-n", self.namespace, LABEL, stamp)

    # -- looking ------------------------------------------------------------------------------------------------------

    def pods(self) -> dict[str, dict[str, Any]]:
        """Its pods, by name."""
        found = self._api.get(paths.pods(self.namespace), labelSelector=f"app.kubernetes.io/name={DAEMON}")
        return {pod["metadata"]["name"]: pod for pod in found["items"]}

    def leader(self) -> str:
        """The pod that holds the Lease."""
        lease = Leases(self._api, self.namespace, DAEMON).read()
        return lease.holder.rpartition("_")[0] if lease else ""

    def log(self, lines: int = -1) -> str:
        """What its pods have logged; no pod's log when it cannot be had."""
        return kubectl("logs", "-n", self.namespace, LABEL, f"--tail={lines}", "--prefix", check=False)

    def metric(self, name: str) -> dict[str, float]:
        """The sum of a metric over its series, by pod; of those that answer."""
        found = {}
        for pod, body in self.pods().items():
            text = fetch(f"http://{body['status'].get('podIP')}:8080/metrics")
            if text is not None:
                rows = [row for row in text.splitlines() if row.startswith((f"{name} ", f"{name}{{"))]
                found[pod] = sum(float(row.rpartition(" ")[2]) for row in rows)
        return found

    def refusals(self, namespace: str) -> list[str]:
        """What the API server did not let it do there."""
        lines = self.log().splitlines()
        said = ("forbidden", "cannot", f"serviceaccount:{self.namespace}:{DAEMON}", namespace)
        return [line for line in lines if all(word in line for word in said)]

    def start_times(self) -> list[tuple[str, float]]:
        """Each pod, and the seconds from its container's start to its readiness, as the cluster saw it."""
        found = []
        for name, pod in self.pods().items():
            (container,) = pod["status"]["containerStatuses"]
            (ready,) = (one for one in pod["status"]["conditions"] if one["type"] == "Ready")
            began = datetime.fromisoformat(container["state"]["running"]["startedAt"])
            found.append((name, (datetime.fromisoformat(ready["lastTransitionTime"]) - began).total_seconds()))
        return found

    # -- hurting ------------------------------------------------------------------------------------------------------

    def scale(self, replicas: int) -> None:
        kubectl("scale", "deployment", DAEMON, "-n", self.namespace, f"--replicas={replicas}")

    def delete_pod(self, pod: str) -> None:
        """The API server forgets the pod at once, whatever becomes of its process."""
        kubectl("delete", "pod", pod, "-n", self.namespace, "--grace-period=0", "--force", "--wait=false")

    def process(self, pod: str) -> int:
        """The pod's process, as this machine, which is its node, numbers it."""
        (status,) = self.pods()[pod]["status"]["containerStatuses"]
        container = status["containerID"].rpartition("/")[2]
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and container in (entry / "cgroup").read_text("utf-8"):
                    found.append(int(entry.name))
        assert found, f"no process of container {container} runs on this machine"
        return min(found)


def network(change: str, address: str, *, answers: bool = False) -> None:
    """Insert or delete the rule of the node that drops what an address sends to the API server, or what it answers."""
    rule = ["INPUT", "--source", address, "--protocol", "tcp", "--dport", API_PORT, "--jump", "DROP"]
    if answers:
        rule = ["OUTPUT", "--destination", address, "--protocol", "tcp", "--sport", API_PORT, "--jump", "DROP"]
    run("iptables", "--wait", "10", change, *rule)


def send(number: signal.Signals, *processes: int) -> None:
    """Send a signal to processes. One that has ended gets none."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def wait_for_leader(daemon: Daemon) -> str:
    """The pod that leads, as soon as one does."""
    until(lambda: list(daemon.metric("watcher_leads").values()).count(1.0) == 1, "one replica to lead", 60)
    return daemon.leader()


def _rendered(folder: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe", pure=True).load_all(kubectl("kustomize", str(ROOT / folder))))


def _configure(objects: list[dict[str, Any]], settings: Iterable[Setting], prometheus: str, notify: str) -> None:
    yaml = YAML(typ="safe", pure=True)
    for body in objects:
        if body["kind"] == "ConfigMap" and body["metadata"]["name"] == "watcher-config":
            data = body["data"]
            del data["chatbot-platform.yaml"]
            told = yaml.load(data["watcher.yaml"]) | {"notifications": [{"name": "team-chat", "url": notify}]}
            data["watcher.yaml"] = json.dumps(told)
            for setting in settings:
                data |= {f"{setting.name}.yaml": json.dumps(setting.application()), **setting.files}
        if body["kind"] == "Deployment":
            (container,) = body["spec"]["template"]["spec"]["containers"]
            (url,) = (row for row in container["env"] if row["name"] == "WATCHER_PROMETHEUS_URL")
            url["value"] = prometheus
