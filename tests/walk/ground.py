"""What all walks of one process share: the cluster, the clock, and what stands around the daemon."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.clock import HandClock
from tests.walk.outside import Outside
from tests.walk.pretend import Pretend
from tests.walk.scene import Scene
from watcher.demo.cluster.store import Change

LAST_WORDS = 60
"""Lines of the daemon's log that are shown with a broken promise."""
START = 1_790_000_000.0
"""Where the clock begins, in seconds since the epoch."""


class Ground:
    """What all walks of one process share: the cluster, the clock, and what stands around the daemon."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.clock = HandClock(START)
        self.steps = 0
        self.scenes = itertools.count(1)
        self.scene: Scene | None = None
        self.told: list[str] = []
        self.ends: Counter[str] = Counter()
        self.flips = 0
        self.ending: list[threading.Thread] = []
        self.failed: tuple[str, list[str], list[str]] | None = None
        """What was found first, the story that led to it, and what the daemon said last."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="walk-")))
        self.outside = self._stack.enter_context(Outside())
        self.cluster = self._stack.enter_context(Pretend(directory, self.clock, self._note))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for thread in self.ending:
            thread.join(5)
        self._stack.__exit__(kind, error, at)

    def _note(self, change: Change, heard: bool) -> None:
        if self.scene is not None:
            self.scene.journal.note(change, heard)

    def begin(self) -> Scene:
        self.outside.heal()
        self.outside.deliveries.clear()
        self.outside.history.steps.clear()
        self.told = []
        self.log.write_text("", "utf-8")
        self.scene = Scene(next(self.scenes), self.cluster, self.outside, self.clock)
        self.scene.begin()
        return self.scene
