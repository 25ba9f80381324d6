"""The scenarios of the guide, told with given, when and then."""

from __future__ import annotations

import pytest

from tests.core.lifecycle.story import given
from tests.core.lifecycle.world import NEW, OLD
from watcher.core.effects import Deploy, RunCheck, Scale, SwapSelector
from watcher.core.release import Command, Phase

LIFE = [
    Phase.PENDING,
    Phase.DEPLOYING,
    Phase.TESTING,
    Phase.SWITCHING,
    Phase.VERIFYING,
    Phase.WATCHING,
    Phase.COMPLETED,
]


def test_scenario_1_a_good_version_is_deployed_to_the_idle_colour_tested_switched_and_watched() -> None:
    story = given().to_the_end()
    assert story.phases == LIFE
    story.traffic_is_on("green").flips_are("green").says("Completed: 2.4.1 serves on green")
    story.did(Deploy, deployment="chatbot-green", images={"chat": NEW}, replicas=2, version="2.4.1")
    story.never_did(Scale)
    assert story.status.verdict == "pass"
    assert story.told["flip/1"].message == "Traffic moved from blue (2.4.0) to green (2.4.1)."
    assert story.told["end"].severity == "info"


def test_scenario_1_the_checks_run_in_their_order_against_preview_live_and_pods() -> None:
    story = given().to_the_end()
    order = [effect.id for effect in story.effects if isinstance(effect, RunCheck)]
    assert list(dict.fromkeys(order)) == [
        "smoke/0/preview",
        "verification/chat/preview",
        "health/0/preview",
        "live/0/live",
        "live/0/pods",
    ]
    assert all(effect.color == "green" for effect in story.effects if isinstance(effect, RunCheck))


@pytest.mark.parametrize("check", ["smoke/0/preview", "verification/chat/preview", "health/0/preview"])
def test_scenario_2_a_failed_test_ends_the_release_with_traffic_where_it_was_and_the_team_told(check: str) -> None:
    story = given(fails={check: "no model loaded"}).to_the_end()
    story.phase_is(Phase.FAILED, "TestsFailed").traffic_is_on("blue").flips_are().never_did(SwapSelector)
    story.says(f"Check {check} of 2.4.1 failed: got status 500 (it answered: no model loaded). Traffic never moved")
    story.telling("end", check)
    assert story.told["end"].severity == "warning"


def test_scenario_3_monitoring_detects_errors_and_traffic_goes_back_with_the_whole_story_in_one_sentence() -> None:
    story = given().until(Phase.WATCHING).rules_say("rollback").to_the_end()
    story.phase_is(Phase.ROLLED_BACK, "rule/http/error-rate").traffic_is_on("blue").flips_are("green", "blue")
    assert story.status.message == (
        "Rolled back from green (2.4.1) to blue (2.4.0): error-rate was 4.2% (limit 1%) for 30 s; "
        "traffic returned 0.0 s after the verdict."
    )
    assert story.status.rules[0].outcome == "breach"
    assert story.status.rejected == {"chat": NEW}
    evidence = story.told["verdict"].evidence
    assert (evidence["value"], evidence["threshold"], evidence["query"]) == (0.042, "> 1%", "error_ratio")
    assert [flip.reason for flip in story.status.flips] == ["switch", "rule/http/error-rate"]
    assert story.told["end"].severity == "critical"


@pytest.mark.parametrize("check", ["live/0/live", "live/0/pods"])
def test_scenario_3_health_checks_that_fail_after_the_switch_send_traffic_back(check: str) -> None:
    story = given(fails={check: "down"}).to_the_end()
    story.phase_is(Phase.ROLLED_BACK, f"check/{check}").traffic_is_on("blue").flips_are("green", "blue")
    story.says(f"check {check} failed: got status 500 (it answered: down); traffic returned")
    assert story.status.checks[-1].ok is False


def test_the_rollback_procedure_by_hand_works_with_no_release_running() -> None:
    by_hand = {"images": {}, "version": "", "rollback": Command(by="dana", reason="complaints")}
    story = given(asked=by_hand, blue=given().world.blue, green=given().world.green).to_the_end()
    assert story.phases == [Phase.PENDING, Phase.ROLLING_BACK, Phase.ROLLED_BACK]
    story.traffic_is_on("green").flips_are("green")
    story.says("Rolled back from blue (2.4.0) to green (2.3.9): asked for by dana (complaints); traffic returned")
    assert story.status.rejected == {"chat": OLD}
