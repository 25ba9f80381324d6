"""`python -m tests.soak`: many Releases one after another, and what the daemon holds afterwards that it did not before.

Each Release goes all its way, to one of the ends that there are. It ends with `soak: N Releases, ...`.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.clock import HandClock
from tests.walk.ground import START
from tests.walk.journal import Journal
from tests.walk.lives import API
from tests.walk.outside import SECRET, Outside
from tests.walk.pretend import Pretend
from tests.walk.scene import Scene
from watcher.adapters.kubernetes import paths
from watcher.demo.cluster.store import Change

WARM = 20
"""Releases after which everything that is kept for good is there."""
KEPT = 5
"""Releases that are left in the cluster: the history that people keep."""
PATIENCE = 60.0
ENDS = ("Completed", "RolledBack", "Failed", "Aborted", "Completed")
GROWTH = {"kilobytes": 8 * 1024, "objects": 8000, "files": 6, "threads": 2, "pooled": 30, "tasks": 2}
"""What a figure may differ by in the end: for the allocator, and for pools that grow up to their bounds."""


class Soak:
    """A scene without lives of its own: the daemon is a process beside it."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.clock = HandClock(START)
        outside = stack.enter_context(Outside())
        self._journal: Journal | None = None
        cluster = stack.enter_context(Pretend(directory, self.clock, self._note))
        self.scene = Scene(1, cluster, outside, self.clock)
        self._journal = self.scene.journal
        self.scene.furnish()
        self._names: list[str] = []
        settings = {
            "apiVersion": API,
            "kind": "Settings",
            "prometheus": {"url": f"{outside.url}/prometheus"},
            "lease": {"namespace": self.scene.namespace, "duration": "60s"},
            "notifications": [{"name": "team", "url": f"{outside.url}/told/soak/{SECRET}"}],
        }
        (self.scene.files / "watcher.yaml").write_text(json.dumps(settings), "utf-8")
        (directory / "files").symlink_to(self.scene.files)
        command = [sys.executable, "-m", "tests.soak.tenant", str(directory), str(self.clock.seconds)]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self._end)

    def _note(self, change: Change, heard: bool) -> None:
        if self._journal is not None:
            self._journal.note(change, heard)

    def _end(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(30)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def ask(self, words: str) -> Any:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(words + "\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())

    def move(self, seconds: float) -> None:
        self.clock.seconds += seconds
        self.ask(f"move {seconds}")

    def figures(self) -> dict[str, int]:
        """What the daemon holds, after its page and its metrics were looked at too."""
        found: dict[str, int] = self.ask("figures")
        for path in ("", "metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{found['port']}/{path}", timeout=10) as answer:
                answer.read()
        time.sleep(0.5)  # what ends by itself does so within moments
        found = self.ask("figures")
        return {name: value for name, value in found.items() if name != "port"}

    def release(self, number: int) -> None:
        """One Release to its end, and then the rest of its keep-time."""
        wanted = ENDS[number % len(ENDS)]
        image = "shop:crashing" if wanted == "Failed" else f"shop:{number}"
        name = self.scene.release(image, force=False)
        self._names.append(name)
        done = False

        def phase() -> str:
            return next((s.last.phase.value for s in self.scene.journal.stories.values() if s.last.name == name), "")

        ends = time.monotonic() + PATIENCE
        while phase() not in ENDS:
            if time.monotonic() > ends:
                raise TimeoutError(f"Release {name} should be {wanted}, and is still {phase()}")
            if not done and wanted == "Aborted":
                self.scene.command(name, "abort")
                done = True
            if not done and wanted == "RolledBack" and phase() == "Watching":
                self.scene.measure("errors", 50.0)
                done = True
            time.sleep(0.01)
            self.move(0.5)
        if phase() != wanted:
            raise AssertionError(f"Release {name} should be {wanted}, and is {phase()}")
        if done:
            self.scene.measure("errors", 1.0)
        for _ in range(4):
            self.move(10.0)
            time.sleep(0.01)
        for old in self._names[:-KEPT]:
            self.scene.delete(paths.releases(self.scene.namespace, old))
        del self._names[:-KEPT]


def main() -> int:
    """Soak; the exit status is 1 when a figure did not return."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--releases", type=int, default=200)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    first: dict[str, int] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        soak = Soak(stack, directory)
        for number in range(options.releases + WARM):
            if number in (WARM, WARM + options.releases // 2):
                found = soak.figures()
                first = first or found
                sys.stdout.write(f"{time.monotonic() - began:6.0f} s  after {number} Releases: {_told(found)}\n")
                sys.stdout.flush()
            soak.release(number)
        last = soak.figures()
        sys.stdout.write(f"{time.monotonic() - began:6.0f} s  after {number + 1} Releases: {_told(last)}\n")
    grown = {name: last[name] - first[name] for name in first}
    wrong = [name for name, most in GROWTH.items() if grown[name] > most]
    said = ", ".join(f"{name} {grown[name]:+d}" for name in grown)
    sys.stdout.write(f"soak: {options.releases} Releases, {said}{'; too much: ' + ', '.join(wrong) if wrong else ''}\n")
    return 1 if wrong else 0


def _told(figures: dict[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in figures.items())


if __name__ == "__main__":
    sys.exit(main())
