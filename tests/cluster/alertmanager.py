"""A real Alertmanager on the node: Prometheus tells it what the shipped alerts find, and it tells the receiver."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

from tests.cluster.daemon import ROOT
from tests.cluster.waiting import fetch, until
from watcher.adapters.children import spawn

SHIPPED = ROOT / "deploy/components/monitoring/prometheus-rule.yaml"


def shipped_alerts() -> dict[str, Any]:
    """The alerts about the watcher itself, as Prometheus reads them."""
    body = YAML(typ="safe", pure=True).load(SHIPPED.read_text("utf-8"))
    return {"groups": body["spec"]["groups"]}


class Alertmanager:
    """Sends on at once whatever it is sent."""

    def __init__(self, directory: Path, address: str, notify: str) -> None:
        self.address = address
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        route = {"receiver": "tests", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        receivers = [{"name": "tests", "webhook_configs": [{"url": notify}]}]
        config = json.dumps({"route": route, "receivers": receivers})
        (directory / "alertmanager.yml").write_text(config, "utf-8")

    def start(self) -> Self:
        found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        assert found, "needs the Debian package prometheus-alertmanager"
        command = [
            found,
            f"--config.file={self._directory / 'alertmanager.yml'}",
            f"--storage.path={self._directory / 'alertmanager'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]
        self._process = spawn(command, self._directory / "alertmanager.log")
        until(lambda: fetch(f"http://{self.address}/-/ready") is not None, "Alertmanager to be ready")
        return self

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
