"""Cells: runs of a story with something going wrong, many at once; what all matrices of faults share.

What always holds: a cell that cannot be run is a finding like any other; each finding is said at once, with what the
daemon last logged and with the Release.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.faults.daemons import DaemonProcess
from tests.faults.ground import Ground
from tests.faults.view import Space
from tests.support.proxy import Proxy
from watcher.core.release import Release, status_json

Say = Callable[[str], None]

TAIL = 15
"""Lines of a daemon's log that are shown of a cell that went wrong."""

PATIENCE = 300.0
"""Seconds for each thing that a cell waits for: for machines that are busy, as nothing here is a matter of time."""


class Wrong(Exception):
    """Something is not as the cell names it."""


@dataclass
class Scene:
    """Where one cell plays: its namespace, what is seen of it, and its daemons. `stack` ends whatever it began."""

    ground: Ground
    namespace: str
    stack: ExitStack
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.space: Space = self.ground.space(self.namespace)
        self.directory = self.ground.directory / self.namespace
        self.files = self.directory / "files"
        self.files.mkdir(parents=True)
        self.log = self.directory / "daemon.log"

    def write(self, *documents: object) -> None:
        """Write the daemon's files; JSON is YAML."""
        for index, document in enumerate(documents):
            (self.files / f"{index}.yaml").write_text(json.dumps(document), "utf-8")

    def daemon(self, proxy: Proxy) -> DaemonProcess:
        """Start a daemon that reaches the API server through a proxy."""
        kubeconfig = proxy.kubeconfig(self.directory / f"kubeconfig-{proxy.port}")
        settings = {"WATCHER_HTTP_PORT": "0", "WATCHER_LOG_FORMAT": "json"} | self.settings
        daemon = self.ground.nursery.start(self.files, kubeconfig, self.log, settings)
        self.stack.callback(daemon.close)
        return daemon

    def release(self) -> Release:
        found = self.space.release()
        if found is None:
            raise Wrong("there is no Release")
        return found

    def terms(self) -> int:
        """How often a daemon came to lead: once, unless one was killed, or lost its Lease to a busy machine."""
        return self.log.read_text("utf-8").count('"event": "leads: it acts from now on"')

    def wait(self, reached: Callable[[], object], what: str) -> None:
        """Wait for something, however long a busy machine takes; raises TimeoutError."""
        self.space.wait(reached, what, PATIENCE, lambda: outline(self.space.release()))

    def told(self) -> str:
        """What helps to understand it: the Release, and the last lines of the daemons' log."""
        release = self.space.release()
        status = json.dumps(status_json(release.status), indent=1) if release else "no Release"
        lines = self.log.read_text("utf-8").splitlines()[-TAIL:] if self.log.exists() else ["no log"]
        return "\n".join(["  the Release:", status, "  the daemon's last lines:", *lines])


def outline(release: Release | None) -> str:
    """Where a Release stands, in a line."""
    return f"{release.phase.value} ({release.status.reason}): {release.status.message}" if release else "no Release"


class Cell(Protocol):
    """One run. `wrong` is empty when it went as named; `told` is what helps to understand it."""

    wrong: str
    told: str
    seconds: float

    def play(self, ground: Ground, stack: ExitStack) -> None:
        """Play it; raises Wrong, TimeoutError, or whatever else keeps it from its end."""


def play_all(cells: Sequence[Cell], ground: Ground, at_once: int, say: Say) -> None:
    """Play every cell, many at once, and say what went wrong as soon as it is known."""
    with ThreadPoolExecutor(at_once) as pool:
        for count, done in enumerate(as_completed([pool.submit(_play, cell, ground) for cell in cells]), 1):
            cell = done.result()
            if cell.wrong:
                say(f"WRONG {cell}: {cell.wrong}\n{cell.told}")
            if count % max(10, len(cells) // 8) == 0 and count < len(cells):
                say(f"{count} of {len(cells)} cells")


def _play(cell: Cell, ground: Ground) -> Cell:
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            cell.play(ground, stack)
    except (Wrong, TimeoutError) as error:
        cell.wrong = str(error)
    except Exception:  # noqa: BLE001 - a cell that cannot be run is a finding like any other
        cell.wrong = traceback.format_exc()
    cell.seconds = time.monotonic() - began
    return cell


def slowest(cells: Sequence[Cell]) -> str:
    """How long the cells took, in a line."""
    times = sorted((cell.seconds, str(cell)) for cell in cells)
    mean = sum(seconds for seconds, _ in times) / len(times)
    return f"{mean:.1f} s a cell, at most {times[-1][0]:.1f} s ({times[-1][1]})"


def foreseen(log: Path) -> None:
    """Raise Wrong if the daemon logged what no daemon should ever log: an error that nobody foresaw."""
    for line in log.read_text("utf-8").splitlines():
        if "Traceback" in line or '"exception"' in line:
            raise Wrong(f"the daemon logged {line[:2000]}")
