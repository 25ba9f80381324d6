"""The kill matrix: at each request that the daemon makes in a scenario, something goes wrong, and the end is the same.

What always holds: a cell's fault strikes the request that the cell names, or the cell has failed; and the end that all
cells of a story are compared with is that of the story when nothing goes wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.faults.cells import Say, Scene, Wrong, foreseen, outline, play_all, slowest
from tests.faults.ground import Ground
from tests.faults.places import Place, Strike, late, places
from tests.support.acting import API
from tests.support.proxy import Fault, Proxy, after, before, drop_answer, refuse
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase

APPLICATION, PREVIEW = "shop", "shop-preview"
GOOD, OLD, CRASHING = "shop:2", "shop:1", "shop:crash"
IMAGES = {
    "shop:*": {"command": ["sleep", "3600"]},
    CRASHING: {"command": ["sh", "-c", "echo no database; exit 3"]},
}

FAULTS: Mapping[str, Callable[[Callable[[], None]], Fault]] = {
    "killed before": before,
    "killed after": after,
    "answer lost": lambda _: drop_answer,
    "409": lambda _: refuse(409, "the object has been modified"),
    "429": lambda _: refuse(429, "too many requests", Retry_After="1"),
    "500": lambda _: refuse(500, "internal error"),
    "time-out": lambda _: late,
}

PLAIN = 3
"""How often a story is played without a fault. What is asked in each of these runs is asked whenever it is played."""
TRIES = 5
"""How often a cell is played whose request was not made: a request may depend on what comes first of two things."""


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
    # The longest comes first: in its long watch everything is asked that a watch asks, also on a busy machine.
    Story("goes back", GOOD, Phase.ROLLED_BACK, "manual", ("blue", "green", "blue"), Phase.WATCHING, "rollback", "10m"),
    Story("completes", GOOD, Phase.COMPLETED, "Completed", ("blue", "green")),
    Story("fails", CRASHING, Phase.FAILED, "CrashLoop", ("blue",)),
)

End = Mapping[str, Any]
"""All that is left of a story in the cluster, without names and times."""


@dataclass
class KillCell:
    """One run of a story, with one fault at one place, or with none. `end` is what it has to come to; a run without a
    fault says what that is.
    """

    story: Story
    place: Place | None = None
    fault: str = ""
    end: End | None = None
    struck: bool = False
    wrong: str = ""
    told: str = ""
    seconds: float = 0.0
    asked: list[Place] = field(default_factory=list)
    tries: int = TRIES
    _commanded: bool = False

    def __str__(self) -> str:
        return f"{self.story.name}: {f'{self.fault} at {self.place}' if self.place else 'no fault'}"

    def play(self, ground: Ground, stack: ExitStack) -> None:
        for _ in range(self.tries):
            with ExitStack() as inner:
                scene = Scene(ground, ground.namespace(), inner)
                inner.callback(ground.remove, scene.namespace)
                try:
                    self._play(scene)
                except TimeoutError:
                    self.told = scene.told()
                    self._judge(scene)  # it can say what is missing
                    raise
                except Exception:
                    self.told = scene.told()
                    raise
            if self.struck or self.place is None:
                return
        raise Wrong(f"its request was not made in {self.tries} runs")

    def _play(self, scene: Scene) -> None:
        ground, space, story = scene.ground, scene.space, self.story
        _pair(scene)
        scene.write(*_files(scene.namespace, story))
        proxy = scene.stack.enter_context(Proxy(ground.kubeconfig))
        killed = threading.Event()
        running = [scene.daemon(proxy)]

        def kill() -> None:
            running[-1].kill()
            killed.set()
            space.poke()

        strike = Strike(self.place, scene.namespace, FAULTS[self.fault](kill)) if self.place else None
        if strike:
            proxy.put(strike)
        ground.hands.create_release(scene.namespace, _release(scene.namespace, story.image))
        self._commanded = not story.command
        while not self._over(scene):
            scene.wait(lambda: killed.is_set() or self._over(scene) or self._at(scene), "its end")
            if killed.is_set():
                killed.clear()
                running.append(scene.daemon(proxy))
            elif self._at(scene):
                ground.hands.command(scene.namespace, "it", story.command, {"by": "a test"})
                self._commanded = True
        self.struck = strike is not None and strike.struck.is_set()
        self._judge(scene)
        if self.place is None:
            self.asked = places(list(proxy.asked), scene.namespace, 2)

    def _at(self, scene: Scene) -> bool:
        """Whether it is time for what a person does."""
        release = scene.space.release()
        if self._commanded or release is None or release.phase is not self.story.at:
            return False
        # Not before what the phase asks first has been asked: its message, and where the preview points to.
        return release.status.message.startswith("Watches") and scene.space.selected(PREVIEW) == "blue"

    def _over(self, scene: Scene) -> bool:
        """Whether it has come to the end that it is to come to; without one, whether nothing is to be done any more."""
        release = scene.space.release()
        if release is None or not release.phase.terminal:
            return False
        if self.end is None:
            # What is told last is the end, on the Service.
            return (self.story.reason, "Service") in scene.space.told() and _settled(scene, self.story)
        if release.phase is not self.story.phase:
            return True  # there is no way from here to the right end
        return not _differences(self.end, end_of(scene))

    def _judge(self, scene: Scene) -> None:
        found = end_of(scene)
        if self.place is None:
            self.end = found
        complaints = [
            *_against_story(self.story, found),
            *_differences(self.end or found, found),
        ]
        if complaints:
            raise Wrong("; ".join(complaints) + f"; it is {outline(scene.release())}")
        foreseen(scene.log)


def end_of(scene: Scene) -> End:
    """What is left in the cluster."""
    space, status = scene.space, scene.release().status
    return {
        "phase": status.phase.value,
        "reason": status.reason,
        "verdict": status.verdict,
        "flips": [(flip.index, flip.from_, flip.to, flip.reason) for flip in status.flips],
        "intent": status.intent,
        "conditions": sorted(c.type for c in status.conditions if c.status == "True"),
        "live selector, one after the other": space.been(APPLICATION),
        "preview": space.selected(PREVIEW),
        "deployments": list(space.deployments()),
        "ready pods": (space.ready("blue"), space.ready("green")),
        "told": space.told(),
    }


def _against_story(story: Story, found: End) -> Iterator[str]:
    expected = {
        "phase": story.phase.value,
        "reason": story.reason,
        "live selector, one after the other": story.been,
        "ready pods": (0, 2) if story.idle == "blue" else (2, 0),
    }
    yield from _differences(expected, {key: found[key] for key in expected})
    if tuple(to for _, _, to, _ in found["flips"]) != story.been[1:]:
        yield f"the status has the flips {found['flips']}"


def _differences(expected: End, found: End) -> list[str]:
    return [f"{key} is {found[key]}, not {value}" for key, value in expected.items() if found[key] != value]


def _settled(scene: Scene, story: Story) -> bool:
    sizes = {name: replicas for name, _, replicas in scene.space.deployments()}
    return scene.space.ready(story.been[-1]) == 2 and not (
        scene.space.ready(story.idle) or sizes[f"{APPLICATION}-{story.idle}"]
    )


def _pair(scene: Scene) -> None:
    """A live blue, an idle green, and a Service for each."""
    create, namespace = scene.ground.connection.create, scene.namespace
    for color, replicas in (("blue", 2), ("green", 0)):
        create(paths.deployments(namespace), _deployment(color, replicas))
    for name, color in ((APPLICATION, "blue"), (PREVIEW, "green")):
        selector = {"app": APPLICATION, "color": color}
        spec = {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}
        create(paths.services(namespace), {"metadata": {"name": name}, "spec": spec})
    scene.wait(lambda: scene.space.ready("blue") == 2, "blue to be ready")


def _deployment(color: str, replicas: int) -> dict[str, Any]:
    labels = {"app": APPLICATION, "color": color}
    container: dict[str, Any] = {"name": "shop", "image": OLD, "ports": [{"containerPort": 8080}]}
    if color == "green":
        # Asked a second after the start: what crashes at once is never ready.
        probe = {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "periodSeconds": 10, "timeoutSeconds": 9}
        container["readinessProbe"] = probe
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "metadata": {"name": f"{APPLICATION}-{color}"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _release(namespace: str, image: str) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "Release",
        "metadata": {"name": "it", "namespace": namespace},
        "spec": {"application": APPLICATION, "version": image.partition(":")[2], "images": {"shop": image}},
    }


def _files(namespace: str, story: Story) -> Iterator[dict[str, Any]]:
    yield {
        "apiVersion": API,
        "kind": "Application",
        "metadata": {"name": APPLICATION, "namespace": namespace},
        "spec": {
            "service": APPLICATION,
            "colors": {color: {"deployment": f"{APPLICATION}-{color}"} for color in ("blue", "green")},
            "preview": {"service": PREVIEW},
            "watch": {"duration": story.watch, "interval": "1s"},
            "previous": {"keep": "1s"},
        },
    }
    yield {"apiVersion": API, "kind": "Settings", "lease": {"namespace": namespace, "duration": "12s"}}


def kill_matrix(ground: Ground, at_once: int, only: str, say: Say) -> list[KillCell]:
    """Every cell, played. Places that an earlier story has already are not struck again."""
    plain = [KillCell(story) for story in STORIES for _ in range(PLAIN)]
    play_all(plain, ground, at_once, say)
    if any(cell.wrong for cell in plain):
        return plain
    cells: list[KillCell] = []
    known: set[Place] = set()
    chance: set[Place] = set()
    for story in STORIES:
        runs = [cell for cell in plain if cell.story is story]
        always = [place for place in runs[0].asked if all(place in run.asked for run in runs)]
        chance |= {place for run in runs for place in run.asked if place not in always}
        new = [place for place in always if place not in known]
        known |= set(new)
        cells += [KillCell(story, place, fault, runs[0].end) for place in new for fault in FAULTS]
    cells = [cell for cell in cells if only in str(cell)]
    say(f"kill matrix: {len(known)} requests x {len(FAULTS)} faults: {len(cells)} cells")
    if chance - known:
        say("  not struck, as not every run makes them: " + ", ".join(map(str, sorted(chance - known))))
    play_all(cells, ground, at_once, say)
    if cells:
        say(f"kill matrix: {sum(cell.struck for cell in cells)} struck; {slowest(cells)}")
    return cells
