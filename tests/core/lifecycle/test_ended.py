"""After the end: keep-time, making room, and telling (S4, S11)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.core.lifecycle.stages import (
    other_release,
)
from tests.core.lifecycle.story import given
from tests.core.lifecycle.world import BREACH, START
from watcher.core.effects import Scale, Tell
from watcher.core.lifecycle.ended import jobs_left
from watcher.core.release import Phase

# -- after the end ----------------------------------------------------------------------------------------------------


def test_the_previous_colour_keeps_its_pods_through_the_keep_time_and_then_makes_room() -> None:
    story = given().to_the_end().time_passes(290).never_did(Scale)
    story.time_passes(60).did(Scale, deployment="chatbot-blue", replicas=0, only_if_idle="blue")
    assert story.world.blue.replicas == 0
    assert story.status.keep
    assert story.status.keep.done
    story.phase_is(Phase.COMPLETED).traffic_is_on("green")


def test_a_failed_version_makes_room_too() -> None:
    story = given(fails={"smoke/0/preview": "no"}).to_the_end().time_passes(400)
    story.did(Scale, deployment="chatbot-green", replicas=0)


def test_the_way_back_stays_watched_through_the_keep_time() -> None:
    story = given().to_the_end().color_dies("blue").time_passes(60).telling("way-back-lost", "blue has no ready pods")
    story.color_recovers("blue").time_passes(60)
    assert not story.condition("WayBackLost")


def test_then_keep_scales_nothing_down() -> None:
    given({"previous": {"keep": "5m", "then": "keep"}}).to_the_end().time_passes(900).never_did(Scale)


def test_a_colour_that_became_live_again_is_not_scaled_down() -> None:
    story = given().to_the_end().person_moves_selector("blue").time_passes(900).never_did(Scale)
    assert story.status.keep
    assert story.status.keep.done


def test_nothing_is_scaled_down_while_the_live_colour_is_unknown() -> None:
    for unknown in ({"service_known": False}, {"service": False}):
        story = given().to_the_end().world_is(**unknown).time_passes(900).never_did(Scale)
        story.world_is(service_known=True, service=True).time_passes(60).did(Scale, replicas=0)


@pytest.mark.parametrize(
    ("newer", "scales", "done"),
    [
        (Phase.COMPLETED, False, True),
        (Phase.ROLLED_BACK, False, True),
        (Phase.SUPERSEDED, False, True),
        (Phase.WATCHING, False, False),
        (Phase.PENDING, False, False),
        (Phase.FAILED, True, True),
        (Phase.ABORTED, True, True),
    ],
)
def test_a_newer_release_decides_about_the_colours_unless_it_came_to_nothing(
    newer: Phase, scales: bool, done: bool
) -> None:
    story = given().to_the_end()
    ended = story.world.now + timedelta(minutes=2) if newer.terminal else None
    another = other_release(newer, created_at=START + timedelta(minutes=5), ended_at=ended)
    story.world_is(others=(another,)).time_passes(900)
    assert bool(story.times(Scale)) is scales
    assert story.status.keep
    assert story.status.keep.done is done


def test_a_release_asked_for_in_the_same_second_keeps_its_way_back_while_it_runs() -> None:
    story = given().to_the_end()
    at_once = other_release(Phase.WATCHING, created_at=story.release.created_at)
    story.world_is(others=(at_once,)).time_passes(900).never_did(Scale)
    assert story.status.keep
    assert not story.status.keep.done


def test_what_ended_before_decides_nothing_about_the_colours() -> None:
    story = given().to_the_end()
    earlier = other_release(Phase.COMPLETED, created_at=START + timedelta(minutes=5), ended_at=START)
    story.world_is(others=(earlier,)).time_passes(900).did(Scale, replicas=0)


def test_a_colour_that_is_gone_or_empty_is_done_with() -> None:
    for gone in ({"exists": False}, {"replicas": 0, "ready": 0}):
        story = given().to_the_end().color("blue", **gone).time_passes(900).never_did(Scale)
        assert story.status.keep
        assert story.status.keep.done


def test_a_preview_that_selects_the_live_colour_is_pointed_at_the_idle_one_after_the_end() -> None:
    story = given().to_the_end().world_is(preview="green").settle()
    assert story.world.preview == "blue"


def test_a_preview_whose_pointing_got_lost_is_pointed_also_after_the_keep_time_before_room_is_made() -> None:
    story = given().to_the_end()
    story.world = story.world.later(900)
    story.world_is(preview="green").time_passes(40)
    assert story.world.preview == "blue"
    assert story.world.blue.replicas == 0


# -- telling ----------------------------------------------------------------------------------------------------------


def test_what_was_not_told_because_of_a_kill_is_told_by_the_next_worker_under_the_same_key() -> None:
    story = given().until(Phase.WATCHING).color_dies("blue").rules_say("rollback")
    while not story.release.phase.terminal:
        if not story.take_step(carry_out=bool(story.status.intent)):
            story.world = story.world.later(1).with_side(story.world.blue.recovers(story.world.now))
    story.told.clear()
    story.take_step()
    assert set(story.told) >= {"flip/1", "flip/2", "verdict", "end"}
    story.telling("verdict", BREACH).telling("end", "Rolled back from green").telling("flip/2", "from green to blue")


def test_old_news_are_not_told_again() -> None:
    story = given({"previous": {"keep": "4h"}}).to_the_end()
    story.color_dies("blue").time_passes(2 * 3600)
    story.effects.clear()
    story.take_step()
    story.never_did(Tell)


def test_an_end_is_told_once_per_key_whatever_happens() -> None:
    story = given().until(Phase.WATCHING).rules_say("rollback").to_the_end().time_passes(120)
    keys = [effect.key for effect in story.effects if isinstance(effect, Tell)]
    assert set(keys) == {"flip/1", "verdict", "flip/2", "end"}


def test_a_status_that_lost_its_memory_ends_and_says_so() -> None:
    story = given().until(Phase.WATCHING)
    story.release = story.release.model_copy(update={"status": story.status.model_copy(update={"pinned": None})})
    story.settle().phase_is(Phase.FAILED, "StatusLost").traffic_is_on("green")
    story.telling("end", "look at which colour is live")


# -- what a kill left running -----------------------------------------------------------------------------------------


def test_jobs_without_a_result_may_run_still_for_as_long_as_they_may_take() -> None:
    def job(name: str, timeout: str = "5m") -> dict[str, Any]:
        return {"name": name, "job": {"image": "verify:1", "timeout": timeout}}

    spec = {
        "tests": {
            "smoke": [job("done"), {"tcp": {}}],
            "verification": [{"parallel": [job("runs"), job("short", "1s")]}],
        },
        "hooks": {"preDeploy": [job("done-too")], "preSwitch": [job("warm")], "onFailure": [job("page")]},
    }
    story = given(spec, fails={"verification/runs/preview": "no"}).to_the_end().phase_is(Phase.FAILED)
    gave = tuple(record for record in story.status.checks if not record.id.startswith("verification/"))
    release = story.release.model_copy(update={"status": story.status.model_copy(update={"checks": gave})})

    def left(minutes: float) -> list[str]:
        assert story.status.ended_at
        return [run.id for run in jobs_left(release, story.status.ended_at + timedelta(minutes=minutes))]

    runs, short, warm = "verification/runs/preview", "verification/short/preview", "preSwitch/warm/hook"
    assert left(1) == [runs, short, warm]
    assert left(2.5) == [runs, warm]
    assert left(7) == []


def test_a_release_that_never_began_left_no_job() -> None:
    story = given(asked={"images": {}}).to_the_end().phase_is(Phase.FAILED)
    assert list(jobs_left(story.release, START)) == []
