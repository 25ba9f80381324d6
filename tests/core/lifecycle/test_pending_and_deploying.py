"""Refusing what is impossible, waiting for a window, and deploying to the idle colour."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.core.lifecycle.stages import (
    NIGHT,
    before_the_flip,
    other_release,
)
from tests.core.lifecycle.story import given
from tests.core.lifecycle.world import NEW, OLD, START
from watcher.core.effects import Deploy, FetchLogs
from watcher.core.lifecycle import step
from watcher.core.observed import ContainerView, Observed
from watcher.core.release import Phase

# -- Pending ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("world", "asked", "reason", "words"),
    [
        (
            {"app": None},
            {},
            "UnknownApplication",
            "There is no Application 'chatbot-platform' in namespace prod; known: shop",
        ),
        ({"service": False}, {}, "NoService", "Service chatbot-platform does not exist"),
        ({"selector": "red"}, {}, "NoActiveColor", "selects color=red: it must select blue or green"),
        ({"selector": ""}, {}, "NoActiveColor", "selects color=(nothing)"),
        ({}, {"images": {}}, "NoImages", "spec.images is empty"),
        ({}, {"images": {"chta": NEW}}, "UnknownContainer", "has no container 'chta'; it has chat"),
        ({"rules_problem": "There is no RuleSet htp."}, {}, "InvalidRules", "There is no RuleSet htp."),
        (
            {"others": (other_release(Phase.WATCHING),)},
            {},
            "AnotherReleaseRunning",
            "Release earlier of chatbot-platform is running",
        ),
        (
            {"others": (other_release(Phase.PENDING),)},
            {},
            "AnotherReleaseRunning",
            "was asked for earlier and still waits",
        ),
        (
            {"others": (other_release(Phase.ROLLED_BACK),)},
            {},
            "Quarantined",
            "2.4.1 was rolled back in Release earlier",
        ),
    ],
)
def test_a_release_that_is_impossible_is_refused(
    world: dict[str, Any], asked: dict[str, Any], reason: str, words: str
) -> None:
    story = given(asked=asked)
    story.world_is(**world).settle()
    story.phase_is(Phase.FAILED, reason).says(words).telling("end", words).never_did(Deploy)


@pytest.mark.parametrize("missing", ["blue", "green"])
def test_a_release_needs_both_deployments(missing: str) -> None:
    given().color(missing, exists=False).settle().phase_is(Phase.FAILED, "NoDeployment").says(f"chatbot-{missing}")


def test_without_any_application_the_refusal_says_that_none_is_known() -> None:
    new, _ = step(given().release, Observed(), START)
    assert "known: none." in new.status.message


def test_a_version_that_was_rolled_back_is_let_in_by_force() -> None:
    story = given(asked={"force": True}, others=(other_release(Phase.ROLLED_BACK),)).to_the_end()
    story.phase_is(Phase.COMPLETED)


def test_a_refused_attempt_does_not_lift_the_quarantine() -> None:
    refused = other_release(Phase.FAILED, name="second", ended_at=START - timedelta(minutes=5))
    story = given(others=(other_release(Phase.ROLLED_BACK), refused)).settle()
    story.phase_is(Phase.FAILED, "Quarantined").says("was rolled back in Release earlier")


def test_a_forced_success_lifts_the_quarantine() -> None:
    later = other_release(Phase.COMPLETED, name="second", ended_at=START - timedelta(minutes=5))
    given(others=(later, other_release(Phase.ROLLED_BACK))).to_the_end().phase_is(Phase.COMPLETED)


def test_a_rollback_by_hand_quarantines_by_the_image_even_if_the_pod_has_more_containers() -> None:
    rejected = {"chat": NEW, "proxy": "registry.example/proxy:1"}
    given(others=(other_release(Phase.ROLLED_BACK, images=rejected),)).settle().phase_is(Phase.FAILED, "Quarantined")


def test_an_older_waiting_release_waits_for_a_rollback_by_hand_that_overtook_it() -> None:
    overtaking = other_release(Phase.ROLLING_BACK, name="by-hand", created_at=START + timedelta(minutes=1))
    story = given(others=(overtaking,)).settle()
    story.phase_is(Phase.PENDING).says("Waits for the end of Release by-hand")
    story.world_is(others=()).to_the_end().phase_is(Phase.COMPLETED)


def test_a_release_waits_while_the_api_server_cannot_say() -> None:
    story = given(service_known=False).time_passes(60)
    story.phase_is(Phase.PENDING).says("Waits for an answer of the API server")
    story.world_is(service_known=True).to_the_end().phase_is(Phase.COMPLETED)


def test_a_colour_that_cannot_be_seen_is_not_taken_for_a_missing_one() -> None:
    story = given().color("green", seen=False).time_passes(60).phase_is(Phase.PENDING)
    story.color("green", seen=True).to_the_end().phase_is(Phase.COMPLETED)


def test_a_release_waits_for_its_window_and_says_until_when() -> None:
    story = given({"windows": NIGHT}).time_passes(3600)
    story.phase_is(Phase.PENDING).says("outside its deployment windows; the next one opens at 2026-11-23 22:00 UTC")
    story.run(lambda: story.release.phase is not Phase.PENDING, 36_000)
    assert story.world.now == START.replace(hour=22)
    story.to_the_end().phase_is(Phase.COMPLETED)


def test_a_freeze_without_end_is_said_and_an_override_passes_it() -> None:
    spec = {"freezes": [{"from": "2026-01-01", "to": "9999-12-31", "reason": "sold"}]}
    story = given(spec).time_passes(600)
    story.phase_is(Phase.PENDING).says("a freeze until 9999-12-31 (sold); none opens within a year")
    story.person("override_window").to_the_end().phase_is(Phase.COMPLETED)


def test_a_paused_release_waits_quietly_and_goes_on_when_it_is_resumed() -> None:
    story = given().person("pause").time_passes(600)
    story.phase_is(Phase.PENDING).says("Paused by dana (bad answers); resume with: watcher release resume")
    assert story.writes == 1
    story.person_withdraws("pause").to_the_end().phase_is(Phase.COMPLETED)


@pytest.mark.parametrize("command", ["abort", "rollback"])
def test_a_waiting_release_can_be_called_off(command: str) -> None:
    story = given({"windows": NIGHT}).settle().person(command).settle()  # type: ignore[arg-type]
    story.phase_is(Phase.ABORTED).says("Aborted by dana (bad answers) before anything was done").never_did(Deploy)


def test_the_version_that_serves_is_named_by_release_tag_or_digest() -> None:
    names = {
        ("2.4.0", OLD): "2.4.0",
        ("", OLD): "2.4.0",
        ("", "registry.example:5000/chat"): "latest",
        ("", "chat@sha256:9f2c000000000000"): "sha256:9f2c00000000",
    }
    for (version, image), said in names.items():
        story = given().color("blue", version=version, image=image).until(Phase.DEPLOYING)
        assert story.status.pinned
        assert story.status.pinned.previous_version == said


# -- Deploying --------------------------------------------------------------------------------------------------------


def test_the_idle_colour_is_sized_to_the_live_one_and_never_shrunk() -> None:
    given().color("green", replicas=0, ready=0).until(Phase.TESTING).did(Deploy, replicas=2)
    given().color("green", replicas=5, ready=5).until(Phase.TESTING).did(Deploy, replicas=5)


def test_one_pod_is_one_pod() -> None:
    story = given().color("blue", replicas=1, ready=1).color("green", replicas=1, ready=1)
    story.run(lambda: "(1 pod ready)" in story.status.message or story.release.phase.terminal)
    given().until(Phase.TESTING)


CRASHED = ContainerView("chat", restarts=3, exit_code=1, reason="Error")


@pytest.mark.parametrize(
    ("shows", "reason", "words"),
    [
        (
            {"container": CRASHED},
            "CrashLoop",
            "container chat of pod chatbot-green-0 ended 3 times, last with exit code 1. Its last lines: Traceback",
        ),
        (
            {"container": ContainerView("chat", restarts=3, exit_code=137, reason="OOMKilled")},
            "OutOfMemory",
            "ran out of memory (OOMKilled 3 times): raise its limit",
        ),
        (
            {"container": ContainerView("chat", waiting="ImagePullBackOff", waiting_message="no such tag")},
            "ImagePull",
            "cannot start, ImagePullBackOff: no such tag",
        ),
        ({"container": ContainerView("chat", waiting="InvalidImageName")}, "ImagePull", "InvalidImageName"),
        (
            {"container": ContainerView("chat", waiting="CreateContainerConfigError")},
            "ConfigError",
            "CreateContainerConfigError",
        ),
        (
            {"unschedulable": "0/3 nodes: insufficient memory"},
            "Unschedulable",
            "pod chatbot-green-0 fits no node: 0/3 nodes",
        ),
        ({"trouble": "exceeded quota: pods"}, "PodsNotCreated", "pods cannot be created: exceeded quota: pods"),
        (
            {},
            "DeployDeadline",
            "green (2.4.1) did not get ready within 2m: 2 of 2 pods updated, 0 ready. Traffic never moved.",
        ),
    ],
)
def test_a_deployment_that_fails_is_diagnosed(shows: dict[str, Any], reason: str, words: str) -> None:
    story = given().until(Phase.DEPLOYING).color("green", sick=True, **shows).to_the_end()
    story.phase_is(Phase.FAILED, reason).says(words, "Traffic never moved.").flips_are().traffic_is_on("blue")


def test_a_crash_that_has_no_lines_is_told_without() -> None:
    story = given(lines="").until(Phase.DEPLOYING).color("green", sick=True, container=CRASHED).to_the_end()
    story.phase_is(Phase.FAILED, "CrashLoop").did(FetchLogs, pod="chatbot-green-0", container="chat", previous=True)
    assert "last lines" not in story.status.message


def test_lines_that_never_come_are_not_waited_for_longer_than_the_deadline() -> None:
    story = given().until(Phase.DEPLOYING).color("green", sick=True, image=NEW, version="2.4.1", container=CRASHED)
    for _ in range(400):
        story.take_step(carry_out=False)
        story.world = story.world.later(1)
    story.phase_is(Phase.FAILED, "CrashLoop")


def test_one_crash_at_the_start_is_waited_out_and_shown() -> None:
    once = ContainerView("chat", restarts=0, ended_now=True, exit_code=2)
    story = given().until(Phase.DEPLOYING).color("green", sick=True, container=once).time_passes(10)
    story.phase_is(Phase.DEPLOYING).says("ended once, last with exit code 2")
    story.color_recovers("green").to_the_end().phase_is(Phase.COMPLETED)


def test_a_deployment_that_is_never_taken_ends_at_the_deadline() -> None:
    story = before_the_flip(Phase.DEPLOYING)
    for _ in range(300):
        story.take_step(carry_out=False)
        story.world = story.world.later(1)
    story.phase_is(Phase.FAILED, "DeployDeadline").says(
        "2.4.1 could not be deployed to green within 2m", "API server refuses"
    )


def test_a_deployment_that_is_deleted_ends_the_release() -> None:
    given().until(Phase.DEPLOYING).color("green", exists=False).to_the_end().phase_is(Phase.FAILED, "NoDeployment")


def test_a_deployment_that_cannot_be_seen_is_waited_for() -> None:
    story = given().until(Phase.DEPLOYING).color("green", seen=False).time_passes(30).phase_is(Phase.DEPLOYING)
    story.color_recovers("green").to_the_end().phase_is(Phase.COMPLETED)


def test_pods_that_are_ready_and_no_endpoints_are_waited_for_and_the_service_is_named() -> None:
    release = before_the_flip(Phase.DEPLOYING).release
    observed = given().until(Phase.TESTING).world.observe(release)
    green = replace(observed.colors["green"], endpoints=0)
    after, _ = step(release, replace(observed, colors={**observed.colors, "green": green}), release.created_at)
    assert after.phase is Phase.DEPLOYING
    assert "none is an endpoint yet; Service chatbot-platform must select" in after.status.message
