"""The kill matrix: at each request that the daemon makes in a scenario, something goes wrong, and the end is the same.

What always holds: a cell's fault strikes the request that the cell names, or the cell has failed; and the end that all
cells of a story are compared with is that of the story when nothing goes wrong.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.faults.cells import Say, Scene, Wrong, foreseen, outline, play_all, slowest
from tests.faults.ground import Ground
from tests.faults.places import Place, Strike, late, places
from tests.faults.receiver import receiver
from tests.faults.stories import APPLICATION, OTHER, PREVIEW, SIZE, STORIES, Story, begin, files, release_of
from tests.support.proxy import Fault, Proxy, after, before, drop_answer, refuse
from watcher.core.release import Phase

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

OF_SLOWNESS = frozenset({"AutoscalerNotHeld"})
"""What is also told when a busy machine takes its time. That an autoscaler was held is seen by its minimums."""

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
    calls: Counter[str] = field(default_factory=Counter)
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
        begin(scene, story)
        url, self.calls = receiver(scene.stack)
        scene.write(*files(scene.namespace, story, url))
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
        ground.hands.create_release(scene.namespace, release_of(scene.namespace, story.image))
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
        if release.phase is Phase.TESTING:
            return any(runs for _, runs in scene.space.jobs())
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
            told = (self.story.reason, "Service") in scene.space.told()
            return told and self._called() and _settled(scene, self.story)
        if release.phase is not self.story.phase:
            return True  # there is no way from here to the right end
        return self._called() and not _differences(self.end, end_of(scene))

    def _called(self) -> bool:
        """Whether every hook was."""
        return self.calls.keys() >= set(self.story.called)

    def _judge(self, scene: Scene) -> None:
        found = end_of(scene)
        if self.place is None:
            self.end = found
        complaints = [
            *_against_story(self.story, found),
            *_differences(self.end or found, found),
            *self._against_calls(scene.terms()),
        ]
        if complaints:
            raise Wrong("; ".join(complaints) + f"; it is {outline(scene.release())}")
        foreseen(scene.log)

    def _against_calls(self, terms: int) -> Iterator[str]:
        """Who comes to lead may call again what was called and not noted; nothing else is a reason to."""
        if sorted(self.calls) != sorted(self.story.called):
            yield f"the hooks {sorted(self.calls)} were called, not {sorted(self.story.called)}"
        yield from (f"hook {id_} was called {count} times" for id_, count in self.calls.items() if count > terms)


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
        "phases, one after the other": space.phases(),
        "autoscalers": space.autoscalers(),
        "jobs ever made": space.jobs_made(),
        "jobs": [name for name, _ in space.jobs()],
        "deployments": list(space.deployments()),
        "ready pods": (space.ready("blue"), space.ready("green")),
        "told": [(reason, kind) for reason, kind in space.told() if reason not in OF_SLOWNESS],
    }


def _against_story(story: Story, found: End) -> Iterator[str]:
    expected: End = {
        "phase": story.phase.value,
        "reason": story.reason,
        "live selector, one after the other": story.been,
        "that of the other Service": story.been if OTHER in story.services else (),
        "ready pods": (0, story.ready) if story.idle == "blue" else (story.ready, 0),
        # Held at the size of the live colour, and given back.
        "autoscalers": [(story.scaled, (1, SIZE, 1), {})] if story.scaled else [],
        "jobs ever made": list(story.made),
        "jobs": list(story.left),
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
    jobs = tuple(name for name, _ in space.jobs())
    serves = space.ready(story.been[-1]) == story.ready and jobs == story.left
    return serves and not (space.ready(story.idle) or idle or held)


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
