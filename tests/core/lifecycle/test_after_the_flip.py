"""Verifying and Watching: what sends traffic back, what holds, and what is a pass (S7, S8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tests.core.lifecycle.stages import (
    AFTER,
    after_the_flip,
    before_the_flip,
)
from tests.core.lifecycle.story import given
from tests.core.lifecycle.world import BREACH, START, report, rule
from watcher.core.evaluation import Outcome
from watcher.core.lifecycle import step
from watcher.core.observed import ContainerView, WatchReading
from watcher.core.release import Phase


@pytest.mark.parametrize("phase", AFTER)
@pytest.mark.parametrize("command", ["abort", "rollback"])
def test_a_person_can_send_traffic_back_at_once_in_every_phase_after_the_flip(phase: Phase, command: str) -> None:
    story = after_the_flip(phase).person(command).settle()  # type: ignore[arg-type]
    story.phase_is(Phase.ROLLED_BACK, "manual").flips_are("green", "blue")
    story.says("Rolled back from green (2.4.1) to blue (2.4.0): asked for by dana (bad answers); traffic returned")


@pytest.mark.parametrize("phase", AFTER)
def test_a_selector_that_a_person_moved_after_the_flip_is_respected(phase: Phase) -> None:
    story = after_the_flip(phase).person_moves_selector("blue").settle()
    story.phase_is(Phase.SUPERSEDED).traffic_is_on("blue").flips_are("green").says("color is blue, green was expected")
    assert story.status.keep is None


@pytest.mark.parametrize("phase", AFTER)
def test_a_service_that_is_deleted_after_the_flip_is_shouted_about_until_it_is_there_again(phase: Phase) -> None:
    story = after_the_flip(phase).world_is(service=False).time_passes(30).phase_is(phase)
    story.telling("attention/NoService", "was deleted: create it again").says("was deleted")
    assert story.condition("NeedsAttention")
    story.world_is(service=True).settle()
    assert not story.condition("NeedsAttention")
    story.to_the_end().phase_is(Phase.COMPLETED)


@pytest.mark.parametrize("phase", AFTER)
def test_an_api_server_that_cannot_answer_decides_nothing_after_the_flip(phase: Phase) -> None:
    story = after_the_flip(phase).world_is(service_known=False).time_passes(20).phase_is(phase)
    story.world_is(service_known=True).to_the_end().phase_is(Phase.COMPLETED)


@pytest.mark.parametrize("phase", AFTER)
def test_a_pod_that_crashes_after_the_flip_sends_traffic_back_without_prometheus(phase: Phase) -> None:
    story = after_the_flip(phase, asked=None).rules_say("hold").color_dies("green", crashed=True).settle()
    story.phase_is(Phase.ROLLED_BACK, "pods/Crashed")
    story.says("containers of green failed once since the flip (limit 0), last chat of pod chatbot-green-0; traffic")


def test_a_pod_that_ran_out_of_memory_is_named_so() -> None:
    killed = ContainerView("chat", restarts=1, exit_code=137, reason="OOMKilled")
    story = after_the_flip(Phase.WATCHING).color("green", container=killed).settle()
    story.phase_is(Phase.ROLLED_BACK, "pods/OutOfMemory").says("(OOMKilled, exit code 137)")
    ended = ContainerView("chat", restarts=2, reason="Error")
    story = after_the_flip(Phase.WATCHING).color("green", container=ended).settle()
    story.phase_is(Phase.ROLLED_BACK, "pods/Crashed").says("failed 2 times", "(Error)")


def test_crashes_up_to_the_limit_and_from_before_the_flip_do_not_count() -> None:
    watch = {"watch": {"duration": "60s", "interval": "10s", "rules": ["http"], "pods": {"restarts": 1}}}
    story = after_the_flip(Phase.WATCHING, watch).color("green", restarts=1).to_the_end()
    story.phase_is(Phase.COMPLETED)
    story = before_the_flip(Phase.SWITCHING).color("green", restarts=7).to_the_end().phase_is(Phase.COMPLETED)
    assert story.status.pinned
    assert list(story.status.pinned.restarts.values()) == [7]


def test_a_pod_that_is_told_to_stop_may_end_with_any_code() -> None:
    story = after_the_flip(Phase.WATCHING)
    pods = story.world.green.view(endpoints=True).pods
    leaving = replace(
        pods[0],
        name="leaving",
        uid="leaving",
        ready=False,
        deleting=True,
        containers=(ContainerView("chat", ended_now=True, exit_code=143),),
    )
    story.color("green", pods=(*pods, leaving)).to_the_end().phase_is(Phase.COMPLETED)


def test_pods_that_stay_unready_send_traffic_back_after_their_limits() -> None:
    story = after_the_flip(Phase.WATCHING)
    story.color("green", ready=1, sick=True, changed_at=story.world.now)
    story.world_is(green=story.world.green).time_passes(20).phase_is(Phase.WATCHING)
    pods = story.world.green.view(endpoints=True).pods
    assert [pod.ready for pod in pods] == [True, False]
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "pods/NotReady").says("pod chatbot-green-1 has not been ready for")
    story = after_the_flip(Phase.WATCHING).color_dies("green").time_passes(2).phase_is(Phase.WATCHING)
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "pods/NoEndpoints").says("green has had no ready endpoint for")


def test_a_colour_that_cannot_be_seen_after_the_flip_is_neither_sick_nor_well() -> None:
    story = after_the_flip(Phase.WATCHING).color("green", seen=False).time_passes(300).phase_is(Phase.WATCHING)
    story.color("green", seen=True).to_the_end().phase_is(Phase.COMPLETED)
    story = after_the_flip(Phase.VERIFYING).color("green", seen=False).time_passes(300).phase_is(Phase.VERIFYING)
    story.color("green", seen=True).to_the_end().phase_is(Phase.COMPLETED)


def test_a_colour_that_never_keeps_an_endpoint_goes_back_at_the_deadline_of_verifying() -> None:
    story = after_the_flip(Phase.VERIFYING)
    for _ in range(60):
        story.color("green", ready=0, sick=True, changed_at=story.world.now)
        story.take_step()
        story.world = story.world.later(1)
        if story.release.phase is Phase.ROLLING_BACK:
            break
    story.phase_is(Phase.ROLLING_BACK, "VerifyDeadline").says("green did not keep a ready endpoint within 30s.")


def test_the_preview_follows_the_idle_colour_after_the_flip_and_after_a_rollback() -> None:
    story = given().to_the_end()
    assert story.world.preview == "blue"
    story = given().until(Phase.WATCHING).rules_say("rollback").to_the_end()
    assert story.world.preview == "green"


def test_a_preview_whose_pointing_got_lost_is_pointed_during_the_watch() -> None:
    story = after_the_flip(Phase.WATCHING).world_is(preview="green").time_passes(30)
    assert story.world.preview == "blue"


def test_the_watch_shows_its_rules_and_writes_only_when_something_changes_or_at_the_heartbeat() -> None:
    watch = {"watch": {"duration": "30m", "interval": "10s", "rules": ["http"]}}
    story = after_the_flip(Phase.WATCHING, watch).time_passes(60).says("Watches 2.4.1 on green until", ": 1 pass.")
    writes = story.writes
    story.time_passes(600)
    assert story.writes - writes <= 11
    assert story.status.rules[0].name == "http/error-rate"


def test_a_watch_that_was_not_asked_yet_says_only_until_when() -> None:
    story = after_the_flip(Phase.WATCHING).killed().settle().says("Watches 2.4.1 on green until", "UTC.")
    story.to_the_end().phase_is(Phase.COMPLETED)


def test_a_breach_seen_after_a_gap_says_how_late() -> None:
    late = WatchReading((report(Outcome.BREACH),), "rollback", (BREACH,), late=95.0)
    story = after_the_flip(Phase.WATCHING).world_is(reading=late).settle()
    story.phase_is(Phase.ROLLED_BACK).says(f"{BREACH} (seen 95 s late, after a gap); traffic returned")


def test_of_several_breaches_the_first_one_is_told() -> None:
    second = report(Outcome.BREACH, "http/a", message="a later one", breached_at=START.timestamp() + 10)
    both = WatchReading((second, report(Outcome.BREACH)), "rollback")
    story = after_the_flip(Phase.WATCHING, rules=(rule(), rule("http/a"))).world_is(reading=both).settle()
    story.phase_is(Phase.ROLLED_BACK, "rule/http/error-rate").says(BREACH)


def test_a_verdict_without_a_report_is_obeyed() -> None:
    story = after_the_flip(Phase.WATCHING).world_is(reading=WatchReading((), "rollback", ("it is bad",))).settle()
    story.phase_is(Phase.ROLLED_BACK, "rules").says("it is bad; traffic returned")
    story = after_the_flip(Phase.WATCHING).world_is(reading=WatchReading((), "rollback")).settle()
    story.phase_is(Phase.ROLLED_BACK, "rules").says("the rules say so")


def test_blindness_holds_and_says_so_and_is_neither_failure_nor_success() -> None:
    story = after_the_flip(Phase.WATCHING).rules_say("hold").time_passes(20).phase_is(Phase.WATCHING)
    story.says("; blind, so it holds: error-rate: noData.").telling("blind", "The watch is blind")
    assert story.condition("Blind")
    story.time_passes(600).phase_is(Phase.WATCHING).flips_are("green")
    assert story.status.extended


def test_an_inconclusive_watch_extends_once_then_holds_and_completes_when_enough_was_seen() -> None:
    story = after_the_flip(Phase.WATCHING).rules_say("hold").time_passes(70)
    assert story.status.extended
    story.telling("extended", "The watch saw too little and is extended until").time_passes(120)
    story.says("Holds: error-rate: noData. Both colours stay up. Go back with: watcher release abort")
    story.telling("attention/Inconclusive", "Holds")
    assert story.condition("NeedsAttention")
    assert story.status.verdict == "inconclusive"
    writes = story.writes
    story.time_passes(600)
    assert story.writes - writes <= 11
    story.rules_say("pass").to_the_end().phase_is(Phase.COMPLETED).flips_are("green")
    assert not story.condition("NeedsAttention")


def test_a_watch_that_holds_still_goes_back_for_a_breach_or_a_person() -> None:
    holds = after_the_flip(Phase.WATCHING).rules_say("hold").time_passes(300).says("Holds:")
    holds.rules_say("rollback").to_the_end().phase_is(Phase.ROLLED_BACK, "rule/http/error-rate")
    assert not holds.condition("NeedsAttention")
    holds = after_the_flip(Phase.WATCHING).rules_say("hold").time_passes(300).says("Holds:")
    holds.person("abort").to_the_end().phase_is(Phase.ROLLED_BACK, "manual")


def test_on_inconclusive_rollback_goes_back_after_the_extension() -> None:
    watch = {"duration": "60s", "interval": "10s", "rules": ["http"], "onInconclusive": "rollback"}
    story = after_the_flip(Phase.WATCHING, {"watch": watch}).rules_say("hold").to_the_end()
    story.phase_is(Phase.ROLLED_BACK, "inconclusive").says("the watch stayed inconclusive: error-rate: noData; traffic")


def test_a_watch_whose_last_answers_never_come_does_not_pass() -> None:
    story = after_the_flip(Phase.WATCHING)
    story.world_is(reading=WatchReading((report(Outcome.PASS),), "pass", ("1 rule passes",), ended=False))
    story.time_passes(400).phase_is(Phase.WATCHING).says("Holds: the last evaluations got no answer.")
    story.world_is(reading=WatchReading((report(Outcome.PASS),), "inconclusive", (), ended=True)).time_passes(70)
    story.says("Holds: too little was seen.")


def last_look(outcome: Outcome) -> WatchReading:
    """The watch has ended, enough was seen of it, and this is what its last evaluation gave."""
    return WatchReading((report(outcome),), "pass", ("1 rule passes",), ended=True)


def test_a_watch_whose_last_look_saw_nothing_waits_for_one_that_sees() -> None:
    story = after_the_flip(Phase.WATCHING).world_is(reading=last_look(Outcome.ERROR)).time_passes(90)
    story.phase_is(Phase.WATCHING).says(
        "its time is over, and it completes at the next look that sees; blind: error-rate"
    )
    assert not story.status.extended
    story.world_is(reading=last_look(Outcome.PASS)).to_the_end().phase_is(Phase.COMPLETED).flips_are("green")


def test_what_the_last_look_did_not_see_leads_back_once_it_is_seen() -> None:
    story = after_the_flip(Phase.WATCHING).world_is(reading=last_look(Outcome.NO_DATA)).time_passes(90)
    story.world_is(reading=None).rules_say("rollback").to_the_end().phase_is(Phase.ROLLED_BACK, "rule/http/error-rate")


def test_a_watch_that_holds_does_not_pass_at_a_look_that_saw_nothing() -> None:
    story = after_the_flip(Phase.WATCHING).rules_say("hold").time_passes(300).says("Holds:")
    story.world_is(reading=last_look(Outcome.THIN)).time_passes(60).phase_is(Phase.WATCHING).says("Holds:")
    assert story.condition("NeedsAttention")
    story.world_is(reading=last_look(Outcome.PASS)).to_the_end().phase_is(Phase.COMPLETED)


def test_a_rule_that_sees_nothing_and_moves_no_traffic_keeps_no_watch() -> None:
    story = after_the_flip(Phase.WATCHING, rules=(rule(on_breach="notify"),))
    story.world_is(reading=last_look(Outcome.NO_DATA)).to_the_end().phase_is(Phase.COMPLETED)


def test_a_watch_that_only_observes_ends_with_what_it_would_have_done() -> None:
    watch = {"duration": "60s", "interval": "10s", "rules": ["http"], "mode": "observe"}
    story = after_the_flip(Phase.WATCHING, {"watch": watch}, rules=(rule(mode="observe"), rule("http/a")))
    reports = (report(Outcome.BREACH), report(Outcome.PASS, "http/a"))
    story.world_is(reading=WatchReading(reports, "pass", ("1 rule passes",), ended=True)).to_the_end()
    story.phase_is(Phase.COMPLETED).says(
        "passed its watch; an enforcing watch would have gone back for http/error-rate."
    )


def test_without_rules_the_pods_alone_decide() -> None:
    watch = {"duration": "60s", "interval": "10s"}
    after_the_flip(Phase.WATCHING, {"watch": watch}, rules=()).to_the_end().phase_is(Phase.COMPLETED)
    story = after_the_flip(Phase.WATCHING, {"watch": watch}, rules=())
    story.color_dies("green", crashed=True).to_the_end().phase_is(Phase.ROLLED_BACK)


@pytest.mark.parametrize(
    ("on_breach", "mode", "words"),
    [("notify", "enforce", "; it only notifies."), ("rollback", "observe", " for 30 s.")],
)
def test_a_breach_that_moves_no_traffic_is_told(on_breach: str, mode: str, words: str) -> None:
    story = after_the_flip(Phase.WATCHING, rules=(rule(on_breach=on_breach, mode=mode),))
    story.world_is(reading=WatchReading((report(Outcome.BREACH),), "pass", ended=True)).to_the_end()
    story.phase_is(Phase.COMPLETED).flips_are("green").telling("breach/http/error-rate", BREACH, words)


def test_a_breach_that_is_only_observed_and_a_rule_that_nobody_knows_are_not_told() -> None:
    story = after_the_flip(Phase.WATCHING, rules=(rule(on_breach="observe"),))
    reports = (report(Outcome.BREACH), report(Outcome.BREACH, "http/stranger"))
    story.world_is(reading=WatchReading(reports, "pass", ended=True)).to_the_end()
    story.phase_is(Phase.COMPLETED).silent_about("breach")


def test_pods_that_seem_ready_without_an_endpoint_count_from_when_that_was_seen() -> None:
    """The slices may be seen before the pods: what lasts a moment is no trouble, what lasts is."""
    story = after_the_flip(Phase.WATCHING).time_passes(20)
    seen = story.world.now

    def look(seconds: float, since: datetime | None) -> Phase:
        story.world = story.world.later(seconds)
        observed = story.world.observe(story.release)
        side = replace(observed.colors["green"], endpoints=0, silent_since=since)
        found, _ = step(story.release, replace(observed, colors={**observed.colors, "green": side}), story.world.now)
        return found.phase

    assert look(0, seen) is Phase.WATCHING
    assert look(2, seen) is Phase.WATCHING
    assert look(2, seen) is Phase.ROLLING_BACK
    assert look(0, None) is Phase.WATCHING


def test_a_pause_holds_the_end_of_the_watch_and_nothing_else() -> None:
    story = after_the_flip(Phase.WATCHING).person("pause").time_passes(600).phase_is(Phase.WATCHING).says("Paused by")
    story.person_withdraws("pause").settle().phase_is(Phase.COMPLETED)
    watch = {"watch": {"duration": "30m", "interval": "10s", "rules": ["http"]}}
    story = after_the_flip(Phase.WATCHING, watch).person("pause").time_passes(15).person_withdraws("pause").settle()
    story.says("Watches 2.4.1")


def test_a_watch_does_not_complete_in_the_very_moment_in_which_the_pods_are_unready() -> None:
    story = after_the_flip(Phase.WATCHING)
    assert story.status.watch_until
    story.time_passes((story.status.watch_until - story.world.now).total_seconds() - 0.5).color_dies("green")
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "pods/NoEndpoints")
