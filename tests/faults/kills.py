"""The kill matrix: at each request that the daemon makes in a scenario, something goes wrong, and the end is the same.

The daemon runs in this process, behind a proxy of its own. To kill it is to cut that proxy: nothing that it does
reaches the API server from then on, which is all that a cluster sees of a kill. Then another one is started.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.faults.ground import APPLICATION, CRASHING, GOOD, PREVIEW, Ground
from tests.faults.places import Place, Strike, late, places
from tests.support.proxy import Fault, Proxy, after, before, drop_answer, refuse
from watcher.core.release import Phase, Release
from watcher.engine.daemon import Daemon

SECONDS = 90.0
"""How long a cell may take."""

FAULTS: Mapping[str, Callable[[Callable[[], None]], Fault]] = {
    "killed before": before,
    "killed after": after,
    "answer lost": lambda _: drop_answer,
    "409": lambda _: refuse(409, "the object has been modified"),
    "429": lambda _: refuse(429, "too many requests", Retry_After="1"),
    "500": lambda _: refuse(500, "internal error"),
    "time-out": lambda _: late,
}


@dataclass(frozen=True, slots=True)
class Story:
    """What is released, what a person does in which phase, and how it ends."""

    name: str
    image: str
    phase: Phase
    reason: str
    been: tuple[str, ...]
    at: Phase | None = None
    command: str = ""
    watch: str = "1s"

    @property
    def idle(self) -> str:
        """The colour that has made room in the end."""
        return "blue" if self.been[-1] == "green" else "green"


STORIES = (
    Story("completes", GOOD, Phase.COMPLETED, "Completed", ("blue", "green")),
    Story("fails", CRASHING, Phase.FAILED, "CrashLoop", ("blue",)),
    Story("goes back", GOOD, Phase.ROLLED_BACK, "manual", ("blue", "green", "blue"), Phase.WATCHING, "rollback", "10m"),
)


@dataclass
class Cell:
    """One run of a story, with one fault at one place, or with none."""

    story: Story
    namespace: str
    place: Place | None = None
    fault: str = ""
    struck: bool = False
    wrong: str = ""

    def __str__(self) -> str:
        return f"{self.story.name}: {f'{self.fault} at {self.place}' if self.place else 'no fault'}"


class Runner:
    """Runs cells on a ground, several at once."""

    def __init__(self, ground: Ground, at_once: int, most: int) -> None:
        self._ground, self._at_once, self._most = ground, at_once, most
        self._numbers = itertools.count()
        self._stopping: list[threading.Thread] = []

    def matrix(self, say: Callable[[str], None], only: str = "") -> list[Cell]:
        """Every cell, run. Places that an earlier story had already are not struck again."""
        cells: list[Cell] = []
        known: set[Place] = set()
        for story in STORIES:
            plain = self.run(Cell(story, self._namespace()))
            if plain.wrong:
                say(f"WRONG {plain}: {plain.wrong}")
                return [plain]
            new = [place for place in self._places if place not in known]
            known |= set(new)
            cells += [Cell(story, self._namespace(), place, fault) for place in new for fault in FAULTS]
        cells = [cell for cell in cells if only in str(cell)]
        say(f"{len(cells)} cells: {len(known)} requests, {len(FAULTS)} faults")
        with ThreadPoolExecutor(self._at_once) as pool:
            for count, cell in enumerate(pool.map(self.run, cells), 1):
                if cell.wrong:
                    say(f"WRONG {cell}: {cell.wrong}")
                elif count % 50 == 0:
                    say(f"{count} of {len(cells)} cells")
        for thread in self._stopping:
            thread.join(20)
        return cells

    def run(self, cell: Cell) -> Cell:
        """Run one cell; what did not end as it should is in `wrong`."""
        try:
            with ExitStack() as stack:
                self._run(cell, stack)
        except Exception as error:  # noqa: BLE001 - a cell that cannot be run is a finding like any other
            cell.wrong = f"{type(error).__name__}: {error}"
        finally:
            self._ground.remove(cell.namespace)
        return cell

    def _run(self, cell: Cell, stack: ExitStack) -> None:
        ground, story, space = self._ground, cell.story, cell.namespace
        ground.pair(space)
        files = _files(ground.directory / space, story)
        first = stack.enter_context(Proxy(ground.kubeconfig))
        killed = threading.Event()

        def cut() -> None:
            first.cut()
            killed.set()

        strike = Strike(cell.place, space, FAULTS[cell.fault](cut)) if cell.place else None
        if strike:
            first.put(strike)
        daemon = self._start(first, files, stack)
        release = ground.release(space, story.image)
        commanded = not story.command

        def over() -> bool:
            nonlocal daemon, commanded
            if killed.is_set():
                killed.clear()
                daemon = self._start(stack.enter_context(Proxy(ground.kubeconfig)), files, stack)
            found = ground.read(release)
            if not commanded and found.phase is story.at:
                ground.hands.command(space, release.name, story.command, {"by": "a test"})
                commanded = True
            return found.phase.terminal and ground.ready(space, story.idle) == 0

        ground.wait(over, f"the end of {cell}", SECONDS, lambda: _last(ground.read(release)))
        cell.struck = strike is not None and strike.struck.is_set()
        cell.wrong = _wrong(ground, cell, ground.read(release))
        if cell.place is None:
            self._places = places(list(first.asked), space, self._most)

    def _start(self, proxy: Proxy, files: Path, stack: ExitStack) -> Daemon:
        kubeconfig = proxy.kubeconfig(files.parent / f"{files.name}-{proxy.port}.json")
        daemon = Daemon([files], {}, kubeconfig)
        daemon.start()
        stack.callback(self._stop, daemon, proxy)
        return daemon

    def _stop(self, daemon: Daemon, proxy: Proxy) -> None:
        """End it beside everything else: one that was cut off has calls whose deadlines must pass."""
        proxy.cut()
        thread = threading.Thread(target=daemon.stop, daemon=True)
        thread.start()
        self._stopping.append(thread)

    def _namespace(self) -> str:
        return f"cell-{next(self._numbers)}"


def _files(directory: Path, story: Story) -> Path:
    directory.mkdir()
    application = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": APPLICATION, "namespace": directory.name},
        "spec": {
            "service": APPLICATION,
            "colors": {color: {"deployment": f"{APPLICATION}-{color}"} for color in ("blue", "green")},
            "preview": {"service": PREVIEW},
            "watch": {"duration": story.watch, "interval": "1s"},
            "previous": {"keep": "1s"},
        },
    }
    settings = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Settings",
        "lease": {"namespace": directory.name, "duration": "3s"},
    }
    for name, document in (("application", application), ("watcher", settings)):
        (directory / f"{name}.yaml").write_text(json.dumps(document), "utf-8")
    return directory


def _wrong(ground: Ground, cell: Cell, release: Release) -> str:
    """What did not end as the story names it; empty when all did."""
    return "; ".join(_complaints(ground, cell, release))


def _complaints(ground: Ground, cell: Cell, release: Release) -> Iterator[str]:
    story, status = cell.story, release.status
    if release.phase is not story.phase or status.reason != story.reason:
        yield f"it ended {_last(release)}"
    been = ground.been(cell.namespace)
    if been != story.been:
        yield f"the selector was {', '.join(been)}"
    flips = tuple(flip.to for flip in status.flips)
    if flips != story.been[1:]:
        yield f"the status has the flips {flips}"
    if ground.ready(cell.namespace, story.been[-1]) != 2:
        yield f"{story.been[-1]} has not its two pods"


def _last(release: Release) -> str:
    return f"{release.phase.value} ({release.status.reason}): {release.status.message}"
