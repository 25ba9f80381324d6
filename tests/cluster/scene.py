"""What a story's words speak of: one platform, its daemon, and all that was seen of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.daemon import Daemon
from tests.cluster.prometheus import Prometheus
from tests.cluster.seen import Seen, Sight
from tests.cluster.stage import Platform, is_live, selected
from watcher.core.release import Release
from watcher.demo.platform.load import LoadGenerator


@dataclass
class Scene:
    """What the words speak of."""

    platform: Platform
    seen: Seen
    daemon: Daemon
    notified: Path
    note: Callable[[str], None]
    """Prints a figure when all tests have ended."""
    prometheus: Prometheus | None = None
    undo: ExitStack = field(default_factory=ExitStack)
    clients: LoadGenerator | None = None
    release: Release | None = None
    cut_off: list[tuple[str, bool]] = field(default_factory=list)
    """The addresses that are cut off, and whether from answers only."""

    @property
    def namespace(self) -> str:
        return self.platform.namespace

    def asked(self) -> Release:
        """The Release as it was last seen."""
        assert self.release is not None, "nothing was released yet"
        return self.platform.read(self.release)

    def follow(self, reached: Callable[[Release], bool], what: str, seconds: float) -> Release:
        self.seen.until(lambda: reached(self.asked()), what, seconds, self.told)
        return self.asked()

    def told(self) -> str:
        """What there is, for whoever reads that a test failed."""
        status = self.asked().status
        lines = [f"{status.phase.value}: {status.reason}: {status.message}", self.platform.pods()]
        return "\n".join([*lines, "the daemons' last lines:", self.daemon.log(15)])

    def flips(self) -> list[Sight]:
        """The states in which the live Service was first seen, and then with another colour each time."""
        self.seen.catch_up("services")
        found: list[Sight] = []
        for sight in self.seen.all("services"):
            if is_live(sight.object) and not (found and selected(found[-1].object) == selected(sight.object)):
                found.append(sight)
        return found
