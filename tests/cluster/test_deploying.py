"""Versions that never come up, each in its own way: the Release fails with the right diagnosis, and traffic stays."""

from __future__ import annotations

import pytest

from tests.cluster.setting import scenario
from tests.cluster.story import BAD, GOOD, Story
from watcher.core.release import Phase

SHORT = {"deploying": "15s"}


def failed(story: Story, reason: str, *says: str) -> None:
    story.then.it_ends(Phase.FAILED, reason, "Traffic never moved", *says)
    story.then.traffic_went("blue")
    story.then.the_daemon_flipped()
    story.then.somebody_was_told(reason)


@pytest.mark.slow
@scenario("unknown-image")
def test_an_image_that_does_not_exist(story: Story) -> None:
    story.when.released("9.9.9", image="images.invalid/chat:9.9.9")

    failed(story, "ImagePull", "container chat of pod", "images.invalid/chat:9.9.9")


@pytest.mark.slow
@scenario("out-of-memory", deadlines=SHORT)
def test_a_version_that_needs_more_memory_than_it_may_have(story: Story) -> None:
    story.given.idle_pods_that_outgrow("64Mi")

    story.when.released(GOOD)

    failed(story, "OutOfMemory", "OOMKilled", "raise its limit")


@scenario("never-ready", deadlines=SHORT)
def test_a_version_that_never_gets_ready(story: Story) -> None:
    story.when.released(BAD["never-ready"])

    failed(story, "DeployDeadline", "did not get ready within 15s", "1 of 1 pods updated, 0 ready")


@pytest.mark.slow
@scenario("crash-at-start", deadlines=SHORT)
def test_a_version_that_crashes_at_its_start(story: Story) -> None:
    story.when.released(BAD["crash-at-start"])

    failed(story, "CrashLoop", "exit code 1", "Its last lines:", "shard 7 of the conversation index")


@scenario("too-big", deadlines=SHORT)
def test_a_version_that_fits_no_node(story: Story) -> None:
    story.given.idle_pods_with({"requests": {"memory": "9Ti"}, "limits": {"memory": "9Ti"}})

    story.when.released(GOOD)

    failed(story, "Unschedulable", "fits no node", "Insufficient memory")


@scenario("quota", deadlines=SHORT)
def test_a_version_whose_pods_the_quota_forbids(story: Story) -> None:
    story.given.quota_for_pods(1)

    story.when.released(GOOD)

    failed(story, "PodsNotCreated", "exceeded quota: few", "pods=1")
