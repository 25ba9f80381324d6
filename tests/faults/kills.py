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

APPLICATION, OTHER = "shop", "queue"
PREVIEW = f"{APPLICATION}-preview"
GOOD, OLD, CRASHING, JOB = "shop:2", "shop:1", "shop:crash", "shop:job"
IMAGES = {
    JOB: {"command": ["true"]},
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

SIZE = 2
"""Pods of a pair."""

PLAIN = 3
"""How often a story is played without a fault. What is asked in each of these runs is asked whenever it is played."""
TRIES = 5
"""How often a cell is played whose request was not made: a request may depend on what comes first of two things."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is released, what a person does in which phase, one after the other, and how it ends. With `more` there are
    two pairs that move together, an autoscaler of the idle colour, Jobs that test and hook, and an approval.
    """

    name: str
    image: str
    phase: Phase
    reason: str
    been: tuple[str, ...]
    acts: tuple[tuple[Phase, str], ...] = ()
    watch: str = "1s"
    more: bool = False

    @property
    def services(self) -> tuple[str, ...]:
        """The live Services, in the order in which they are flipped."""
        return (APPLICATION, OTHER) if self.more else (APPLICATION,)

    @property
    def ready(self) -> int:
        """How many pods serve."""
        return SIZE * len(self.services)

    @property
    def idle(self) -> str:
        """The colour that has made room in the end."""
        return "blue" if self.been[-1] == "green" else "green"


BACK = (Phase.WATCHING, "rollback")
APPROVED = (Phase.AWAITING_APPROVAL, "approve")
STORIES = (
    # The longest comes first: in its long watch everything is asked that a watch asks, also on a busy machine.
    Story("goes back", GOOD, Phase.ROLLED_BACK, "manual", ("blue", "green", "blue"), (BACK,), "10m"),
    Story("completes", GOOD, Phase.COMPLETED, "Completed", ("blue", "green")),
    Story("fails", CRASHING, Phase.FAILED, "CrashLoop", ("blue",)),
    Story(
        "moves two", GOOD, Phase.ROLLED_BACK, "manual", ("blue", "green", "blue"), (APPROVED, BACK), "10m", more=True
    ),
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
    _acted: int = 0

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
        _begin(scene, story)
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
        self._acted = 0
        while not self._over(scene):
            scene.wait(lambda: killed.is_set() or self._over(scene) or self._at(scene), "its end")
            if killed.is_set():
                killed.clear()
                running.append(scene.daemon(proxy))
            elif self._at(scene):
                ground.hands.command(scene.namespace, "it", story.acts[self._acted][1], {"by": "a test"})
                self._acted += 1
        self.struck = strike is not None and strike.struck.is_set()
        self._judge(scene)
        if self.place is None:
            self.asked = places(list(proxy.asked), scene.namespace, 2)

    def _at(self, scene: Scene) -> bool:
        """Whether it is time for what a person does."""
        release = scene.space.release()
        acts = self.story.acts[self._acted :]
        if not acts or release is None or release.phase is not acts[0][0]:
            return False
        if release.phase is not Phase.WATCHING:
            return True
        # Not before what the phase asks first has been asked: its message, and where the preview points to.
        previews = {scene.space.selected(f"{service}-preview") for service in self.story.services}
        return release.status.message.startswith("Watches") and previews == {"blue"}

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
        "flips": [(flip.index, flip.service, flip.from_, flip.to, flip.reason) for flip in status.flips],
        "intent": status.intent,
        "conditions": sorted(c.type for c in status.conditions if c.status == "True"),
        "live selector, one after the other": space.been(APPLICATION),
        "that of the other Service": space.been(OTHER),
        "previews": (space.selected(PREVIEW), space.selected(f"{OTHER}-preview")),
        "autoscalers": list(space.autoscalers()),
        "jobs": space.jobs(),
        "deployments": list(space.deployments()),
        "ready pods": (space.ready("blue"), space.ready("green")),
        "told": space.told(),
    }


def _against_story(story: Story, found: End) -> Iterator[str]:
    expected: End = {
        "phase": story.phase.value,
        "reason": story.reason,
        "live selector, one after the other": story.been,
        "that of the other Service": story.been if story.more else (),
        "ready pods": (0, story.ready) if story.idle == "blue" else (story.ready, 0),
        "autoscalers": [("queue-green", 1, 5, {})] if story.more else [],
        "jobs": 3 if story.more else 0,
    }
    yield from _differences(expected, {key: found[key] for key in expected})
    moves = [(service, to) for _, service, _, to, _ in found["flips"]]
    # Forward in their order, back in the reverse one.
    there = [(service, story.been[1]) for service in story.services if story.been[1:]]
    back = [(service, story.been[2]) for service in reversed(story.services) if story.been[2:]]
    if moves != there + back:
        yield f"the status has the flips {found['flips']}"


def _differences(expected: End, found: End) -> list[str]:
    return [f"{key} is {found[key]}, not {value}" for key, value in expected.items() if found[key] != value]


def _settled(scene: Scene, story: Story) -> bool:
    space = scene.space
    sizes = {name: replicas for name, _, replicas in space.deployments()}
    idle = sum(sizes[f"{service}-{story.idle}"] for service in story.services)
    held = any(notes for *_, notes in space.autoscalers())
    return space.ready(story.been[-1]) == story.ready and not (space.ready(story.idle) or idle or held)


def _begin(scene: Scene, story: Story) -> None:
    """A live blue, an idle green, and Services for each of them; of each pair."""
    create, namespace = scene.ground.connection.create, scene.namespace
    for service in story.services:
        for color, replicas in (("blue", SIZE), ("green", 0)):
            create(paths.deployments(namespace), _deployment(service, color, replicas))
        for name, color in ((service, "blue"), (f"{service}-preview", "green")):
            selector = {"app": service, "color": color}
            spec = {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}
            create(paths.services(namespace), {"metadata": {"name": name}, "spec": spec})
    if story.more:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{OTHER}-green"}
        body = {
            "metadata": {"name": target["name"]},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5},
        }
        create(paths.autoscalers(namespace), body)
    scene.wait(lambda: scene.space.ready("blue") == story.ready, "blue to be ready")


def _deployment(service: str, color: str, replicas: int) -> dict[str, Any]:
    labels = {"app": service, "color": color}
    container: dict[str, Any] = {"name": "shop", "image": OLD, "ports": [{"containerPort": 8080}]}
    if color == "green":
        # Asked a second after the start: what crashes at once is never ready.
        probe = {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "periodSeconds": 10, "timeoutSeconds": 9}
        container["readinessProbe"] = probe
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "metadata": {"name": f"{service}-{color}"},
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
    pairs: list[dict[str, Any]] = [
        {
            "service": service,
            "colors": {color: {"deployment": f"{service}-{color}"} for color in ("blue", "green")},
            "preview": {"service": f"{service}-preview"},
        }
        for service in story.services
    ]
    spec = pairs[0] | {"watch": {"duration": story.watch, "interval": "1s"}, "previous": {"keep": "1s"}}
    if story.more:
        job = {"job": {"image": JOB}}
        spec |= {
            "also": pairs[1:],
            "approval": "beforeSwitch",
            "tests": {"verification": [{"name": "verify"} | job]},
            "hooks": {"preDeploy": [{"name": "migrate"} | job], "postRollback": [{"name": "undo"} | job]},
        }
    meta = {"name": APPLICATION, "namespace": namespace}
    yield {"apiVersion": API, "kind": "Application", "metadata": meta, "spec": spec}
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
