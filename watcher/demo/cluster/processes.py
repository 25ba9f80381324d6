"""Real processes for containers: each in a session of its own, none outliving the cluster.

What always holds: when a container's main process ends, whatever is left of its group is killed before anybody hears
of the end; and when the cluster itself dies, however it dies, every group dies with it. Two things see to that: the
kernel (PR_SET_PDEATHSIG on each main process) and a reaper process, which holds the list of groups and kills them as
soon as its pipe closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_PAGE = os.sysconf("SC_PAGE_SIZE")

REAPER = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Reaper:
    """The process that outlives the cluster by a moment, to end what it left."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", REAPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def discard(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the reaper, and with it every group that is still on its list."""
        pipe = self._pipe()
        with contextlib.suppress(OSError):
            pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, line: str) -> None:
        # A dead reaper is no reason to stop: the kernel still ends the main processes.
        with contextlib.suppress(OSError):
            pipe = self._pipe()
            pipe.write(line.encode())
            pipe.flush()

    def _pipe(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise RuntimeError("the reaper was started without a pipe")
        return self._process.stdin


class Process:
    """One running main process and its group."""

    def __init__(self, popen: subprocess.Popen[bytes], reaper: Reaper) -> None:
        self._popen = popen
        self._reaper = reaper
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._pidfd = os.pidfd_open(popen.pid)
        loop.add_reader(self._pidfd, self._on_end)

    @classmethod
    def start(
        cls, argv: Sequence[str], env: Mapping[str, str], cwd: Path, output: IO[bytes], reaper: Reaper
    ) -> Process:
        """Start a command; stdout and stderr go to `output`. Raises OSError when it cannot be run."""
        cluster = os.getpid()

        def die_with_cluster() -> None:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != cluster:
                os._exit(1)

        popen = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_cluster,  # noqa: PLW1509 (it makes two system calls, and takes no lock)
        )
        reaper.add(popen.pid)
        return cls(popen, reaper)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return not self._ended.done()

    async def wait(self) -> int:
        """The exit code as a container shows it: 128 + the signal when one ended it."""
        return await asyncio.shield(self._ended)

    async def ended_within(self, seconds: float) -> bool:
        done, _ = await asyncio.wait([self._ended], timeout=max(seconds, 0))
        return bool(done)

    def terminate(self) -> None:
        """SIGTERM to the main process alone, as a container runtime sends it."""
        if self.running:
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def memory(self) -> int:
        """Resident bytes of the main process and its descendants."""
        total = 0
        pids = [self._popen.pid] if self.running else []
        while pids:
            pid = pids.pop()
            # A process may go at any moment while it is being looked at.
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
                pids.extend(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return total

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        # The main process is a zombie still, so its group's number cannot have been given away.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._reaper.discard(self._popen.pid)
        code = self._popen.wait()
        self._ended.set_result(128 - code if code < 0 else code)
