"""A real Prometheus for the demo and the tests: started, killed and restarted as a process of our own.

It exists so that rules meet the server they will meet in production. What always holds: it listens on loopback only,
on a port that the kernel chose and that stays the same over restarts, keeps its data in one directory, and never
outlives the process that started it.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from watcher.adapters.children import spawn
from watcher.demo.platform.discovery import KubernetesTargets, PodDiscovery

READY_WITHIN = 20.0
STOP_WITHIN = 10.0
_LISTENING = re.compile(r'msg="Listening on" address=\S*:(\d+)')


class PrometheusUnavailable(RuntimeError):
    """Prometheus is not installed, or did not come up; the message says which, with its last log lines."""


@dataclass(frozen=True, slots=True)
class StaticTargets:
    """Addresses (host:port) with the labels that their series get."""

    addresses: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict)


class PrometheusServer:
    """One Prometheus process. `url` is where it answers once `start` has returned.

    `start` waits until it is ready, `stop` ends it in order, `kill` ends it at once; both keep the data, and `start`
    brings it back on the same port. Pods of a Kubernetes cluster are followed from `start` to `stop` (a kill of
    Prometheus does not end that); a new pod is scraped within 5 s, which is Prometheus' own pace. As a context
    manager it starts, stops, and removes a directory it made itself.
    """

    def __init__(
        self,
        targets: KubernetesTargets | Sequence[StaticTargets] = (),
        *,
        directory: Path | None = None,
        scrape_interval: float = 1.0,
        alertmanagers: Sequence[str] = (),
        rule_files: Sequence[Path] = (),
        port: int = 0,
    ) -> None:
        self._binary = find_prometheus()
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="watcher-prometheus-"))
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = self.directory / "prometheus.log"
        self._config = self.directory / "prometheus.yml"
        self._pods = self.directory / "pods.json"
        # JSON is YAML, and needs no library to be written.
        self._targets = targets
        self._discovery: PodDiscovery | None = None
        config = _config(targets, self._pods, scrape_interval, alertmanagers, rule_files)
        self._config.write_text(json.dumps(config, indent=2), encoding="utf-8")

    @property
    def url(self) -> str:
        """Base URL of the HTTP API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def start(self) -> Self:
        """Starts it and waits until it is ready. Raises PrometheusUnavailable."""
        if self.pid is not None:
            return self
        if isinstance(self._targets, KubernetesTargets) and self._discovery is None:
            self._discovery = PodDiscovery(self._targets, self._pods)
            self._discovery.start()
        seen = self._log.stat().st_size if self._log.exists() else 0
        try:
            self._process = spawn(self._command(), self._log)
        except OSError as error:
            raise PrometheusUnavailable(f"cannot start {self._binary}: {error}") from error
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise PrometheusUnavailable(f"prometheus ended at once; its last words:\n{self._tail()}")
            if self._listening(seen) and self._ready():
                return self
            time.sleep(0.05)
        self.kill()
        raise PrometheusUnavailable(f"prometheus was not ready within {READY_WITHIN:.0f} s:\n{self._tail()}")

    def stop(self) -> None:
        """Ends it in order (its data is written out). Does nothing when it does not run."""
        if self._discovery is not None:
            self._discovery.stop()
            self._discovery = None
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, as a lost node would. The data up to the last scrape stays."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except PrometheusUnavailable:
            self._leave()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self.stop()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _command(self) -> list[str]:
        return [
            self._binary,
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            "--storage.tsdb.wal-segment-size=10MB",
            "--scrape.discovery-reload-interval=200ms",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_WITHIN)
        self._process = None

    def _listening(self, after: int) -> bool:
        """Learns from the log which port the kernel gave, so that no port is picked before it is bound."""
        with self._log.open("rb") as log:
            log.seek(after)
            found = _LISTENING.search(log.read().decode(errors="replace"))
        if found:
            self.port = int(found[1])
        return found is not None

    def _ready(self) -> bool:
        try:
            with _direct.open(f"{self.url}/-/ready", timeout=2) as answer:
                return int(answer.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-5:]) if self._log.exists() else ""


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without any proxy that the environment may name: this is loopback."""


def find_prometheus() -> str:
    """Path of the prometheus command. Raises PrometheusUnavailable with the package to install."""
    if found := shutil.which("prometheus"):
        return found
    raise PrometheusUnavailable(
        "there is no `prometheus` command here: install the Debian package `prometheus` "
        "(apt-get install --no-install-recommends prometheus)"
    )


def _config(
    targets: KubernetesTargets | Sequence[StaticTargets],
    pods: Path,
    scrape_interval: float,
    alertmanagers: Sequence[str],
    rule_files: Sequence[Path],
) -> dict[str, Any]:
    every = f"{round(scrape_interval * 1000)}ms"
    if isinstance(targets, KubernetesTargets):
        jobs: list[dict[str, Any]] = [
            {"job_name": "pods", "file_sd_configs": [{"files": [str(pods)], "refresh_interval": "5s"}]}
        ]
    else:
        static = [{"targets": list(group.addresses), "labels": dict(group.labels)} for group in targets]
        jobs = [{"job_name": "static", "static_configs": static}]
    config: dict[str, Any] = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": jobs,
    }
    if rule_files:
        config["rule_files"] = [str(path) for path in rule_files]
    if alertmanagers:
        hosts = [url.partition("://")[2] or url for url in alertmanagers]
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": hosts}]}]}
    return config
