"""Sizes and autoscalers: the idle colour at the live one's size, and the way back kept at its own (S4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.core.lifecycle.stages import by_hand, other_release
from tests.core.lifecycle.story import Story, given
from tests.core.lifecycle.world import ALSO, BOTH, START, Side, changed, scaler, worker
from watcher.core.effects import Deploy, Scale, SetMinimum, SwapSelector
from watcher.core.observed import Held, ScalerView
from watcher.core.release import Phase

BLUE = Side("blue", version="2.4.0", replicas=3, ready=3, scaler=scaler("blue"))
GREEN = Side("green", image="registry.example/chat:2.3.9", version="2.3.9", replicas=1, ready=1, scaler=scaler("green"))
KEPT = {"previous": {"keep": "1h", "then": "keep"}}


def scaled(spec: dict[str, Any] | None = None, /, asked: dict[str, Any] | None = None, **world: Any) -> Story:
    """Both colours have an autoscaler from 1 to 10; blue has three pods for its load, green one, as it has none."""
    return given(spec, asked, **({"blue": BLUE, "green": GREEN} | world))


def of(story: Story, color: str) -> ScalerView:
    found = story.world.side(color).scaler
    assert found
    return found


def person_edits(story: Story, color: str, minimum: int) -> Story:
    """Somebody writes another minimum, and leaves what we noted."""
    story.world = story.world.edits(color, minimum)
    return story


def raised(color: str, minimum: int, to: int) -> ScalerView:
    return scaler(color, to, held=Held(minimum, to))


def reaching(story: Story, phase: Phase) -> Story:
    """As soon as it is in the phase, before it takes its first step there."""
    while story.release.phase is not phase:
        if not story.take_step():
            story.world = story.world.later(1)
    return story


def at_the_flip(story: Story) -> Story:
    """The flip was just made."""
    while not story.times(SwapSelector):
        if not story.take_step():
            story.world = story.world.later(0.5)
    return story


def replicas(story: Story) -> tuple[int, int]:
    return story.world.blue.replicas, story.world.green.replicas


def minimums(story: Story) -> tuple[int, int]:
    return of(story, "blue").minimum, of(story, "green").minimum


# -- before the flip --------------------------------------------------------------------------------------------------


def test_an_idle_colour_under_an_autoscaler_gets_the_live_size_and_keeps_it_while_it_is_tested() -> None:
    story = reaching(scaled(), Phase.SWITCHING)
    assert of(story, "green") == raised("green", 1, 3)
    assert story.world.green.replicas == 3


def test_both_minimums_are_held_before_the_flip_is_asked_for() -> None:
    story = at_the_flip(scaled())
    assert (of(story, "blue"), of(story, "green")) == (raised("blue", 1, 3), raised("green", 1, 3))
    assert story.status.held == ("chatbot-green-hpa", "chatbot-blue-hpa")
    story.silent_about("autoscaler")


def test_the_live_colour_s_autoscaler_is_left_alone_until_right_before_the_flip() -> None:
    story = scaled({"approval": "beforeSwitch"}).until(Phase.AWAITING_APPROVAL).time_passes(3600)
    assert minimums(story) == (1, 3)


def test_a_minimum_that_is_high_enough_is_left_alone() -> None:
    blue, green = replace(BLUE, scaler=scaler("blue", 3)), replace(GREEN, scaler=scaler("green", 5))
    story = scaled(blue=blue, green=green).to_the_end()
    story.never_did(SetMinimum)
    assert story.status.held == ()
    assert replicas(story) == (3, 5)


def test_a_colour_whose_autoscaler_allows_less_gets_what_it_allows_and_it_is_said() -> None:
    story = scaled(green=replace(GREEN, scaler=scaler("green", 1, 2))).to_the_end()
    story.phase_is(Phase.COMPLETED).telling("autoscaler/limit", "at most 2 pods where 3 are wanted")
    assert story.world.green.replicas == 2
    assert story.times(Deploy) == 1


def test_an_autoscaler_that_belongs_to_somebody_else_is_left_alone_and_it_is_said() -> None:
    story = scaled(green=replace(GREEN, scaler=scaler("green", owner="ScaledObject chat"))).until(Phase.DEPLOYING)
    story.settle().never_did(SetMinimum).telling("autoscaler/owned", "ScaledObject chat", "shrink green to 1")


def test_before_the_autoscalers_are_listed_nothing_is_tested() -> None:
    story = scaled(scalers_known=False).until(Phase.DEPLOYING).time_passes(20)
    story.phase_is(Phase.DEPLOYING).says("Waits for the list of HorizontalPodAutoscalers")
    story.world_is(scalers_known=True).to_the_end().phase_is(Phase.COMPLETED).silent_about("autoscaler")


def test_a_release_goes_on_without_an_autoscaler_that_cannot_be_held_and_says_so() -> None:
    story = scaled({"deadlines": {"switching": "1m"}}, scalers_obey=False, green=replace(GREEN, scaler=None))
    at_the_flip(story).telling("autoscaler/not-held", "chatbot-blue-hpa could not be held within 30s")
    story.to_the_end().phase_is(Phase.COMPLETED)


def test_a_release_goes_on_where_autoscalers_cannot_be_looked_at_and_says_so() -> None:
    story = given({"deadlines": {"switching": "1m"}}, scalers_known=False).to_the_end().phase_is(Phase.COMPLETED)
    story.telling("autoscaler/not-held", "Autoscalers could not be looked at")


def test_a_release_without_time_to_wait_for_an_autoscaler_goes_on() -> None:
    deadlines = {"deploying": "5s", "testing": "2m", "switching": "4s", "verifying": "30s"}
    story = given({"deadlines": deadlines}, scalers_known=False).until(Phase.VERIFYING)
    assert story.world.now - START < timedelta(seconds=20)


def test_a_minimum_that_somebody_changes_meanwhile_is_respected_and_it_is_said() -> None:
    story = reaching(scaled(), Phase.TESTING)
    person_edits(story, "green", 2).to_the_end()
    story.telling("autoscaler/changed", "Somebody set the minReplicas", "to 2")
    assert minimums(story) == (3, 2)
    story.phase_is(Phase.COMPLETED)


def test_an_idle_colour_scaled_to_zero_comes_back_at_the_live_size() -> None:
    story = reaching(scaled(green=replace(GREEN, replicas=0, ready=0)), Phase.TESTING)
    assert story.world.green.replicas == 3


# -- the live colour grows --------------------------------------------------------------------------------------------


def test_while_it_waits_for_approval_the_idle_colour_grows_with_the_live_one_and_does_not_shrink_with_it() -> None:
    story = scaled({"approval": "beforeSwitch"}).until(Phase.AWAITING_APPROVAL)
    story.color("blue", replicas=6, ready=6).time_passes(10)
    assert (replicas(story), minimums(story)) == ((6, 6), (1, 6))
    story.color("blue", replicas=2, ready=2).time_passes(10)
    assert replicas(story) == (2, 6)
    at_the_flip(story.person("approve"))
    assert minimums(story) == (2, 6)
    assert story.status.pinned
    assert story.status.pinned.replicas == 2


def test_a_live_colour_that_grew_during_the_tests_is_caught_up_with_before_the_flip() -> None:
    story = reaching(given({"deadlines": {"switching": "2s", "deploying": "2m"}}), Phase.SWITCHING)
    story.color("blue", replicas=5, ready=5)
    story.take_step()
    story.says("green grows with blue to 5 pods").settle().says("green still grows with blue")
    story.did(Scale, deployment="chatbot-green", replicas=5, only_if_idle="green").never_did(SwapSelector)
    story.to_the_end().phase_is(Phase.COMPLETED)


def test_growing_has_the_time_of_a_deployment_and_no_more() -> None:
    story = reaching(given({"deadlines": {"switching": "2s", "deploying": "1m"}}), Phase.SWITCHING)
    story.color("blue", replicas=5, ready=5).color("green", sick=True).settle().time_passes(30)
    story.phase_is(Phase.SWITCHING).says("green still grows with blue")
    story.to_the_end().phase_is(Phase.FAILED, "NotReady").says("its new pods did not get ready within 1m")


def test_a_live_deployment_that_goes_leaves_the_size_as_it_was() -> None:
    story = reaching(given(), Phase.SWITCHING).color("blue", exists=False)
    at_the_flip(story)
    assert story.status.pinned
    assert story.status.pinned.replicas == 2


# -- the way back -----------------------------------------------------------------------------------------------------


def test_the_way_back_keeps_its_size_through_watch_and_keep_time_and_then_gets_its_minimum_back() -> None:
    story = scaled(KEPT).to_the_end().phase_is(Phase.COMPLETED)
    story.time_passes(3500)
    assert (story.world.blue.replicas, of(story, "blue")) == (3, raised("blue", 1, 3))
    story.time_passes(200)
    assert of(story, "blue") == scaler("blue")
    assert story.world.blue.replicas == 1
    assert story.status.held == ()


def test_the_colour_that_serves_gets_its_minimum_back_once_it_has_served_for_a_while() -> None:
    story = scaled().to_the_end()
    story.time_passes(500)
    assert of(story, "green") == raised("green", 1, 3)
    story.time_passes(200)
    assert of(story, "green") == scaler("green")


def test_after_a_rollback_both_get_theirs_back_in_their_time() -> None:
    story = scaled(KEPT).until(Phase.WATCHING).rules_say("rollback")
    story.to_the_end().phase_is(Phase.ROLLED_BACK)
    assert minimums(story) == (3, 3)
    story.time_passes(700)
    assert minimums(story) == (1, 3)
    story.time_passes(3600)
    assert minimums(story) == (1, 1)
    assert story.status.held == ()


@pytest.mark.parametrize("stop", ["abort", "rollback"])
def test_an_aborted_release_gives_back_what_it_raised(stop: Any) -> None:
    story = reaching(scaled(), Phase.TESTING).person(stop).to_the_end().phase_is(Phase.ABORTED).time_passes(600)
    assert minimums(story) == (1, 1)
    assert story.status.held == ()


def test_a_release_that_fails_gives_back_what_it_raised() -> None:
    story = scaled(fails={"smoke/0/preview": "no"}).to_the_end().phase_is(Phase.FAILED).time_passes(600)
    assert minimums(story) == (1, 1)


def test_after_a_selector_that_a_person_moved_everything_is_held_for_the_keep_time() -> None:
    story = scaled().until(Phase.WATCHING).person_moves_selector("blue").to_the_end().phase_is(Phase.SUPERSEDED)
    story.time_passes(250)
    assert minimums(story) == (3, 3)
    story.time_passes(100)
    assert minimums(story) == (1, 1)


def test_a_kill_between_writing_and_doing_loses_no_minimum() -> None:
    story = scaled()
    while not story.status.held:
        if not story.take_step(carry_out=False):
            story.world = story.world.later(1)
    assert of(story, "green") == scaler("green")
    story.killed().to_the_end().phase_is(Phase.COMPLETED).time_passes(900)
    assert minimums(story) == (1, 1)


def test_a_minimum_that_lands_after_the_end_is_given_back_too() -> None:
    story = scaled()
    while not story.status.held:
        story.take_step(carry_out=False)
    story.person("abort").to_the_end().time_passes(30)
    story.color("green", scaler=changed(of(story, "green"), 3, Held(1, 3))).time_passes(900)
    assert minimums(story) == (1, 1)
    assert story.status.held == ()


def test_a_minimum_that_somebody_changed_stays_and_only_our_note_goes() -> None:
    story = scaled().to_the_end()
    person_edits(story, "blue", 2).time_passes(900)
    assert of(story, "blue") == scaler("blue", 2)


def test_a_minimum_that_somebody_changes_during_the_watch_is_said_to_endanger_the_way_back() -> None:
    story = scaled().until(Phase.WATCHING)
    person_edits(story, "blue", 2).settle().telling("autoscaler/changed", "may shrink blue")
    assert of(story, "blue").minimum == 2


def test_an_autoscaler_that_is_deleted_is_forgotten() -> None:
    story = scaled().to_the_end().color("blue", scaler=None).time_passes(900)
    assert story.status.held == ()


def test_nothing_is_given_back_while_a_newer_release_runs_or_while_nobody_knows_what_serves() -> None:
    newer = other_release(Phase.WATCHING, created_at=START + timedelta(minutes=5))
    for unknown in ({"others": (newer,)}, {"service_known": False}, {"service": False}, {"scalers_known": False}):
        story = scaled().to_the_end().world_is(**unknown).time_passes(3600)
        assert minimums(story) == (3, 3)
        story.world_is(others=(), service_known=True, service=True, scalers_known=True).time_passes(60)
        assert minimums(story) == (1, 1)


def test_the_way_back_of_a_newer_release_is_held_for_that_one_s_keep_time() -> None:
    story = scaled(KEPT).to_the_end()
    ended = story.world.now + timedelta(minutes=30)
    newer = other_release(Phase.COMPLETED, created_at=START + timedelta(minutes=5), ended_at=ended)
    story.world_is(others=(newer,)).time_passes(3700)
    assert of(story, "blue") == raised("blue", 1, 3)
    story.time_passes(1800)
    assert of(story, "blue") == scaler("blue")


def test_a_newer_release_remembers_the_minimum_from_before_the_older_one() -> None:
    held = replace(GREEN, replicas=3, ready=3, scaler=raised("green", 1, 3))
    story = reaching(scaled(blue=replace(BLUE, replicas=5, ready=5), green=held), Phase.TESTING)
    assert of(story, "green") == raised("green", 1, 5)


def test_what_an_older_release_left_and_somebody_changed_since_is_taken_as_it_is() -> None:
    left = replace(GREEN, replicas=2, ready=2, scaler=scaler("green", 2, held=Held(1, 3)))
    story = reaching(scaled(green=left), Phase.TESTING)
    assert of(story, "green") == raised("green", 2, 3)


@pytest.mark.parametrize("obeys", [True, False])
def test_a_rollback_by_hand_brings_a_shrunken_colour_up_and_waits_for_no_autoscaler(obeys: bool) -> None:
    green = replace(GREEN, replicas=3, ready=3)
    blue = replace(BLUE, replicas=1, ready=1)
    story = by_hand(selector="green", preview="blue", blue=blue, green=green, scalers_obey=obeys)
    while not story.times(Scale):
        story.take_step()
    story.did(Scale, deployment="chatbot-blue", replicas=3).did(SetMinimum, scaler="chatbot-blue-hpa", minimum=3)
    story.to_the_end().phase_is(Phase.ROLLED_BACK).traffic_is_on("blue")
    assert of(story, "blue").minimum == (3 if obeys else 1)


def test_a_rollback_wants_no_more_pods_than_the_autoscaler_of_its_target_allows() -> None:
    story = scaled().until(Phase.WATCHING)
    story.color("blue", replicas=1, ready=1, scaler=scaler("blue", 1, 1)).rules_say("rollback").to_the_end()
    story.phase_is(Phase.ROLLED_BACK).never_did(Scale)


# -- making room ------------------------------------------------------------------------------------------------------


def test_the_idle_colour_is_scaled_to_the_number_that_the_application_says() -> None:
    story = given({"previous": {"keep": "5m", "to": 1}}).to_the_end().time_passes(400)
    story.did(Scale, deployment="chatbot-blue", replicas=1, only_if_idle="blue")
    assert story.world.blue.replicas == 1


def test_a_colour_that_is_smaller_than_the_number_is_not_scaled_up() -> None:
    story = given({"previous": {"keep": "5m", "to": 4}}).to_the_end().time_passes(400).never_did(Scale)
    assert story.status.keep
    assert story.status.keep.done


def test_with_an_autoscaler_its_own_minimum_counts_once_it_has_it_back() -> None:
    own = replace(BLUE, scaler=scaler("blue", 2))
    story = scaled({"previous": {"keep": "5m", "to": 1}}, blue=own).to_the_end().time_passes(400)
    story.never_did(Scale, replicas=1)
    assert (story.world.blue.replicas, of(story, "blue")) == (2, scaler("blue", 2))
    assert story.status.keep
    assert story.status.keep.done


def test_scaled_to_zero_an_autoscaler_leaves_it_there_and_gets_its_minimum_back() -> None:
    story = scaled().to_the_end().time_passes(400)
    assert (story.world.blue.replicas, of(story, "blue")) == (0, scaler("blue"))


def test_a_colour_that_serves_again_is_not_shrunk_whatever_its_autoscaler_says() -> None:
    story = scaled({"previous": {"keep": "5m", "to": 1}}).to_the_end().person_moves_selector("blue").time_passes(900)
    story.never_did(Scale)
    assert story.status.keep
    assert story.status.keep.done


# -- several pairs ----------------------------------------------------------------------------------------------------


def test_each_pair_is_sized_and_held_by_its_own_live_colour_and_all_before_the_first_flip() -> None:
    second = worker()
    second = replace(second, blue=replace(second.blue, replicas=5, ready=5, scaler=scaler("worker-blue")))
    story = scaled({"also": [ALSO]}, asked={"images": BOTH}, worker=second)
    at_the_flip(story)
    assert minimums(story) == (3, 3)
    assert story.world.worker
    assert story.world.worker.green.replicas == 5
    assert story.world.worker.blue.scaler == raised("worker-blue", 1, 5)
    assert story.status.pinned
    assert (story.status.pinned.replicas, story.status.pinned.sizes) == (3, {"worker": 5})
    story.to_the_end().phase_is(Phase.COMPLETED).time_passes(900)
    assert story.world.worker.blue.scaler == scaler("worker-blue")
    assert story.status.held == ()
