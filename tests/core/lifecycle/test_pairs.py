"""Several pairs of one Application: flipped in order, rolled back in reverse order, all or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.core.lifecycle.explore import at_the_switch, beginning, explore
from tests.core.lifecycle.pairs import (
    BACK,
    BY_HAND,
    FORTH,
    at_the_flip,
    both,
    half_intended,
    half_way,
    person_moves_worker,
    selectors,
    worker_dies,
    worker_is,
)
from tests.core.lifecycle.story import Story
from tests.core.lifecycle.world import ALSO, BOTH, OLD, START, worker
from watcher.core.effects import Deploy, PointPreview, Scale, SwapSelector
from watcher.core.release import ForeignFlip, Phase

# -- in order ---------------------------------------------------------------------------------------------------------


def test_all_pairs_are_deployed_previewed_and_flipped_in_order() -> None:
    story = both().to_the_end().phase_is(Phase.COMPLETED)
    assert story.world.made == FORTH
    assert [(flip.service, flip.index) for flip in story.status.flips] == [("chatbot-platform", 1), ("worker", 2)]
    story.did(Deploy, deployment="chatbot-green", images={"chat": BOTH["chat"]})
    story.did(Deploy, deployment="worker-green", images={"work": BOTH["work"]})
    story.did(PointPreview, service="chatbot-preview", color="green")
    story.did(PointPreview, service="worker-preview", color="green")
    assert [pair.preview for pair in story.world.pairs] == ["blue", "blue"]
    story.telling("flip/1", "Traffic of Service chatbot-platform moved from blue").telling(
        "flip/2", "of Service worker"
    )


def test_all_pairs_go_back_in_reverse_order() -> None:
    story = both().until(Phase.WATCHING).rules_say("rollback").to_the_end().phase_is(Phase.ROLLED_BACK)
    assert story.world.made == (*FORTH, *BACK)
    assert [flip.service for flip in story.status.flips[2:]] == ["worker", "chatbot-platform"]
    assert [pair.preview for pair in story.world.pairs] == ["green", "green"]


def test_a_rollback_by_hand_takes_all_pairs() -> None:
    story = both({}, BY_HAND).to_the_end().phase_is(Phase.ROLLED_BACK)
    assert story.world.made == ("worker/green", "green")
    assert story.status.rejected == {"chat": OLD, "work": "registry.example/work:2.4.0"}


def test_each_pair_gets_the_size_of_its_own_live_colour() -> None:
    three = replace(worker().blue, replicas=3, ready=3)
    story = both(worker=worker(blue=three)).until(Phase.TESTING)
    story.did(Deploy, deployment="worker-green", replicas=3).did(Deploy, deployment="chatbot-green", replicas=2)


def test_the_idle_colour_of_every_pair_makes_room_after_the_keep_time() -> None:
    story = both().to_the_end().time_passes(290).never_did(Scale).time_passes(60)
    story.did(Scale, deployment="chatbot-blue", replicas=0).did(Scale, deployment="worker-blue", replicas=0)
    assert story.status.keep
    assert story.status.keep.done


def test_a_pair_that_a_person_moved_during_the_keep_time_keeps_every_colour() -> None:
    story = both().to_the_end()
    person_moves_worker(story, "blue").time_passes(400).never_did(Scale)


def test_the_deployment_of_every_pair_is_waited_for_by_name() -> None:
    sick = replace(worker().green, sick=True, ready=0)
    story = both(worker=worker(green=sick)).until(Phase.DEPLOYING).time_passes(20)
    story.says("Deploys 2.4.1 to green: worker-green: ", "0 ready.").to_the_end()
    story.phase_is(Phase.FAILED, "DeployDeadline").says("worker-green:")


def test_a_check_is_about_the_pair_whose_service_it_names() -> None:
    without = {key: value for key, value in ALSO.items() if key != "preview"}
    tests = {"smoke": [{"http": {"path": "/healthz"}}, {"name": "queue", "service": "worker", "tcp": {"port": 5672}}]}
    story = both({"tests": tests}).to_the_end().phase_is(Phase.COMPLETED)
    assert [check.id for check in story.status.checks] == ["smoke/0/preview", "smoke/queue/preview"]
    story = both({"tests": tests, "also": [without]}).to_the_end().phase_is(Phase.COMPLETED)
    assert [check.id for check in story.status.checks] == ["smoke/0/preview", "smoke/queue/pods"]


# -- refused ----------------------------------------------------------------------------------------------------------

NO_GREEN = replace(worker().green, exists=False)


@pytest.mark.parametrize(
    ("asked", "world", "reason", "says"),
    [
        ({}, {"worker": worker(selector="green")}, "ColorsDiffer", "colours: chatbot-platform blue, worker green."),
        ({}, {"worker": worker(selector="")}, "NoActiveColor", "Service worker selects color=(nothing)"),
        ({}, {"worker": worker(service=False)}, "NoService", "Service worker does not exist"),
        ({}, {"worker": worker(green=NO_GREEN)}, "NoDeployment", "Deployment worker-green (green) does not exist"),
        (BY_HAND, {"worker": worker(green=NO_GREEN)}, "NoDeployment", "worker-green does not exist: nothing to go"),
        ({"images": {"chat": "x:1"}}, {}, "NoImages", "none for Deployment worker-green: say which its container work"),
        (
            {"images": {**BOTH, "wrok": "x:1"}},
            {},
            "UnknownContainer",
            "No Deployment has a container 'wrok': chatbot-green has chat; worker-green has work.",
        ),
    ],
    ids=["mixed", "no colour", "no service", "no deployment", "nothing to go back to", "no image", "no container"],
)
def test_what_cannot_be_for_one_pair_is_refused_for_all(
    asked: dict[str, Any], world: dict[str, Any], reason: str, says: str
) -> None:
    both({}, asked, **world).settle().phase_is(Phase.FAILED, reason).says(says)


def test_a_container_that_somebody_takes_away_meanwhile_ends_the_deployment() -> None:
    story = both().until(Phase.DEPLOYING)
    other = replace(worker().green, holds="another")
    worker_is(story, green=other).settle()
    story.phase_is(Phase.FAILED, "UnknownContainer").says("No Deployment has a container 'work'")


# -- all or none ------------------------------------------------------------------------------------------------------


def test_nothing_is_flipped_while_one_pair_is_not_ready() -> None:
    story = at_the_flip()
    worker_dies(story, "green").settle().says("Waits: green of Service worker is not ready any more.")
    story.to_the_end().phase_is(Phase.FAILED, "NotReady").says("green of Service worker was ready, and is not any more")
    assert story.world.made == ()


def test_a_second_pair_that_does_not_get_ready_brings_the_first_one_back() -> None:
    story = worker_dies(half_way(), "green").settle()
    story.says("Waits: green of Service worker is not ready any more.")
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "NotReady")
    story.says("green of Service worker was ready, and is not any more; it did not recover within 30s")
    assert story.world.made == ("green", "blue")
    assert selectors(story) == ("blue", "blue")


def test_a_second_flip_that_the_api_server_never_takes_brings_the_first_one_back() -> None:
    story = half_intended()
    for _ in range(41):
        story.take_step(carry_out=False)
        story.world = story.world.later(1)
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "SwitchDeadline")
    story.says("The flip of Service worker to green did not happen within 30s")
    assert story.world.made == ("green", "blue")


def test_an_intended_second_flip_waits_for_endpoints() -> None:
    story = worker_dies(half_intended(), "green").settle()
    story.says("Waits: green of Service worker has no ready endpoints any more.")
    assert story.world.worker
    story.world_is(worker=story.world.worker.with_side(story.world.worker.green.recovers(story.world.now)))
    story.to_the_end().phase_is(Phase.COMPLETED)
    assert story.world.made == FORTH


@pytest.mark.parametrize("story", [half_way, half_intended])
def test_a_selector_moved_to_nowhere_between_the_flips_brings_the_first_one_back(story: Any) -> None:
    found: Story = person_moves_worker(story(), "").to_the_end().phase_is(Phase.SUPERSEDED, "SelectorMoved")
    found.says("selector of Service worker: color is (nothing), blue was expected", "chatbot-platform blue, worker (no")
    assert found.world.made == ("green", "blue")
    assert selectors(found) == ("blue", "")
    found.telling("attention/MixedColors", "Let them select the same one: kubectl patch service NAME -n prod -p")


@pytest.mark.parametrize("story", [half_way, half_intended])
def test_a_selector_that_a_person_moved_to_the_new_colour_itself_leaves_nothing_mixed(story: Any) -> None:
    found: Story = person_moves_worker(story(), "green").to_the_end().phase_is(Phase.SUPERSEDED, "SelectorMoved")
    assert selectors(found) == ("green", "green")
    assert not found.condition("NeedsAttention")


@pytest.mark.parametrize("story", [half_way, half_intended])
def test_a_service_deleted_between_the_flips_brings_the_first_one_back(story: Any) -> None:
    found: Story = worker_is(story(), service=False).to_the_end().phase_is(Phase.ROLLED_BACK, "NoService")
    found.says("Service worker was deleted while traffic moved")
    assert found.world.made == ("green", "blue")


def test_the_first_service_deleted_between_the_flips_is_asked_for_and_the_rest_goes_back() -> None:
    story = half_intended().world_is(service=False).time_passes(20).phase_is(Phase.ROLLING_BACK)
    story.says("Rolling back, and Service chatbot-platform is gone: create it again, selecting blue.")
    assert story.world.made == ("green",)
    story.world_is(service=True).to_the_end().phase_is(Phase.ROLLED_BACK, "NoService")
    assert selectors(story) == ("blue", "blue")


@pytest.mark.parametrize("command", ["abort", "rollback"])
def test_a_person_who_stops_between_the_flips_gets_the_first_one_back(command: Any) -> None:
    story = half_way().person(command).to_the_end().phase_is(Phase.ROLLED_BACK, "manual")
    assert story.world.made == ("green", "blue")


def test_a_person_who_stops_while_the_second_flip_is_under_way_is_heard_when_it_cannot_land_any_more() -> None:
    story = half_intended().person("abort").settle().says("Aborted by dana (bad answers); waits 10s")
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "manual").says("asked for by dana")
    assert story.world.made == ("green", "blue")


def test_a_stop_that_is_withdrawn_brings_the_first_one_back_all_the_same() -> None:
    story = half_intended().person("abort").settle().person_withdraws("abort").to_the_end()
    story.phase_is(Phase.ROLLED_BACK, "manual").says("it was stopped before all of the traffic had moved")


def test_a_second_flip_that_lands_after_all_goes_back_too() -> None:
    story = half_intended().person("abort").settle()
    assert story.status.intent
    story.world = story.world.done(SwapSelector("worker", story.status.intent), "u1")
    story.to_the_end().phase_is(Phase.ROLLED_BACK, "manual")
    assert story.world.made == (*FORTH, *BACK)


def test_another_service_moved_while_a_flip_is_under_way_is_respected_when_that_cannot_land_any_more() -> None:
    story = at_the_flip()
    story.take_step(carry_out=False)
    person_moves_worker(story, "green").settle().says("Somebody else changed Service worker; waits 10s")
    story.to_the_end().phase_is(Phase.SUPERSEDED, "SelectorMoved")
    assert story.world.made == ()
    story.telling("attention/MixedColors", "chatbot-platform blue, worker green")


def test_another_service_deleted_while_a_flip_is_under_way_ends_the_release_when_that_cannot_land_any_more() -> None:
    story = at_the_flip()
    story.take_step(carry_out=False)
    worker_is(story, service=False).to_the_end().phase_is(Phase.FAILED, "NoService")


def test_neither_a_pause_nor_a_closed_window_nor_broken_rules_stop_between_the_flips() -> None:
    spec = {"windows": [{"days": ["mon"], "from": "14:00", "to": "14:01"}]}
    story = half_way(spec).person("pause")
    story.world = story.world.later(120)
    story.world_is(rules_problem="broken").until(Phase.VERIFYING)
    assert story.world.made == FORTH


# -- after the switch -------------------------------------------------------------------------------------------------


def test_the_pods_of_every_pair_count() -> None:
    story = both().until(Phase.WATCHING)
    assert story.world.worker
    story.world_is(worker=story.world.worker.sick("green", crashed=True)).settle()
    story.phase_is(Phase.ROLLED_BACK, "pods/Crashed").says("last work of pod worker-green-0")
    assert story.world.made == (*FORTH, *BACK)


def test_a_pair_without_endpoints_is_named() -> None:
    story = worker_dies(both().until(Phase.WATCHING), "green").time_passes(5)
    story.phase_is(Phase.ROLLED_BACK, "pods/NoEndpoints").says("green of Service worker has had no ready endpoint")


def test_the_way_back_is_cold_when_that_of_one_pair_is() -> None:
    story = worker_dies(both().until(Phase.WATCHING), "blue").settle()
    story.telling("way-back-lost", "blue of Service worker has no ready pods", "bring up Deployment worker-blue.")


def test_going_back_waits_until_all_can_go_back_and_then_takes_all() -> None:
    story = both().until(Phase.WATCHING).color("blue", replicas=0, ready=0)
    assert story.world.worker
    story = worker_is(story, blue=replace(story.world.worker.blue, replicas=0, ready=0)).rules_say("rollback").settle()
    story.did(Scale, deployment="worker-blue", replicas=2).did(Scale, deployment="chatbot-blue", replicas=2)
    story.telling(
        "attention/RollbackWaits", "blue of Service worker is not ready", "blue of Service chatbot-platform is"
    )
    assert story.world.made == FORTH
    story.to_the_end().phase_is(Phase.ROLLED_BACK)
    assert story.world.made == (*FORTH, *BACK)


def test_a_person_who_moves_one_service_back_is_respected_and_somebody_is_told_that_the_others_differ() -> None:
    story = person_moves_worker(both().until(Phase.WATCHING), "blue").settle()
    story.phase_is(Phase.SUPERSEDED, "SelectorMoved").says("chatbot-platform green, worker blue")
    assert selectors(story) == ("green", "blue")
    assert story.condition("NeedsAttention")
    story.time_passes(120)
    assert story.condition("NeedsAttention")
    story.person_moves_selector("blue").time_passes(40)
    assert not story.condition("NeedsAttention")


def test_a_person_who_moves_one_service_back_during_a_rollback_stops_none_of_the_others() -> None:
    story = both().until(Phase.WATCHING).color_dies("blue").rules_say("rollback").settle()
    story.phase_is(Phase.ROLLING_BACK)
    person_moves_worker(story, "blue").color_recovers("blue").to_the_end().phase_is(Phase.SUPERSEDED)
    assert story.world.made == (*FORTH, "blue")
    assert selectors(story) == ("blue", "blue")


def test_a_person_who_moves_the_last_service_while_it_goes_back_ends_the_rollback() -> None:
    story = both().until(Phase.WATCHING).rules_say("rollback")
    while [flip.service for flip in story.status.flips].count("worker") < 2:
        story.take_step()
    person_moves_worker(story, "green").to_the_end().phase_is(Phase.SUPERSEDED)
    assert story.world.made == (*FORTH, *BACK)
    assert selectors(story) == ("blue", "green")


def test_a_rollback_by_hand_that_has_begun_is_not_called_off_half_way() -> None:
    story = both({}, BY_HAND)
    while not story.status.flips:
        story.take_step()
    story.person("abort").to_the_end().phase_is(Phase.ROLLED_BACK)
    assert story.world.made == ("worker/green", "green")


# -- moved by somebody else while no Release ran -----------------------------------------------------------------------


def foreign(selector: str) -> Story:
    """Somebody has moved the first Service to green, and so far the worker's is where it says."""
    moved = ForeignFlip(from_="blue", to="green", at=START)
    return both({}, {"foreign_flip": moved}, selector="green", preview="green", worker=worker(selector=selector))


