"""What containers printed: the current run's output and the previous one's, each bounded in size."""

from __future__ import annotations

from pathlib import Path
from typing import IO

LIMIT = 2 * 1024 * 1024
"""Bytes above which a log is cut back to its newer half."""


class ContainerLog:
    """The output files of one container. Its processes write to them directly."""

    def __init__(self, directory: Path) -> None:
        self._current = directory / "current.log"
        self._previous = directory / "previous.log"

    def begin(self) -> IO[bytes]:
        """The file for a new run; the last run's becomes the previous one."""
        self._current.parent.mkdir(parents=True, exist_ok=True)
        if self._current.exists():
            self._current.replace(self._previous)
        return self._current.open("ab")

    def read(self, *, previous: bool = False) -> str | None:
        """The text of a run; None when there was no such run."""
        path = self._previous if previous else self._current
        try:
            return path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return None

    def tail(self) -> str:
        """The last lines of the current run, as far as a termination message may hold them (80 lines, 2 KiB)."""
        return "\n".join((self.read() or "").splitlines()[-80:])[-2048:]

    def bound(self) -> None:
        """Cut the current log back when it has grown too long; writers append, so they go on at its new end."""
        try:
            if self._current.stat().st_size <= LIMIT:
                return
        except FileNotFoundError:
            return
        with self._current.open("r+b") as file:
            file.seek(-LIMIT // 2, 2)
            file.readline()
            kept = file.read()
            file.truncate(0)
            with self._current.open("ab") as end:
                end.write(kept)
