"""Two Releases of one Application: the second is refused, or waits for its turn, as the Application says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.core.lifecycle.stages import other_release
from tests.core.lifecycle.story import Story, given
from tests.core.lifecycle.world import START
from watcher.core.effects import Deploy
from watcher.core.observed import Other
from watcher.core.release import Command, Phase

QUEUE = {"whileRunning": "queue"}


def earlier(phase: Phase, minutes: float = 5, **changes: Any) -> Other:
    return other_release(phase, created_at=START - timedelta(minutes=minutes), images={"chat": "other"}, **changes)


def queued(*others: Other, **spec: Any) -> Story:
    return given(QUEUE | spec, others=others)


def test_unless_the_application_says_otherwise_the_second_is_refused() -> None:
    given(others=(earlier(Phase.WATCHING),)).settle().phase_is(Phase.FAILED, "AnotherReleaseRunning")


def test_a_queued_one_waits_and_says_for_whom() -> None:
    story = queued(earlier(Phase.WATCHING, name="first")).settle().phase_is(Phase.PENDING)
    story.says("Queued: waits for the end of Release first (Watching).", "watcher release abort")
    story.time_passes(3600).phase_is(Phase.PENDING).never_did(Deploy)


def test_one_that_was_asked_for_earlier_and_waits_itself_goes_first() -> None:
    first, second = earlier(Phase.TESTING, name="first"), earlier(Phase.PENDING, 3, name="second")
    story = queued(second, first).settle().says("Release first (Testing), and 1 more before it")
    story.world_is(others=(second,)).settle().phase_is(Phase.PENDING).says("Release second (Pending)")


def test_one_that_was_asked_for_later_does_not_overtake() -> None:
    queued(earlier(Phase.PENDING, -1, name="later")).settle().phase_is(Phase.DEPLOYING)


@pytest.mark.parametrize("end", [Phase.COMPLETED, Phase.ROLLED_BACK, Phase.FAILED, Phase.ABORTED, Phase.SUPERSEDED])
def test_however_the_one_before_ends_the_queue_goes_on(end: Phase) -> None:
    story = queued(earlier(Phase.WATCHING)).settle().phase_is(Phase.PENDING)
    story.world_is(others=(earlier(end),)).settle().phase_is(Phase.DEPLOYING)


def test_a_queued_version_that_was_rolled_back_meanwhile_is_refused_in_its_turn() -> None:
    story = queued(other_release(Phase.WATCHING)).settle().phase_is(Phase.PENDING)
    story.world_is(others=(other_release(Phase.ROLLED_BACK),)).settle().phase_is(Phase.FAILED, "Quarantined")


def test_a_queued_one_can_be_taken_out() -> None:
    queued(earlier(Phase.WATCHING)).settle().person("abort").settle().phase_is(Phase.ABORTED, "Aborted")


def test_nobody_waits_in_the_queue_for_ever() -> None:
    story = queued(earlier(Phase.WATCHING, name="first"), deadlines={"queue": "1h"}).time_passes(3590)
    story.phase_is(Phase.PENDING).time_passes(30).phase_is(Phase.FAILED, "QueueDeadline")
    story.says("2.4.1 waited in the queue for 1h, last for Release first (Watching)")


def test_a_rollback_by_hand_does_not_queue() -> None:
    asked = {"images": {}, "version": "", "rollback": Command(by="dana")}
    story = given(QUEUE, asked=asked, others=(earlier(Phase.PENDING),)).settle()
    story.phase_is(Phase.ROLLED_BACK)


def test_a_flip_that_is_only_observed_holds_up_nobody() -> None:
    observed = earlier(Phase.WATCHING, foreign=True, gives_way=True)
    given(others=(observed,)).settle().phase_is(Phase.DEPLOYING)
    queued(observed).settle().phase_is(Phase.DEPLOYING)
