"""Stories of an Application with two pairs: a platform and its worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.core.lifecycle.story import Story, given
from tests.core.lifecycle.world import ALSO, BOTH, worker
from watcher.core.release import Command, Phase

FORTH: tuple[str, ...] = ("green", "worker/green")
BACK: tuple[str, ...] = ("worker/blue", "blue")
BY_HAND = {"images": {}, "version": "", "rollback": Command(by="dana")}


def both(spec: dict[str, Any] | None = None, /, asked: dict[str, Any] | None = None, **world: Any) -> Story:
    """Blue serves in both pairs, and a Release of both is asked for."""
    return given({"also": [ALSO], **(spec or {})}, {"images": BOTH, **(asked or {})}, **{"worker": worker(), **world})


def worker_is(story: Story, **changes: Any) -> Story:
    """Something happens to the second pair."""
    assert story.world.worker
    story.world = replace(story.world, worker=replace(story.world.worker, **changes))
    return story


def worker_dies(story: Story, color: str) -> Story:
    assert story.world.worker
    return story.world_is(worker=story.world.worker.sick(color))


def person_moves_worker(story: Story, color: str) -> Story:
    assert story.world.worker
    return story.world_is(worker=story.world.worker.moved(color))


def selectors(story: Story) -> tuple[str, ...]:
    return tuple(pair.selector for pair in story.world.pairs)


def at_the_flip(spec: dict[str, Any] | None = None) -> Story:
    """Nothing is left but to flip."""
    story = both(spec or {})
    while story.release.phase is not Phase.SWITCHING:
        if not story.take_step():
            story.world = story.world.later(1)
    return story


def half_way(spec: dict[str, Any] | None = None) -> Story:
    """The first pair is flipped and noted, and the second is not even intended."""
    story = at_the_flip(spec)
    while not story.status.flips:
        story.take_step()
    assert story.status.intent is None
    return story


def half_intended() -> Story:
    """The first pair is flipped; the flip of the second is intended, and its worker was killed before it."""
    story = half_way()
    story.take_step(carry_out=False)
    assert story.status.intent
    assert story.status.intent.service == "worker"
    return story.killed()
