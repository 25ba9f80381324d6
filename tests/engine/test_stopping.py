"""SIGTERM to `watcher run`, also while it has hardly begun: it is no crash."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.acting import API, application, write
from tests.support.api import kubeconfig

PATIENCE = 60


def test_a_daemon_that_is_stopped_while_it_loads_its_libraries_ends_well(tmp_path: Path) -> None:
    settings = {"apiVersion": API, "kind": "Settings", "http": {"port": 0}}
    (files,) = write(tmp_path / "config", application(), settings)
    credentials = kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    command = [sys.executable, "-X", "importtime", "-m", "watcher", "run", "--config", str(files)]
    process = subprocess.Popen([*command, "--kubeconfig", str(credentials)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        # Python names each module once it is imported: this one comes before all that the daemon is made of.
        assert any("watcher.adapters.errors" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, rest[-2000:]
    finally:
        process.kill()
        process.wait()