def test_somebody_who_moves_the_services_one_after_the_other_has_time_to() -> None:
    story = foreign("blue").time_passes(5).phase_is(Phase.PENDING).says("chatbot-platform green, worker blue")
    person_moves_worker(story, "green").to_the_end().phase_is(Phase.COMPLETED)
    assert [flip.service for flip in story.status.flips] == ["chatbot-platform", "worker"]


def test_a_foreign_flip_of_one_service_alone_is_watched_as_it_is_and_told() -> None:
    story = foreign("blue").to_the_end().phase_is(Phase.COMPLETED)
    assert [flip.service for flip in story.status.flips] == ["chatbot-platform"]
    story.telling("attention/MixedColors", "chatbot-platform green, worker blue")


# -- from every state -------------------------------------------------------------------------------------------------


def test_without_trouble_both_pairs_complete_or_fail_together() -> None:
    assert explore(beginning(0, two=True)).endings == {(Phase.COMPLETED, FORTH), (Phase.FAILED, ())}


@pytest.mark.exhaustive
def test_one_trouble_from_the_switch_on_and_no_two_pairs_are_left_on_different_colours() -> None:
    found = explore(at_the_switch(1, two=True))
    assert found.nodes > 3000
    assert {flips for _, flips in found.endings} == {(), FORTH, (*FORTH, *BACK), ("green", "blue"), ("green",)}
    assert {phase for phase, flips in found.endings if flips == ("green",)} == {Phase.SUPERSEDED}


@pytest.mark.exhaustive
def test_one_trouble_around_a_rollback_by_hand_of_two_pairs_and_it_still_ends_right() -> None:
    found = explore(beginning(1, by_hand=True, two=True))
    assert {phase for phase, _ in found.endings} >= {Phase.ROLLED_BACK, Phase.SUPERSEDED, Phase.ABORTED}
