"""Going back: nothing of the failing side blocks it, and no dead colour is flipped to (S1, S2, S4)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.lifecycle.stages import (
    NIGHT,
    after_the_flip,
    before_the_flip,
    by_hand,
    flipped_back_unread,
    going_back,
    other_release,
)
from tests.core.lifecycle.story import given
from watcher.core.effects import Scale, SwapSelector
from watcher.core.release import Command, Phase


@pytest.mark.parametrize(
    "trouble",
    [
        {"verdict": "rollback", "rules_problem": "broken"},
        {"verdict": "rollback", "app": given({"windows": NIGHT}).world.app},
        {"verdict": "rollback", "preview": None},
    ],
    ids=["rules broken", "window closed", "preview gone"],
)
def test_nothing_of_the_failing_side_blocks_a_rollback(trouble: dict[str, Any]) -> None:
    story = after_the_flip(Phase.WATCHING).person("pause").color_dies("green").world_is(**trouble).settle()
    story.phase_is(Phase.ROLLED_BACK).traffic_is_on("blue").flips_are("green", "blue")


def test_a_closed_window_and_a_pause_do_not_block_a_rollback() -> None:
    spec = {
        "windows": [{"days": ["mon"], "from": "14:00", "to": "14:01"}],
        "watch": {"duration": "1h", "rules": ["http"]},
    }
    story = after_the_flip(Phase.WATCHING, spec).time_passes(1800).person("pause").rules_say("rollback").settle()
    story.phase_is(Phase.ROLLED_BACK)


def test_a_rollback_by_hand_waits_for_no_window_no_pause_and_no_waiting_release() -> None:
    by_hand = {"images": {}, "rollback": Command(by="dana"), "pause": Command()}
    waiting = other_release(Phase.PENDING)
    given({"windows": NIGHT}, by_hand, others=(waiting,)).settle().phase_is(Phase.ROLLED_BACK).traffic_is_on("green")


def test_a_cold_way_back_is_scaled_up_shouted_about_and_flipped_to_once_ready() -> None:
    story = after_the_flip(Phase.WATCHING).color("blue", replicas=0, ready=0).settle().rules_say("rollback").settle()
    story.phase_is(Phase.ROLLING_BACK).did(Scale, deployment="chatbot-blue", replicas=2).traffic_is_on("green")
    shout = "blue is not ready (0 of 2 endpoints): scales up Deployment chatbot-blue; traffic returns the moment"
    story.telling("attention/RollbackWaits", shout).says("waits for the pods of Deployment chatbot-blue").telling(
        "way-back-lost", "The way back is cold: blue"
    )
    story.to_the_end().phase_is(Phase.ROLLED_BACK).traffic_is_on("blue")
    assert not story.condition("NeedsAttention")


def test_a_dead_way_back_is_never_flipped_to_however_long_it_takes() -> None:
    story = after_the_flip(Phase.WATCHING).color_dies("blue").settle().rules_say("rollback").time_passes(600)
    story.phase_is(Phase.ROLLING_BACK).never_did(SwapSelector, rescue=True).says("waits for the pods of Deployment")
    story.color_recovers("blue").settle().phase_is(Phase.ROLLED_BACK).did(SwapSelector, rescue=True)
    story.says("traffic returned 600.")


def test_a_way_back_without_a_deployment_asks_for_one() -> None:
    story = (
        after_the_flip(Phase.WATCHING).color("blue", exists=False, ready=0, sick=True).rules_say("rollback").settle()
    )
    story.phase_is(Phase.ROLLING_BACK).says("create Deployment chatbot-blue")


def test_a_way_back_that_cannot_be_seen_is_waited_for() -> None:
    story = after_the_flip(Phase.WATCHING).color("blue", seen=False).time_passes(5).silent_about("way-back-lost")
    story.rules_say("rollback").time_passes(5).phase_is(Phase.ROLLING_BACK).never_did(SwapSelector, rescue=True)
    story.color("blue", seen=True).settle().phase_is(Phase.ROLLED_BACK)


def test_a_part_of_the_way_back_is_taken_at_half_at_once_and_at_less_after_some_patience() -> None:
    story = after_the_flip(Phase.WATCHING).color("blue", ready=1, sick=True).rules_say("rollback").settle()
    story.phase_is(Phase.ROLLED_BACK)
    story = given().color("blue", replicas=5, ready=5).until(Phase.WATCHING).color("blue", ready=1, sick=True)
    story.rules_say("rollback").time_passes(20).phase_is(Phase.ROLLING_BACK).says("(1 of 5 endpoints)")
    story.time_passes(15).phase_is(Phase.ROLLED_BACK)


def test_losing_the_way_back_during_the_watch_is_an_alert_of_its_own() -> None:
    story = after_the_flip(Phase.WATCHING).color_dies("blue").settle()
    story.phase_is(Phase.WATCHING).telling("way-back-lost", "blue has no ready pods")
    assert story.condition("WayBackLost")
    story.color_recovers("blue").settle()
    assert not story.condition("WayBackLost")


def test_a_latched_verdict_stays_when_the_rules_recover() -> None:
    story = after_the_flip(Phase.WATCHING).color_dies("blue").rules_say("rollback").settle()
    story.phase_is(Phase.ROLLING_BACK).rules_say("pass").killed().time_passes(60).phase_is(Phase.ROLLING_BACK)
    story.color_recovers("blue").to_the_end().phase_is(Phase.ROLLED_BACK, "rule/http/error-rate")


def test_a_selector_that_a_person_moves_during_a_rollback_is_respected() -> None:
    going_back().person_moves_selector("blue").settle().phase_is(Phase.SUPERSEDED).flips_are("green")


def test_a_service_that_is_gone_or_unknown_during_a_rollback_is_waited_for() -> None:
    story = going_back().world_is(service=False).time_passes(5).says("is gone: create it again, selecting blue")
    story.telling("attention/NoService").world_is(service=True, service_known=False).time_passes(5)
    story.phase_is(Phase.ROLLING_BACK).world_is(service_known=True).color_recovers("blue").settle()
    story.phase_is(Phase.ROLLED_BACK)


def test_a_rescue_flip_whose_answer_was_lost_is_recognised() -> None:
    flipped_back_unread().color_recovers("blue").settle().phase_is(Phase.ROLLED_BACK).flips_are("green", "blue")


def test_a_rescue_flip_that_a_person_took_back_is_told_and_left() -> None:
    story = flipped_back_unread().person_moves_selector("green").settle()
    story.phase_is(Phase.SUPERSEDED).flips_are("green", "blue").says("color is green, blue was expected")
    story.telling("flip/2").telling("end")


def test_after_a_rescue_flip_the_endpoints_are_waited_for_but_not_for_ever() -> None:
    story = flipped_back_unread().time_passes(5).phase_is(Phase.ROLLING_BACK).says("waits for its endpoints")
    story.to_the_end().phase_is(Phase.ROLLED_BACK)
    story = flipped_back_unread().time_passes(5).person_moves_selector("green").settle().phase_is(Phase.SUPERSEDED)
    story.says("color is green, blue was expected")


def test_a_rollback_by_hand_needs_a_deployment_to_go_to() -> None:
    by_hand().color("green", exists=False).settle().phase_is(Phase.FAILED, "NoDeployment").says("nothing to go back to")


def test_a_rollback_by_hand_brings_a_scaled_down_colour_up_first() -> None:
    story = by_hand().color("green", replicas=0, ready=0).settle().phase_is(Phase.ROLLING_BACK)
    story.to_the_end().phase_is(Phase.ROLLED_BACK).did(Scale, replicas=2).traffic_is_on("green")


def test_a_rollback_by_hand_that_cannot_happen_can_be_called_off() -> None:
    story = by_hand().color_dies("green").time_passes(60).phase_is(Phase.ROLLING_BACK).person("abort").time_passes(5)
    story.phase_is(Phase.ROLLING_BACK).time_passes(6).phase_is(Phase.ABORTED).flips_are().traffic_is_on("blue")
    assert story.status.keep is None
    story = by_hand().color_dies("green").time_passes(60).person("abort").settle().person_withdraws("abort")
    story.to_the_end().phase_is(Phase.ABORTED)


def test_a_rollback_by_hand_names_colours_whose_versions_nobody_knows() -> None:
    story = by_hand().color("green", version="").color("blue", version="", image="chat").to_the_end()
    story.says("Rolled back from blue (latest) to green: ")


def test_an_abort_does_not_stop_a_rollback_from_a_bad_version() -> None:
    going_back().person("abort").time_passes(30).color_recovers("blue").settle().phase_is(Phase.ROLLED_BACK)


def test_a_status_that_somebody_made_go_back_without_a_flip_ends_with_traffic_where_it_is() -> None:
    story = before_the_flip(Phase.TESTING)
    edited = story.status.model_copy(update={"phase": Phase.ROLLING_BACK, "flips": (), "intent": None})
    story.release = story.release.model_copy(update={"status": edited})

    story.to_the_end().phase_is(Phase.ROLLED_BACK).traffic_is_on("blue").never_did(SwapSelector)
