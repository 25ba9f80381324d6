"""What becomes of a Release when somebody changes or deletes what it rests on, in each phase: its end or its remark,
with a reason for programs and a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.core.lifecycle.stages import (
    AFTER,
    BEFORE,
    after_the_flip,
    before_the_flip,
    by_hand,
    flipped_back_unread,
    going_back,
    intended,
)
from tests.core.lifecycle.story import Story, given
from watcher.core.effects import SwapSelector
from watcher.core.release import Phase

OTHER = "registry.example/chat:9.9.9"
TESTED = [Phase.TESTING, Phase.AWAITING_APPROVAL, Phase.SWITCHING]

in_each_before = pytest.mark.parametrize("phase", BEFORE)
once_tested = pytest.mark.parametrize("phase", TESTED)
in_each_after = pytest.mark.parametrize("phase", AFTER)


# -- the Deployment that is released to -------------------------------------------------------------------------------


@in_each_before
def test_an_idle_deployment_that_is_deleted_ends_the_release(phase: Phase) -> None:
    story = before_the_flip(phase).color("green", exists=False).settle()
    story.phase_is(Phase.FAILED, "NoDeployment").traffic_is_on("blue")
    story.says("Deployment chatbot-green was deleted").never_did(SwapSelector)


@once_tested
def test_an_idle_deployment_that_is_changed_after_its_rollout_does_not_go_live(phase: Phase) -> None:
    story = before_the_flip(phase).color("green", image=OTHER).settle()
    story.phase_is(Phase.FAILED, "DeploymentChanged").traffic_is_on("blue").never_did(SwapSelector)
    story.says("Somebody else changed Deployment chatbot-green", f"container chat has {OTHER}", "ask for a new Release")


@once_tested
def test_a_colour_that_cannot_be_seen_has_not_been_changed(phase: Phase) -> None:
    story = before_the_flip(phase).color("green", seen=False).settle().phase_is(phase)
    story.color("green", seen=True).person("approve").to_the_end().phase_is(Phase.COMPLETED)


def test_a_change_while_it_deploys_is_put_right() -> None:
    before_the_flip(Phase.DEPLOYING).color("green", image=OTHER).until(Phase.TESTING)


def test_somebody_who_keeps_changing_it_back_is_named_at_the_deadline() -> None:
    story = given()
    while story.release.phase in (Phase.PENDING, Phase.DEPLOYING):
        story.take_step()
        story.color("green", image=OTHER)
        story.world = story.world.later(5)
    story.phase_is(Phase.FAILED, "DeployDeadline")
    story.says(f"container chat has {OTHER}", "somebody else (GitOps, a person) keeps taking it back")


@in_each_after
def test_a_live_deployment_that_is_deleted_sends_traffic_back(phase: Phase) -> None:
    story = after_the_flip(phase).color("green", exists=False, ready=0, sick=True).to_the_end()
    story.phase_is(Phase.ROLLED_BACK, "pods/NoEndpoints").traffic_is_on("blue")
    story.says("as Deployment chatbot-green was deleted")


def test_a_live_deployment_that_is_changed_is_told_and_watched_on() -> None:
    story = after_the_flip(Phase.WATCHING).color("green", image=OTHER).settle().phase_is(Phase.WATCHING)
    assert story.condition("Changed")
    story.telling("attention/DeploymentChanged", "Somebody changed Deployment chatbot-green (green)", OTHER)
    story.to_the_end().phase_is(Phase.COMPLETED).traffic_is_on("green")


def test_a_live_deployment_that_is_put_back_is_no_longer_told() -> None:
    story = after_the_flip(Phase.WATCHING)
    image = story.world.green.image
    story.color("green", image=OTHER).settle()
    story.color("green", image=image).settle()
    assert not story.condition("Changed")


# -- the Deployment that is the way back ------------------------------------------------------------------------------


@in_each_before
def test_a_live_deployment_that_goes_before_the_switch_holds_nothing_up(phase: Phase) -> None:
    story = before_the_flip(phase).color("blue", exists=False, ready=0, sick=True)
    story.person("approve").until(Phase.WATCHING).traffic_is_on("green")


def test_a_way_back_that_is_deleted_is_told_with_its_cure() -> None:
    story = after_the_flip(Phase.WATCHING).color("blue", exists=False, ready=0, sick=True).settle()
    assert story.condition("WayBackLost")
    story.telling("way-back-lost", "Deployment chatbot-blue, which does not exist")
    story.telling("attention/WayBackChanged", "Somebody deleted Deployment chatbot-blue (blue): create it again")


def test_a_way_back_that_is_changed_is_told() -> None:
    story = after_the_flip(Phase.WATCHING).color("blue", image=OTHER).settle()
    story.telling("attention/WayBackChanged", f"container chat has {OTHER}", "A rollback would go there")


def test_a_rollback_to_a_deployment_that_is_gone_says_to_create_it_and_goes_on_then() -> None:
    story = going_back().color("blue", exists=False).time_passes(60).phase_is(Phase.ROLLING_BACK)
    story.says("create Deployment chatbot-blue")
    assert story.condition("NeedsAttention")
    story.color("blue", exists=True).color_recovers("blue").to_the_end().phase_is(Phase.ROLLED_BACK)


# -- the live Service -------------------------------------------------------------------------------------------------


@in_each_before
def test_a_service_that_is_deleted_before_the_switch_ends_the_release(phase: Phase) -> None:
    before_the_flip(phase).world_is(service=False).settle().phase_is(Phase.FAILED, "NoService").says("was deleted")


SWITCHED: list[Callable[[], Story]] = [
    lambda: after_the_flip(Phase.VERIFYING),
    lambda: after_the_flip(Phase.WATCHING),
    going_back,
]
once_switched = pytest.mark.parametrize("begin", SWITCHED, ids=["verifying", "watching", "rolling-back"])


@once_switched
def test_a_service_that_is_deleted_after_the_switch_is_waited_for(begin: Callable[[], Story]) -> None:
    found = begin()
    phase = found.release.phase
    found.world_is(service=False).time_passes(600).phase_is(phase)
    assert found.condition("NeedsAttention")
    found.says("create it again").world_is(service=True).color_recovers("blue").to_the_end()
    found.phase_is(Phase.ROLLED_BACK if phase is Phase.ROLLING_BACK else Phase.COMPLETED)


def test_a_service_that_is_made_again_with_the_old_colour_is_respected() -> None:
    story = after_the_flip(Phase.WATCHING).world_is(service=False).settle()
    story.world_is(service=True, selector="blue", mark="").settle().phase_is(Phase.SUPERSEDED).traffic_is_on("blue")


SELECTORS = pytest.mark.parametrize("selector", ["", "purple"], ids=["missing", "unknown"])


@SELECTORS
@in_each_before
def test_a_selector_without_a_known_colour_ends_a_release_before_the_switch(phase: Phase, selector: str) -> None:
    story = before_the_flip(phase).person_moves_selector(selector).settle()
    story.phase_is(Phase.SUPERSEDED, "SelectorMoved").traffic_is_on(selector).says(
        f"color is {selector or '(nothing)'}, blue was expected", "put it right with: kubectl patch service"
    )


@SELECTORS
@once_switched
def test_a_selector_without_a_known_colour_ends_a_release_after_the_switch(
    begin: Callable[[], Story], selector: str
) -> None:
    story = begin().person_moves_selector(selector).to_the_end()
    story.phase_is(Phase.SUPERSEDED, "SelectorMoved").traffic_is_on(selector)
    story.says("green was expected", '"color":"green"')


@SELECTORS
@pytest.mark.parametrize("begin", [intended, flipped_back_unread, by_hand], ids=["intended", "flipped-back", "by-hand"])
def test_a_selector_without_a_known_colour_never_leads_to_a_flip(begin: Callable[..., Story], selector: str) -> None:
    story = begin()
    flips = story.world.made
    story.person_moves_selector(selector).to_the_end()
    assert story.release.phase in (Phase.SUPERSEDED, Phase.FAILED)
    assert story.world.made == flips
    assert selector == story.world.selector


# -- the Application's file -------------------------------------------------------------------------------------------


def test_an_application_that_is_removed_is_told_and_the_release_goes_on() -> None:
    story = after_the_flip(Phase.WATCHING).world_is(removed=True).settle()
    story.telling("application-removed", "No file defines this Application any more", "goes on to its end")
    story.to_the_end().phase_is(Phase.COMPLETED)


def test_an_application_that_is_there_is_not_told() -> None:
    given().to_the_end().silent_about("application-removed")
