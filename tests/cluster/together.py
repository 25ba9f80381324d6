"""What several processes of the tests use together: the first begins it, and ends it when the others have gone.

What always holds: nobody uses it before it has begun or after it has ended. Whoever comes after its end begins anew.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

LOOK_AGAIN = 0.2


@contextmanager
def together(directory: Path, name: str, begin: Callable[[ExitStack], dict[str, str]]) -> Iterator[dict[str, str]]:
    """Yields what `begin` returned in the process that came first. What it puts on the stack is undone there."""
    state = directory / f"{name}.json"
    with (
        (directory / f"{name}.door").open("w") as door,
        (directory / f"{name}.users").open("w") as users,
        ExitStack() as stack,
    ):
        with _locked(door):
            mine = not state.exists()
            if mine:
                state.write_text(json.dumps(begin(stack)), "utf-8")
            else:
                fcntl.flock(users, fcntl.LOCK_SH)
            found: dict[str, str] = json.loads(state.read_text("utf-8"))
        try:
            yield found
        finally:
            if mine:
                _end_when_alone(door, users, state, stack)
            else:
                fcntl.flock(users, fcntl.LOCK_UN)


def _end_when_alone(door: IO[str], users: IO[str], state: Path, stack: ExitStack) -> None:
    while True:
        with _locked(door):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                # Behind the door: whoever comes now begins when all of it has ended.
                state.unlink()
                stack.close()
                return
        time.sleep(LOOK_AGAIN)


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
