"""Tests, approval and the switch: nothing moves traffic but a written intent to a colour that lives (S1, S3)."""

from __future__ import annotations

import pytest

from tests.core.lifecycle.stages import (
    BEFORE,
    before_the_flip,
    intended,
)
from tests.core.lifecycle.story import given
from tests.core.lifecycle.world import rule
from watcher.core.effects import CancelChecks, PointPreview, RunCheck, SwapSelector
from watcher.core.release import Colors, Command, Phase

# -- every phase before the flip --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", BEFORE)
@pytest.mark.parametrize("command", ["abort", "rollback"])
def test_a_person_can_abort_in_every_phase_before_the_flip(phase: Phase, command: str) -> None:
    story = before_the_flip(phase).person(command).settle()  # type: ignore[arg-type]
    story.phase_is(Phase.ABORTED).says("Aborted by dana (bad answers); traffic never moved and stays on blue.")
    story.flips_are().traffic_is_on("blue").did(CancelChecks)


@pytest.mark.parametrize("phase", BEFORE)
@pytest.mark.parametrize("color", ["green", "red", ""])
def test_a_selector_that_a_person_moved_is_respected_before_the_flip(phase: Phase, color: str) -> None:
    story = before_the_flip(phase).person_moves_selector(color).settle()
    story.phase_is(Phase.SUPERSEDED, "SelectorMoved").traffic_is_on(color).flips_are()
    story.says(f"color is {color or '(nothing)'}, blue was expected")


@pytest.mark.parametrize("phase", BEFORE)
def test_a_service_that_is_deleted_before_the_flip_ends_the_release(phase: Phase) -> None:
    before_the_flip(phase).world_is(service=False).settle().phase_is(Phase.FAILED, "NoService")


@pytest.mark.parametrize("phase", BEFORE)
def test_an_api_server_that_cannot_answer_decides_nothing_before_the_flip(phase: Phase) -> None:
    story = before_the_flip(phase).world_is(service_known=False).time_passes(20).phase_is(phase)
    story.world_is(service_known=True).person("approve").to_the_end().phase_is(Phase.COMPLETED)


# -- Testing and approval ---------------------------------------------------------------------------------------------


def test_without_a_preview_the_checks_go_to_the_pods() -> None:
    story = given({"preview": None}, preview=None).to_the_end().phase_is(Phase.COMPLETED)
    story.did(RunCheck, id="smoke/0/pods", target="pods").never_did(PointPreview)


def test_a_preview_that_cannot_be_pointed_ends_the_release_at_the_deadline() -> None:
    story = given().until(Phase.TESTING)
    for _ in range(300):
        story.world_is(preview=None)
        story.take_step(carry_out=False)
        story.world = story.world.later(1)
    story.phase_is(Phase.FAILED, "NoPreview").says("Preview Service chatbot-preview cannot be pointed at green.")


def test_a_check_that_hangs_ends_at_the_deadline() -> None:
    story = given(fails={"verification/chat/preview": "hang"}).to_the_end()
    story.phase_is(Phase.FAILED, "TestsFailed").says(
        "Check verification/chat/preview of 2.4.1 failed: it did not end within 2m."
    )


JOB = {"tests": {"verification": [{"name": "chat", "job": {"image": "verify-chat:1", "timeout": "5m"}}]}}


def test_a_job_has_its_own_time_even_where_the_deadline_of_the_phase_is_shorter() -> None:
    story = given(JOB, fails={"verification/chat/preview": "hang"}).until(Phase.TESTING).time_passes(300)
    story.phase_is(Phase.TESTING).says("Runs check verification/chat/preview on green as a Job (1 of 1)")
    story.to_the_end().phase_is(Phase.FAILED, "TestsFailed").says("it did not end within 2m")


def test_the_last_lines_of_a_job_that_fails_stand_in_the_message() -> None:
    story = given(JOB, fails={"verification/chat/preview": "exit code 1"}).to_the_end()
    story.phase_is(Phase.FAILED, "TestsFailed").says("got status 500 (its last lines: exit code 1)").flips_are()


