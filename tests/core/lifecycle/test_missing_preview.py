"""A preview Service that is not there: said at once, not after the deadline of a quarter of an hour."""

from __future__ import annotations

from tests.core.lifecycle.story import given
from watcher.core.release import Phase


def test_a_missing_preview_is_said_while_it_is_waited_for() -> None:
    story = given().until(Phase.TESTING).world_is(preview=None)
    story.take_step()
    story.phase_is(Phase.TESTING).says("Waits: preview Service chatbot-preview does not exist.")
