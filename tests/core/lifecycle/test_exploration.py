"""The lifecycle from every state that it can be interrupted in (S1, S3, S4, S5, S8)."""

from __future__ import annotations

import pytest

from tests.core.lifecycle.explore import (
    Broken,
    Node,
    at_the_switch,
    autoscaled,
    beginning,
    check_decision,
    check_truth,
    explore,
)
from tests.core.lifecycle.world import START, World, application, release
from watcher.core.effects import SwapSelector
from watcher.core.release import Flip, Phase

GREEN, BACK = ("green",), ("green", "blue")


def test_without_trouble_a_release_completes_or_fails_before_any_traffic_moves() -> None:
    found = explore(beginning(0))
    assert found.endings == {(Phase.COMPLETED, GREEN), (Phase.FAILED, ())}


@pytest.mark.exhaustive
def test_one_trouble_anywhere_and_every_release_still_ends_right() -> None:
    found = explore(beginning(1))
    assert found.nodes > 5000
    assert found.endings == {
        (Phase.COMPLETED, GREEN),
        (Phase.COMPLETED, ("blue",)),  # a person moved the selector to green before the Release began
        (Phase.ROLLED_BACK, BACK),
        (Phase.FAILED, ()),
        (Phase.ABORTED, ()),
        (Phase.SUPERSEDED, ()),
        (Phase.SUPERSEDED, GREEN),
    }


@pytest.mark.exhaustive
def test_two_troubles_from_the_switch_on_and_every_release_still_ends_right() -> None:
    found = explore(at_the_switch(2))
    assert found.nodes > 10_000
    assert found.endings >= {
        (Phase.COMPLETED, GREEN),
        (Phase.ROLLED_BACK, BACK),
        (Phase.FAILED, ()),
        (Phase.ABORTED, ()),
        (Phase.SUPERSEDED, ()),
        (Phase.SUPERSEDED, GREEN),
        (Phase.SUPERSEDED, BACK),
    }
    assert {flips for _, flips in found.endings} == {(), GREEN, BACK}


@pytest.mark.exhaustive
def test_two_troubles_around_a_rollback_by_hand_and_it_still_ends_right() -> None:
    found = explore(beginning(2, by_hand=True))
    assert found.nodes > 1000
    phases = {phase for phase, _ in found.endings}
    assert phases == {Phase.ROLLED_BACK, Phase.SUPERSEDED, Phase.ABORTED}


@pytest.mark.exhaustive
def test_one_trouble_anywhere_and_every_autoscaler_gets_back_what_people_gave_it() -> None:
    found = explore(autoscaled(1))
    assert found.nodes > 1000
    assert found.endings >= {(Phase.COMPLETED, GREEN), (Phase.ROLLED_BACK, BACK), (Phase.FAILED, ())}


# -- the net itself catches -------------------------------------------------------------------------------------------


def flip(**changes: object) -> Flip:
    values = {"index": 1, "from_": "blue", "to": "green", "reason": "switch", "at": START}
    values["service"] = "chatbot-platform"
    return Flip.model_validate(values | changes)


def test_a_flip_to_a_dead_colour_would_be_caught() -> None:
    world = World(application()).sick("green")
    asked = release()
    with pytest.raises(AssertionError, match="dead colour"):
        check_decision(asked, asked, (SwapSelector("chatbot-platform", flip()),), world)


def test_a_flip_without_a_written_intent_would_be_caught() -> None:
    asked = release()
    with pytest.raises(AssertionError, match="not written"):
        check_decision(asked, asked, (SwapSelector("chatbot-platform", flip()),), World(application()))


def test_a_lost_flip_would_be_caught() -> None:
    with pytest.raises(AssertionError, match="made"):
        check_truth(Node(release(), World(application(), made=("green",)), 0))


def test_a_step_without_a_wake_would_be_caught() -> None:
    with pytest.raises(AssertionError, match="sleep for ever"):
        check_decision(release(), release(), (), World(application()))


def test_a_broken_invariant_is_told_with_the_way_there() -> None:
    start = beginning(0)
    lost = Node(start.release, World(start.world.app, made=("green",)), 0)
    with pytest.raises(Broken, match="starts"):
        explore(lost)
