"""Stories that have come some way already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.core.lifecycle.story import Story, given
from tests.core.lifecycle.world import NEW, START
from watcher.core.effects import SwapSelector
from watcher.core.observed import Other
from watcher.core.release import Command, Phase

NIGHT = [{"days": ["mon", "tue"], "from": "22:00", "to": "23:00"}]
"""Windows that are closed at START."""


def other_release(phase: Phase = Phase.COMPLETED, **changes: Any) -> Other:
    """Another Release of the same Application, an hour older."""
    ended = START - timedelta(minutes=30) if phase.terminal else None
    values = {"name": "earlier", "phase": phase, "created_at": START - timedelta(hours=1), "images": {"chat": NEW}}
    return Other(**(values | {"ended_at": ended} | changes))  # type: ignore[arg-type]


BEFORE = [Phase.DEPLOYING, Phase.TESTING, Phase.AWAITING_APPROVAL, Phase.SWITCHING]


def before_the_flip(phase: Phase) -> Story:
    """A Release that has reached a phase and has flipped nothing."""
    spec = {"approval": "beforeSwitch"} if phase is Phase.AWAITING_APPROVAL else {}
    story = given(spec)
    while story.release.phase is not phase:
        if not story.take_step():
            story.world = story.world.later(1)
    return story


def intended(spec: dict[str, Any] | None = None) -> Story:
    """The intent to flip is written, and its worker was killed before it flipped."""
    story = given(spec or {}).until(Phase.TESTING)
    while story.status.intent is None:
        story.take_step(carry_out=story.release.phase is not Phase.SWITCHING)
        story.world = story.world.later(0.1)
    return story.killed()


AFTER = [Phase.VERIFYING, Phase.WATCHING]
SLOW = {"live/0/live": "hang"}


def after_the_flip(phase: Phase, spec: dict[str, Any] | None = None, **world: Any) -> Story:
    """A Release that has flipped, in Verifying (with a check that takes long) or in Watching."""
    story = given(spec or {}, **world)
    if phase is Phase.VERIFYING:
        story.world_is(fails=SLOW)
    return story.until(phase).world_is(fails={})


def going_back() -> Story:
    """The way back is cold, so the Release stays in RollingBack."""
    return after_the_flip(Phase.WATCHING).color_dies("blue").rules_say("rollback").settle().phase_is(Phase.ROLLING_BACK)


def flipped_back_unread() -> Story:
    """The rescue flip happened, and its worker was killed before it read it."""
    story = going_back()
    assert story.status.intent
    story.world = story.world.done(SwapSelector("chatbot-platform", story.status.intent), "u1").forget()
    return story


def by_hand(**world: Any) -> Story:
    return given(asked={"images": {}, "version": "", "rollback": Command(by="dana")}, **world)