@pytest.mark.parametrize("phase", [Phase.TESTING, Phase.VERIFYING])
def test_a_check_that_a_new_worker_starts_after_a_long_absence_has_its_whole_time_again(phase: Phase) -> None:
    story = given().until(phase).killed()
    story.world = story.world.later(600)
    story.killed().to_the_end().phase_is(Phase.COMPLETED)


def test_the_release_waits_for_an_approval_that_was_asked_for() -> None:
    story = given({"approval": "beforeSwitch"}).until(Phase.AWAITING_APPROVAL).time_passes(3600)
    story.says("waits for approval: watcher release approve chatbot-platform-x7k2p -n prod").flips_are()
    story.person("approve", reason="looks good").to_the_end().phase_is(Phase.COMPLETED)
    assert Phase.AWAITING_APPROVAL in story.phases


def test_an_approval_that_was_given_before_is_not_waited_for() -> None:
    story = given({"approval": "beforeSwitch"}, {"approve": Command(by="dana")}).to_the_end().phase_is(Phase.COMPLETED)
    assert Phase.AWAITING_APPROVAL not in story.phases


def test_an_approval_that_nobody_gives_aborts_the_release() -> None:
    story = given({"approval": "beforeSwitch"}).until(Phase.AWAITING_APPROVAL).time_passes(25 * 3600)
    story.phase_is(Phase.ABORTED, "NotApproved").says("Nobody approved 2.4.1 within 1d; traffic never moved")


# -- Switching --------------------------------------------------------------------------------------------------------


def test_a_flip_waits_for_a_window_that_closed_meanwhile_and_writes_nothing_while_it_waits() -> None:
    spec = {"windows": [{"days": ["mon", "tue"], "from": "14:00", "to": "14:01"}], "approval": "beforeSwitch"}
    story = given(spec).until(Phase.AWAITING_APPROVAL).time_passes(120).person("approve").time_passes(60)
    story.phase_is(Phase.SWITCHING).says("Ready to switch, and waits for a deployment window").flips_are()
    writes = story.writes
    story.time_passes(3600)
    assert story.writes == writes
    story.person("override_window").to_the_end().phase_is(Phase.COMPLETED)


def test_a_paused_flip_waits_and_has_its_whole_deadline_afterwards() -> None:
    story = before_the_flip(Phase.SWITCHING).person("pause").time_passes(3600)
    story.phase_is(Phase.SWITCHING).says("Paused by dana").flips_are()
    story.color_dies("green").person_withdraws("pause").time_passes(10).phase_is(Phase.SWITCHING)
    story.color_recovers("green").to_the_end().phase_is(Phase.COMPLETED)


def test_traffic_is_never_flipped_to_a_colour_that_died_meanwhile() -> None:
    story = before_the_flip(Phase.SWITCHING).color_dies("green").to_the_end()
    story.phase_is(Phase.FAILED, "NotReady").never_did(SwapSelector).traffic_is_on("blue")
    story.says("green was ready, and is not any more; it did not recover within 30s.")


def test_traffic_is_flipped_when_the_colour_recovers_in_time() -> None:
    story = before_the_flip(Phase.SWITCHING).color_dies("green").time_passes(10).says("green is not ready any more")
    story.color_recovers("green").to_the_end().phase_is(Phase.COMPLETED)


def test_an_intended_flip_is_made_after_a_kill_once_and_to_no_dead_colour() -> None:
    intended().to_the_end().phase_is(Phase.COMPLETED).flips_are("green")
    story = intended().color_dies("green").time_passes(10)
    story.says("green has no ready endpoints any more").never_did(SwapSelector)
    story.to_the_end().phase_is(Phase.FAILED, "SwitchDeadline").says("did not happen within 30s").flips_are()


