"""The guide's troubleshooting table, row by row: what went wrong, why, and what to look at, all of it in the status."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.lifecycle.stages import BEFORE, after_the_flip, before_the_flip
from tests.core.lifecycle.story import Story, given
from tests.core.lifecycle.world import BREACH, NEW, RULE, START, report, rule
from watcher.core.evaluation import Outcome
from watcher.core.observed import ContainerView, WatchReading
from watcher.core.release import Phase

P99 = "http/latency-p99"
LATE = "latency-p99 was 1.9s (limit 500ms) for 30 s"


def deployment_that(**trouble: Any) -> Story:
    """A Release whose pods have a trouble from the start."""
    story = before_the_flip(Phase.DEPLOYING)
    story.settle().color("green", ready=0, sick=True, **trouble)
    return story.to_the_end().phase_is(Phase.FAILED).traffic_is_on("blue")


def killed(reason: str, code: int) -> ContainerView:
    return ContainerView("chat", restarts=3, reason=reason, exit_code=code)


PULL = ContainerView("chat", waiting="ImagePullBackOff", waiting_message=f'Back-off pulling image "{NEW}"')


@pytest.mark.parametrize(
    ("trouble", "reason", "words"),
    [
        ({"container": PULL}, "ImagePull", ("ImagePullBackOff", NEW)),
        ({"container": killed("OOMKilled", 137)}, "OutOfMemory", ("ran out of memory", "raise its limit")),
        ({"container": killed("Error", 1)}, "CrashLoop", ("last with exit code 1", "Traceback: no such model")),
        ({"unschedulable": "0/3 nodes: Insufficient cpu"}, "Unschedulable", ("fits no node", "Insufficient cpu")),
        ({"trouble": "exceeded quota: memory"}, "PodsNotCreated", ("pods cannot be created", "exceeded quota: memory")),
    ],
    ids=["image-pull", "memory-limit", "crash", "no-room", "quota"],
)
def test_deployment_fails_for_limits_or_images_check_logs_and_resources(
    trouble: dict[str, Any], reason: str, words: tuple[str, ...]
) -> None:
    story = deployment_that(**trouble).says("Deploying 2.4.1 to green failed", *words, "Traffic never moved")
    assert story.status.reason == reason
    assert story.status.evidence["phase"] == "Deploying"
    assert words[0] in story.status.evidence["diagnosis"]
    if reason in ("CrashLoop", "OutOfMemory"):
        assert story.status.evidence["logs"] == "Traceback: no such model"


def test_tests_fail_for_bugs_review_the_tests_log() -> None:
    answer = "KeyError: 'model'\n  in answer()"
    story = given(fails={"verification/chat/preview": answer}).to_the_end()
    story.phase_is(Phase.FAILED, "TestsFailed").traffic_is_on("blue")
    story.says("Check verification/chat/preview of 2.4.1 failed", "got status 500", "KeyError: 'model'")
    assert story.status.evidence["phase"] == "Testing"
    assert story.status.evidence["check"] == "verification/chat/preview"
    assert story.status.evidence["output"] == answer
    assert [check.output for check in story.status.checks if not check.ok] == [answer]


def test_tests_fail_for_their_environment_check_its_variables() -> None:
    missing = ContainerView(
        "chat", waiting="CreateContainerConfigError", waiting_message='secret "model-key" not found'
    )
    story = deployment_that(container=missing).says('secret "model-key" not found')
    assert story.status.reason == "ConfigError"


def breached(id_: str, message: str, value: float, limit: str) -> Story:
    found = report(Outcome.BREACH, id_, message=message, value=value, threshold=limit)
    reading = WatchReading((found,), "rollback", (message,))
    story = after_the_flip(Phase.WATCHING, rules=(rule(id_),))
    return story.world_is(reading=reading).to_the_end()


@pytest.mark.parametrize(
    ("id_", "message", "value", "limit"),
    [(RULE, BREACH, 0.042, "> 1%"), (P99, LATE, 1.9, "> 500ms")],
    ids=["high-error-rate-after-switch", "increased-latency"],
)
def test_a_breach_after_the_switch_says_what_was_measured_and_traffic_is_back(
    id_: str, message: str, value: float, limit: str
) -> None:
    story = breached(id_, message, value, limit).phase_is(Phase.ROLLED_BACK, f"rule/{id_}").traffic_is_on("blue")
    story.says("Rolled back from green (2.4.1) to blue (2.4.0)", message, "traffic returned")
    proof = story.status.evidence
    assert (proof["phase"], proof["rule"], proof["value"], proof["threshold"]) == ("Watching", id_, str(value), limit)
    assert proof["query"] == "error_ratio"
    assert [(found.name, found.outcome) for found in story.status.rules] == [(id_, "breach")]


# -- every end --------------------------------------------------------------------------------------------------------


def aborted(phase: Phase) -> Story:
    return before_the_flip(phase).person("abort").to_the_end().phase_is(Phase.ABORTED)


@pytest.mark.parametrize("phase", BEFORE)
def test_an_abort_says_who_and_why(phase: Phase) -> None:
    story = aborted(phase)
    assert story.status.evidence == {"phase": phase.value, "by": "dana", "why": "bad answers"}


def test_a_rollback_by_hand_says_who_and_why() -> None:
    story = after_the_flip(Phase.WATCHING).person("rollback").to_the_end().phase_is(Phase.ROLLED_BACK, "manual")
    assert story.status.evidence == {"phase": "Watching", "by": "dana", "why": "bad answers"}


def test_a_moved_selector_says_from_where_to_where() -> None:
    story = after_the_flip(Phase.WATCHING).person_moves_selector("blue").settle().phase_is(Phase.SUPERSEDED)
    proof = {"phase": "Watching", "service": "chatbot-platform", "selected": "blue", "expected": "green"}
    assert story.status.evidence == proof


def test_a_refusal_says_that_it_was_one() -> None:
    story = given(asked={"images": {}}).settle().phase_is(Phase.FAILED, "NoImages")
    assert story.status.evidence == {"phase": "Pending"}


def test_a_release_that_completes_needs_no_evidence() -> None:
    story = given().to_the_end().phase_is(Phase.COMPLETED)
    assert story.status.evidence == {}
    assert story.status.switched_at
    assert story.status.switched_at > START
