"""Daemons as processes of their own, forked from one that has imported everything: a start takes hundredths of a second
where a new interpreter takes one. `python -m tests.faults.daemons` is that one.

What always holds: what is forked runs the very command (`watcher run`), with an environment, a log and a process group
of its own, and can be killed like any other; none outlives whoever asked for it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from watcher.cli.run import run

BEFORE = (
    "watcher.adapters.errors",
    "watcher.api.app",
    "watcher.engine.daemon",
    "watcher.engine.logging",
    # What a daemon would import once it runs.
    "apscheduler.executors.pool",
    "apscheduler.triggers.interval",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)


class DaemonProcess:
    """One running daemon. A descriptor stands for it, so that its number may be given away without harm."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self.log = pid, log
        self._descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        """SIGKILL, from whatever thread and as often as wanted: what a lost node looks like."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        os.close(self._descriptor)


class Nursery:
    """Starts daemons."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.faults.daemons"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._asking = threading.Lock()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(20)

    def start(self, config: Path, kubeconfig: Path, log: Path, settings: Mapping[str, str]) -> DaemonProcess:
        """A daemon with files, credentials and settings (`WATCHER_...`); it logs to the end of `log`."""
        order = {"config": str(config), "kubeconfig": str(kubeconfig), "log": str(log), "settings": dict(settings)}
        with self._asking:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that starts daemons has ended")
        return DaemonProcess(int(answer), log)


def _become(order: Mapping[str, Any], parent: int) -> NoReturn:
    """Be the daemon that was asked for."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for descriptor, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(source, descriptor)
        for name in [name for name in os.environ if name.startswith("WATCHER_")]:
            del os.environ[name]
        os.environ.update(order["settings"])
        run([Path(order["config"])], Path(order["kubeconfig"]))
        code = 0
    except BaseException as error:  # noqa: BLE001 - nothing may run on as if it were the parent
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Fork a daemon for each line of standard input, and answer with its number."""
    for name in BEFORE:
        importlib.import_module(name)
    gc.freeze()
    parent = os.getpid()
    with os.fdopen(0, "rb", 0, closefd=False) as orders:
        while line := orders.readline():
            assert threading.active_count() == 1, "a fork beside other threads may deadlock"
            child = os.fork()
            if child == 0:
                _become(json.loads(line), parent)
            os.write(1, b"%d\n" % child)
            _bury(os.WNOHANG)
    signal.alarm(15)  # whoever asked has killed them, or is gone, and the kernel does
    _bury(0)


def _bury(options: int) -> None:
    """Take note of those that have ended; what they used up then counts as ours."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, options) != (0, 0):
            pass


if __name__ == "__main__":
    main()
