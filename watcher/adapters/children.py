"""Child processes that never outlive this one, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None, output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process, in a session of its own, that the kernel kills when this one dies. What it prints goes to `log`,
    or with `output` only its errors do. Raises OSError.

    The kernel watches the *thread* that forked, so a thread that lives as long as the child does the forking; and a
    tiny interpreter sets the death signal and becomes the command, since code run between fork and exec in a process
    with threads may deadlock.
    """
    started: list[subprocess.Popen[bytes] | OSError] = []
    known = threading.Event()
    wrapped = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]

    def keep() -> None:
        try:
            with log.open("ab") as errors:
                process = subprocess.Popen(
                    wrapped,
                    stdin=subprocess.DEVNULL,
                    stdout=output or errors,
                    stderr=errors,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,
                )
        except OSError as error:
            started.append(error)
            known.set()
            return
        started.append(process)
        known.set()
        process.wait()

    threading.Thread(target=keep, name=f"keeps {Path(command[0]).name}", daemon=True).start()
    known.wait()
    (result,) = started
    if isinstance(result, OSError):
        raise result
    return result
