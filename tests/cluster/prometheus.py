"""A real Prometheus on the node, where pods reach it. It scrapes the pods of the example platform, one by one, and the
daemon's if it is told of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.cluster.waiting import fetch, until
from watcher.adapters.children import spawn
from watcher.demo.platform.discovery import KubernetesTargets, PodDiscovery
from watcher.demo.platform.prometheus import find_prometheus


class Prometheus:
    """Follows the pods of these namespaces. `kill` takes it away, `start` brings it back with its data.

    With `alerts`, rules as Prometheus reads them, it tells the Alertmanager at the address `tells`.
    """

    def __init__(
        self,
        directory: Path,
        kubeconfig: Path,
        namespaces: Sequence[str],
        address: str,
        *,
        alerts: Mapping[str, Any] | None = None,
        tells: str = "",
    ) -> None:
        self.url = f"http://{address}"
        self._address, self._directory = address, directory
        self._process: subprocess.Popen[bytes] | None = None
        pods = directory / "pods.json"
        self._daemon = directory / "daemon.json"
        self._daemon.write_text("[]", "utf-8")
        files = {"pods": pods, "bluegreen-watcher": self._daemon}
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {"job_name": name, "file_sd_configs": [{"files": [str(file)]}]} for name, file in files.items()
            ],
        }
        if alerts:
            (directory / "alerts.json").write_text(json.dumps(alerts), "utf-8")
            config["rule_files"] = [str(directory / "alerts.json")]
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [tells]}]}]}
        (directory / "prometheus.yml").write_text(json.dumps(config), "utf-8")
        self._discovery = PodDiscovery(KubernetesTargets.from_kubeconfig(kubeconfig, namespaces), pods)
        self._discovery.start()

    def scrape_daemon(self, pods: Mapping[str, Mapping[str, Any]]) -> None:
        """From now on also these pods, which are the daemon's, with the labels that a ServiceMonitor gives."""
        targets = [
            {
                "targets": [f"{body['status']['podIP']}:8080"],
                "labels": {"namespace": body["metadata"]["namespace"], "pod": name},
            }
            for name, body in pods.items()
        ]
        written = self._daemon.with_suffix(".new")
        written.write_text(json.dumps(targets), "utf-8")
        written.replace(self._daemon)

    def start(self) -> Self:
        command = [
            find_prometheus(),
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            "--scrape.discovery-reload-interval=200ms",
            f"--web.listen-address={self._address}",
        ]
        self._process = spawn(command, self._directory / "prometheus.log")
        until(self.ready, "Prometheus to be ready")
        return self

    def kill(self) -> None:
        """End it at once, as a lost node would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def close(self) -> None:
        self.kill()
        self._discovery.stop()

    def ready(self) -> bool:
        return fetch(f"{self.url}/-/ready") is not None
