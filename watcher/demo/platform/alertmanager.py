"""A real Alertmanager for the demo: it gets what Prometheus fires, and posts to the daemon's webhook.

What always holds: it listens on loopback alone, knows no peers, and ends with whoever started it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from watcher.adapters.children import spawn

COMMAND = "prometheus-alertmanager"
READY_WITHIN = 20.0
STOP_WITHIN = 5.0
_LISTENING = re.compile(r'msg="Listening on" address=\S*:(\d+)')


class AlertmanagerUnavailable(RuntimeError):
    """It is not installed, or did not come up; the message says which, with its last log lines."""


class AlertmanagerServer:
    """One Alertmanager process with one receiver. `address` is where Prometheus finds it once `start` has returned."""

    def __init__(self, hook: Mapping[str, Any], directory: Path) -> None:
        """`hook` is an entry of its `webhook_configs`."""
        found = shutil.which(COMMAND)
        if found is None:
            raise AlertmanagerUnavailable(
                f"there is no `{COMMAND}` command here: install the Debian package `{COMMAND}` "
                f"(apt-get install --no-install-recommends {COMMAND})"
            )
        directory.mkdir(parents=True, exist_ok=True)
        self._binary = found
        self._directory, self._log = directory, directory / "alertmanager.log"
        # Nothing waits for company here: a demo is short.
        route = {"receiver": "watcher", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        config = {"route": route, "receivers": [{"name": "watcher", "webhook_configs": [dict(hook)]}]}
        (directory / "alertmanager.yml").write_text(json.dumps(config, indent=2), "utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def start(self) -> Self:
        """Starts it and waits until it listens. Raises AlertmanagerUnavailable."""
        self._process = spawn(
            [
                self._binary,
                f"--config.file={self._directory / 'alertmanager.yml'}",
                f"--storage.path={self._directory / 'data'}",
                "--web.listen-address=127.0.0.1:0",
                "--cluster.listen-address=",
            ],
            self._log,
        )
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := _LISTENING.search(self._log.read_text(errors="replace")):
                self.address = f"127.0.0.1:{found[1]}"
                return self
            time.sleep(0.05)
        self.stop()
        last = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
        raise AlertmanagerUnavailable(f"{COMMAND} did not come up; its last words:\n{last}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_WITHIN)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
