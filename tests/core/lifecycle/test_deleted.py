"""A Release that is deleted before its end leaves traffic where it is, and that is told."""

from __future__ import annotations

import pytest

from tests.core.lifecycle.pairs import half_way
from tests.core.lifecycle.stages import AFTER, after_the_flip, before_the_flip, going_back
from tests.core.lifecycle.story import given
from watcher.core.lifecycle.telling import deleted
from watcher.core.release import Phase


def test_before_it_began_nothing_was_done() -> None:
    tell = deleted(given().release)
    assert tell.severity == "warning"
    assert "2.4.1 is not released" in tell.message


def test_before_the_flip_the_idle_colour_stays_as_it_is() -> None:
    tell = deleted(before_the_flip(Phase.TESTING).release)
    assert tell.severity == "warning"
    assert "while it was Testing: 2.4.1 stays on green" in tell.message


@pytest.mark.parametrize("phase", AFTER)
def test_after_the_flip_nobody_watches_and_the_way_back_is_named(phase: Phase) -> None:
    tell = deleted(after_the_flip(phase).release)
    assert tell.severity == "critical"
    assert "nobody watches 2.4.1" in tell.message
    assert "watcher rollback chatbot-platform -n prod" in tell.message


def test_a_rollback_that_is_deleted_is_not_finished() -> None:
    assert "the rollback is not finished" in deleted(going_back().release).message


def test_a_switch_that_is_deleted_half_way_leaves_different_colours_and_says_so() -> None:
    tell = deleted(half_way().release)
    assert tell.severity == "critical"
    assert "some of its Services select green and some blue" in tell.message
    patch = '{"spec":{"selector":{"color":"COLOR"}}}'
    assert f"kubectl patch service NAME -n prod -p '{patch}'" in tell.message
