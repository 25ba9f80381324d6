"""A real Prometheus on the node, where pods reach it. It scrapes the pods of the example platform, one by one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.cluster.waiting import fetch, until
from watcher.adapters.children import spawn
from watcher.demo.platform.discovery import KubernetesTargets, PodDiscovery
from watcher.demo.platform.prometheus import find_prometheus


class Prometheus:
    """Follows the pods of these namespaces. `kill` takes it away, `start` brings it back with its data."""

    def __init__(self, directory: Path, kubeconfig: Path, namespaces: Sequence[str], address: str) -> None:
        self.url = f"http://{address}"
        self._address, self._directory = address, directory
        self._process: subprocess.Popen[bytes] | None = None
        pods = directory / "pods.json"
        scrape: dict[str, Any] = {"job_name": "pods", "file_sd_configs": [{"files": [str(pods)]}]}
        every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        (directory / "prometheus.yml").write_text(json.dumps({"global": every, "scrape_configs": [scrape]}), "utf-8")
        self._discovery = PodDiscovery(KubernetesTargets.from_kubeconfig(kubeconfig, namespaces), pods)
        self._discovery.start()

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
