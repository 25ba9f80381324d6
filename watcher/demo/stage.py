"""A stage: the embedded cluster, the example platform, a real Prometheus, clients, and the daemon, all on loopback.

What always holds: leaving the context ends everything that it started, whatever happened in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ruamel.yaml import YAML

from watcher.adapters.children import spawn
from watcher.adapters.errors import AdapterError, Conflict
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.release import Release
from watcher.demo.cluster.launcher import RunningCluster, running_cluster
from watcher.demo.files import demo_config, shipped
from watcher.demo.platform import manifests
from watcher.demo.platform.alertmanager import AlertmanagerServer
from watcher.demo.platform.discovery import KubernetesTargets
from watcher.demo.platform.load import LoadGenerator
from watcher.demo.platform.prometheus import PrometheusServer

POLL = 0.1
"""Seconds between two looks at something that is waited for."""

_API = {
    "Namespace": "/api/v1/namespaces",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}


class StageFailed(Exception):
    """Something on the stage did not come up in time; the text says what, and what it last said."""


class Stage:
    """Everything that a scenario needs. `say` is told what is being done.

    A test may want less: no daemon yet, no Prometheus (its rules are blind then), no load (`rate` 0). With `alerts`
    there is an Alertmanager besides, which posts to the daemon what Prometheus fires.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda _: None,
        *,
        config: tuple[Path, ...] = (),
        rate: float = 40.0,
        environment: Mapping[str, str] | None = None,
        daemon: bool = True,
        prometheus: bool = True,
        images: Path = manifests.IMAGES,
        alerts: bool = False,
    ) -> None:
        self._say = say
        self._wants = (daemon, prometheus)
        self._images = images
        self._alerts = alerts
        self._config = config or (demo_config(), shipped("rules"))
        self._rate = rate
        self._environment = dict(environment or {})
        self._stack = contextlib.ExitStack()
        self._daemon: subprocess.Popen[bytes] | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def _begin(self) -> None:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="watcher-demo-")))
        self._say("starts an embedded cluster")
        self.kubeconfig = self.directory / "kubeconfig"
        self.cluster: RunningCluster = self._stack.enter_context(
            running_cluster(
                self._images,
                kubeconfig=self.kubeconfig,
                state_dir=self.directory / "cluster",
                log_file=self.directory / "cluster.log",
            )
        )
        self.connection = Connection(self.kubeconfig)
        self._stack.callback(self.connection.close)
        self.hands = Hands(self.connection)
        self.apply(self._crd(), *manifests.objects())
        daemon, prometheus = self._wants
        targets = KubernetesTargets(self.cluster.server, (manifests.NAMESPACE,), self.cluster.token)
        self.http_port = _free_port()
        self.prometheus = PrometheusServer(targets, directory=self.directory / "prometheus", **self._alerting())
        if prometheus:
            self._say("starts Prometheus")
            self._stack.enter_context(self.prometheus)
        self._say("waits for the example platform (blue serves)")
        self.wait_for(lambda: self.ready_pods("blue") == 2, "blue to be ready")
        if self._rate:
            self.load: LoadGenerator = self._stack.enter_context(LoadGenerator(self.service_url(), rate=self._rate))
        self._stack.callback(self.stop_daemon)
        if daemon:
            self._say("starts the daemon")
            self.start_daemon()

    def _alerting(self) -> dict[str, Any]:
        """Starts an Alertmanager that posts to the daemon, if one is wanted; and what Prometheus has to know of it."""
        if not self._alerts:
            return {}
        self._say("starts Alertmanager")
        config, token = self.directory / "alerting", self.directory / "alertmanager.token"
        token.write_text(secrets.token_urlsafe(32), "utf-8")
        config.mkdir()
        entry = {"name": "alertmanager", "file": str(token), "roles": ["receiver"], "applications": ["*/*"]}
        settings = {"apiVersion": "watcher.bluegreen.dev/v1alpha1", "kind": "Settings", "api": {"tokens": [entry]}}
        (config / "watcher.yaml").write_text(json.dumps(settings), "utf-8")
        self._config = (*self._config, config)
        hook = {
            "url": f"{self.page}webhooks/alertmanager",
            "http_config": {"authorization": {"credentials_file": str(token)}},
        }
        manager = self._stack.enter_context(AlertmanagerServer(hook, self.directory / "alertmanager"))
        return {"alertmanagers": [manager.address], "rule_files": [manifests.ALERTING]}

    @staticmethod
    def _crd() -> dict[str, Any]:
        found: dict[str, Any] = YAML(typ="safe", pure=True).load(shipped("deploy/crd.yaml").read_text("utf-8"))
        return found

    # -- the daemon ---------------------------------------------------------------------------------------------------

    @property
    def page(self) -> str:
        """The address of the daemon's status page."""
        return f"http://127.0.0.1:{self.http_port}/"

    @property
    def daemon_pid(self) -> int:
        """The daemon's process id, while it runs."""
        if self._daemon is None:
            raise StageFailed("there is no daemon")
        return self._daemon.pid

    @property
    def daemon_log(self) -> Path:
        return self.directory / "daemon.log"

    def start_daemon(self, kubeconfig: Path | None = None) -> int:
        """Start the daemon, as a process of its own; returns its process id."""
        command = [sys.executable, "-m", "watcher", "run", "--kubeconfig", str(kubeconfig or self.kubeconfig)]
        for directory in self._config:
            command += ["--config", str(directory)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHER_")} | {
            "WATCHER_PROMETHEUS_URL": self.prometheus.url if self._wants[1] else "",
            "WATCHER_PROMETHEUS_TIMEOUT": "3s",
            "WATCHER_HTTP_PORT": str(self.http_port),
            "WATCHER_LOG_FORMAT": "json",
            # Short, so that a daemon that is started again after a kill need not be waited for.
            "WATCHER_LEASE_DURATION": "2s",
            **self._environment,
        }
        self._daemon = spawn(command, self.daemon_log, environment)
        return self._daemon.pid

    def kill_daemon(self) -> None:
        """SIGKILL: what a lost node looks like."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def stop_daemon(self) -> int | None:
        """SIGTERM, and its exit status; None when it does not run."""
        if self._daemon is None:
            return None
        self._daemon.send_signal(signal.SIGTERM)
        try:
            code = self._daemon.wait(20)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            code = self._daemon.wait()
        self._daemon = None
        return code

    def wait_daemon(self, seconds: float = 20.0) -> int:
        """Wait until the daemon ends by itself, and return its exit status."""
        if self._daemon is None:
            raise StageFailed("there is no daemon")
        code = self._daemon.wait(seconds)
        self._daemon = None
        return code

    def need_daemon(self) -> None:
        """Raises StageFailed where the daemon has ended by itself."""
        code = self._daemon.poll() if self._daemon is not None else None
        if code is not None:
            raise StageFailed(f"the daemon ended by itself, with status {code}\n{self._last_words()}")

    # -- the cluster --------------------------------------------------------------------------------------------------

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create objects."""
        for body in objects:
            kind, meta = body["kind"], body["metadata"]
            plural = f"{kind.lower()}s"
            group = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
            path = _API.get(kind) or f"{group}/namespaces/{meta['namespace']}/{plural}"
            with contextlib.suppress(Conflict):
                self.connection.create(path, body)

    def service_url(self, name: str = manifests.APPLICATION) -> str:
        """Where clients reach a Service."""
        found: list[str] = []

        def there() -> bool:
            service = self.hands.read_service(manifests.NAMESPACE, name)
            if service and service.cluster_ip and service.ports:
                found.append(f"http://{service.cluster_ip}:{service.ports[0].number}")
            return bool(found)

        self.wait_for(there, f"Service {name} to have an address")
        return found[0]

    def active(self) -> str:
        """The colour that the live Service selects."""
        service = self.hands.read_service(manifests.NAMESPACE, manifests.APPLICATION)
        return service.view.selector.get("color", "") if service else ""

    def select(self, color: str) -> None:
        """Flip the selector by hand, as the guide's kubectl patch does."""
        self.hands.point_preview(manifests.NAMESPACE, manifests.APPLICATION, "color", color)

    def ready_pods(self, color: str) -> int:
        found = self.connection.get(paths.pods(manifests.NAMESPACE), labelSelector=f"color={color}")
        return sum(
            1
            for pod in found["items"]
            for condition in (pod.get("status") or {}).get("conditions") or ()
            if condition["type"] == "Ready" and condition["status"] == "True"
        )

    def release(self, version: str, **spec: object) -> Release:
        """Ask for a release of a version of the example platform."""
        images = {manifests.CONTAINER: manifests.image(version)}
        body = {
            "apiVersion": "watcher.bluegreen.dev/v1alpha1",
            "kind": "Release",
            "metadata": {"generateName": f"{manifests.APPLICATION}-", "namespace": manifests.NAMESPACE},
            "spec": {"application": manifests.APPLICATION, "version": version, "images": images} | spec,
        }
        return self.hands.create_release(manifests.NAMESPACE, body)

    def read(self, release: Release) -> Release:
        """The Release as it is now."""
        found = self.hands.read_release(release.namespace, release.name)
        if found is None:
            raise StageFailed(f"Release {release.name} is gone")
        return found

    def follow(self, release: Release, until: Callable[[Release], bool], seconds: float, what: str) -> Release:
        """Wait until the Release is as asked; returns it so."""
        latest = [release]

        def reached() -> bool:
            latest[0] = self.read(release)
            return until(latest[0])

        self.wait_for(reached, what, seconds, lambda: f"{latest[0].phase.value}: {latest[0].status.message}")
        return latest[0]

    def wait_for(
        self, reached: Callable[[], bool], what: str, seconds: float = 30.0, last: Callable[[], str] = lambda: ""
    ) -> None:
        """Look again and again until something is so. Raises StageFailed with what it last was."""
        ends = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AdapterError):
                if reached():
                    return
            if time.monotonic() > ends:
                raise StageFailed(f"waited {seconds:g} s for {what}; {last()}\n{self._last_words()}")
            time.sleep(POLL)

    def _last_words(self) -> str:
        if not self.daemon_log.exists():
            return ""
        return "the daemon's last lines:\n" + "\n".join(self.daemon_log.read_text("utf-8").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