def test_a_flip_whose_answer_was_lost_is_recognised_by_its_mark() -> None:
    story = intended()
    assert story.status.intent
    story.world = story.world.done(SwapSelector("chatbot-platform", story.status.intent), "u1")
    story.killed().to_the_end().phase_is(Phase.COMPLETED).flips_are("green")
    assert story.status.switched_at == story.world.marked_at


def test_a_flip_that_a_person_took_back_before_it_was_read_is_told_and_left() -> None:
    story = intended()
    assert story.status.intent
    story.world = story.world.done(SwapSelector("chatbot-platform", story.status.intent), "u1").moved("blue")
    story.to_the_end().phase_is(Phase.SUPERSEDED).flips_are("green").traffic_is_on("blue")
    story.telling("flip/1").telling("end", "color is blue, green was expected")


def test_a_flip_that_a_person_made_instead_of_us_is_not_claimed() -> None:
    story = intended().person_moves_selector("green").to_the_end()
    story.phase_is(Phase.SUPERSEDED).flips_are().traffic_is_on("green").says("color is green, blue was expected")


def test_an_intent_that_starts_where_traffic_never_was_is_decided_anew() -> None:
    story = intended()
    assert story.status.intent
    edited = story.status.intent.model_copy(update={"from_": "green"})
    story.release = story.release.model_copy(update={"status": story.status.model_copy(update={"intent": edited})})
    story.to_the_end().phase_is(Phase.COMPLETED).flips_are("green").traffic_is_on("green")


def test_a_status_that_was_edited_until_nothing_is_left_to_flip_ends_without_a_flip() -> None:
    story = before_the_flip(Phase.SWITCHING)
    nowhere = Colors(from_="blue", to="blue")
    story.release = story.release.model_copy(update={"status": story.status.model_copy(update={"colors": nowhere})})
    story.settle().phase_is(Phase.SUPERSEDED, "SelectorMoved").says("Traffic is on blue already").flips_are()


@pytest.mark.parametrize("command", ["abort", "rollback"])
def test_an_abort_waits_until_an_unclear_flip_cannot_land_any_more(command: str) -> None:
    story = intended().person(command).settle()  # type: ignore[arg-type]
    story.phase_is(Phase.SWITCHING).says("waits 10s, as the flip was asked for already").time_passes(5)
    story.phase_is(Phase.SWITCHING).time_passes(6).phase_is(Phase.ABORTED).flips_are().never_did(SwapSelector)


def test_an_unclear_flip_that_lands_after_an_abort_is_taken_back() -> None:
    story = intended().person("abort").settle()
    assert story.status.intent
    story.world = story.world.done(SwapSelector("chatbot-platform", story.status.intent), "u1")
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "manual").flips_are("green", "blue").traffic_is_on("blue")


def test_an_abort_that_is_withdrawn_too_late_stays_one() -> None:
    story = intended().person("abort").settle().person_withdraws("abort").to_the_end()
    story.phase_is(Phase.ABORTED).says("Aborted; traffic never moved")


def test_a_person_who_moves_the_selector_during_an_abort_is_respected() -> None:
    story = intended().person("abort").settle().person_moves_selector("green").to_the_end()
    story.phase_is(Phase.SUPERSEDED).traffic_is_on("green").flips_are()


def test_rules_that_became_unusable_stop_the_flip() -> None:
    story = before_the_flip(Phase.SWITCHING).world_is(rules_problem="No RuleSet http.").settle()
    story.phase_is(Phase.FAILED, "InvalidRules").says("No RuleSet http. Traffic never moved.")


def test_a_release_keeps_the_rules_and_the_application_that_it_started_with() -> None:
    story = given().until(Phase.WATCHING).world_is(app=None, rules=(), rules_problem="all gone")
    story.world_is(app=given().world.app).rules_say("rollback").to_the_end().phase_is(Phase.ROLLED_BACK)
    assert story.status.pinned
    assert story.status.pinned.rules == (rule(),)
