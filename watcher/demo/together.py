"""Plays several scenarios side by side, each on a stage of its own in a process of its own.

What always holds: leaving early, however, ends every stage that has begun.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from watcher.adapters.children import spawn

AT_ONCE = 3
"""Scenarios side by side: mostly they wait, and three of them keep two cores half busy."""

POLL = 0.2
GRACE = 30.0
"""Seconds that a scenario gets to put its stage away."""


def play_together(names: Sequence[str], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The outcome of each scenario, as JSON data, in the order in which they end."""
    waiting = list(names)
    running: dict[str, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory(prefix="watcher-demos-") as directory:
        try:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    name = waiting.pop(0)
                    say(f"plays {name}")
                    running[name] = _start(name, Path(directory))
                for name in [name for name, process in running.items() if process.poll() is not None]:
                    del running[name]
                    yield _outcome(name, Path(directory))
                time.sleep(POLL)
        finally:
            _end(running.values())


def _start(name: str, directory: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "watcher", "demo", "--scenario", name, "--json"]
    with (directory / f"{name}.json").open("wb") as output:
        return spawn(command, directory / f"{name}.log", output=output)


def _outcome(name: str, directory: Path) -> dict[str, Any]:
    text = (directory / f"{name}.json").read_text("utf-8")
    with suppress(ValueError):
        found: dict[str, Any] = json.loads(text)
        return found
    errors = (directory / f"{name}.log").read_text("utf-8").strip() or "it said nothing"
    return {"scenario": name, "asExpected": False, "complaints": [f"it could not be played: {errors}"]}


def _end(processes: Collection[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
