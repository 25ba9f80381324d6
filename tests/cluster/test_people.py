"""Somebody moves the selector by hand, as the guide does, in each phase: the Release ends, and leaves it there (S3)."""

from __future__ import annotations

import pytest

from tests.cluster.setting import LONG, scenario
from tests.cluster.story import BAD, GOOD, Story
from watcher.core.release import Phase

NEVER = {"smoke": [{"name": "never", "http": {"path": "/nothing", "within": "5m", "every": "200ms"}}]}
"""Keeps a Release in Testing."""
SLOW = {"health": [{"name": "slow", "http": {"path": "/healthz", "every": "200ms", "for": "5s"}}]}
"""Keeps a Release in Verifying for some seconds."""


def superseded(story: Story, color: str) -> None:
    story.then.it_ends(Phase.SUPERSEDED, "SelectorMoved", f"color is {color}", "leaves it there")
    story.then.somebody_was_told("SelectorMoved")


@scenario("hand-deploying")
def test_while_it_deploys(story: Story) -> None:
    story.when.released(BAD["never-ready"])
    story.when.it_is(Phase.DEPLOYING)

    story.when.a_person_switches_to("green")

    superseded(story, "green")
    story.then.traffic_went("blue", "green")
    story.then.the_daemon_flipped()


@scenario("hand-testing", tests=NEVER)
def test_while_it_tests(story: Story) -> None:
    story.when.released(GOOD)
    story.when.it_is(Phase.TESTING)

    story.when.a_person_switches_to("green")

    superseded(story, "green")
    story.then.traffic_went("blue", "green")
    story.then.the_daemon_flipped()


@scenario("hand-approval", approval="beforeSwitch")
def test_while_it_waits_for_approval(story: Story) -> None:
    story.when.released(GOOD)
    story.when.it_is(Phase.AWAITING_APPROVAL)

    story.when.a_person_switches_to("green")

    superseded(story, "green")
    story.then.traffic_went("blue", "green")
    story.then.the_daemon_flipped()


@scenario("hand-switching", approval="beforeSwitch")
def test_while_it_is_about_to_switch(story: Story) -> None:
    story.when.released(GOOD)
    story.when.it_is(Phase.AWAITING_APPROVAL)
    story.when.paused()
    story.when.approved()
    story.when.it_is(Phase.SWITCHING)

    story.when.a_person_switches_to("green")

    superseded(story, "green")
    story.then.traffic_went("blue", "green")
    story.then.the_daemon_flipped()


@scenario("hand-verifying", tests=SLOW)
def test_while_it_verifies(story: Story) -> None:
    story.given.clients()
    story.when.released(GOOD)
    story.when.it_is(Phase.VERIFYING)

    story.when.a_person_switches_to("blue")

    superseded(story, "blue")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green")
    story.then.no_client_was_cut_off()


@scenario("hand-watching", watch=LONG)
def test_while_it_watches(story: Story) -> None:
    story.given.clients()
    story.when.released(GOOD)
    story.when.it_is(Phase.WATCHING)

    story.when.a_person_switches_to("blue")

    superseded(story, "blue")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green")
    story.then.no_client_was_cut_off()


@pytest.mark.slow
@scenario("hand-rolling-back", watch=LONG)
def test_while_it_rolls_back_and_waits_for_pods(story: Story) -> None:
    story.when.released(GOOD)
    story.when.it_is(Phase.WATCHING)
    story.given.a_colour_that_no_node_takes("blue")
    story.then.somebody_was_told("WayBackLost")
    story.when.asked_to_go_back()
    story.when.it_is(Phase.ROLLING_BACK)
    story.then.somebody_was_told("RollbackWaits")

    story.when.a_person_switches_to("blue")

    superseded(story, "blue")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green")
