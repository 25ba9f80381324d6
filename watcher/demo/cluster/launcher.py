"""Starts an embedded cluster as a child process, for whoever needs one for a while: the demo and the tests.

What always holds: the cluster ends when the context does, and also when this process dies without leaving it (the
cluster reads from a pipe that closes then).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

STOP = 15.0
"""Seconds for the cluster to end by itself before it is killed."""


class ClusterFailed(Exception):
    """The cluster did not come up; the text has what it printed."""


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A cluster in a process of its own."""

    server: str
    kubeconfig: Path
    token: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it, with all its pods. May be called more than once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@contextlib.contextmanager
def running_cluster(
    images: Path,
    *,
    kubeconfig: Path | None = None,
    port: int = 0,
    state_dir: Path | None = None,
    log_file: Path | None = None,
    namespaces: Sequence[str] = (),
    backoff_scale: float = 0.1,
    node: Mapping[str, str] | None = None,
    deadline: float = 30.0,
) -> Iterator[RunningCluster]:
    """A running cluster. `node` says how much cpu, memory and pods the node takes, where that is to be more than usual.
    Raises ClusterFailed when it is not ready within `deadline` seconds.
    """
    with contextlib.ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        kubeconfig = kubeconfig or own / "kubeconfig"
        log_file = log_file or own / "cluster.log"
        command = [sys.executable, "-m", "watcher.demo.cluster", "--exit-with-stdin"]
        options: dict[str, Any] = {
            "--images": images,
            "--kubeconfig": kubeconfig,
            "--port": port,
            "--state-dir": state_dir or own,
            "--log-file": log_file,
            "--backoff-scale": backoff_scale,
        } | {f"--{name}": amount for name, amount in (node or {}).items()}
        for name, value in options.items():
            command += [name, str(value)]
        for namespace in namespaces:
            command += ["--namespace", namespace]
        errors = stack.enter_context((own / "stderr").open("w+b"))
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        stack.callback(lambda: RunningCluster("", own, "", process).stop())
        line = _first_line(process, deadline)
        if line is None:
            process.kill()
            process.wait()
            said = (own / "stderr").read_text() + (log_file.read_text() if log_file.exists() else "")
            raise ClusterFailed(f"the embedded cluster was not ready within {deadline:g} s: {said[-4000:]}")
        ready = json.loads(line)
        token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
        yield RunningCluster(ready["server"], kubeconfig, token, process)


def _first_line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """The line that says the cluster is ready; None when it ended or the time was up before."""
    output: IO[bytes] | None = process.stdout
    if output is None:
        return None
    until = time.monotonic() + deadline
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while not text.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            chunk = os.read(output.fileno(), 4096)
            if not chunk:
                return None
            text += chunk
    return text
