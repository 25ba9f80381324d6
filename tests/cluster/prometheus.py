"""A real Prometheus on the node, where pods reach it. It scrapes the pods of the example platform, one by one."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from tests.cluster.waiting import until
from watcher.demo.children import spawn
from watcher.demo.platform.discovery import KubernetesTargets, PodDiscovery
from watcher.demo.platform.prometheus import find_prometheus

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


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
        return self._get("/-/ready") is not None

    def value(self, query: str) -> float | None:
        """The one number that a query has now; None without any."""
        body = self._get(f"/api/v1/query?{urlencode({'query': query})}")
        rows = json.loads(body)["data"]["result"] if body else ()
        return float(rows[0]["value"][1]) if rows else None

    def _get(self, path: str) -> bytes | None:
        try:
            with _direct.open(self.url + path, timeout=3) as answer:
                found: bytes = answer.read()
                return found
        except OSError:
            return None
