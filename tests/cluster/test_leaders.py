"""The daemon is killed, or loses its network: another replica ends what it began, and nothing is done twice (S5, S6).

Each scenario has a daemon of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.setting import ERROR_RATE, LONG, scenario
from tests.cluster.story import BAD, GOOD, Story
from watcher.core.release import Phase, Release
from watcher.demo.platform import manifests

pytestmark = pytest.mark.slow
WATCH = LONG | {"rules": [ERROR_RATE]}
SLOW_JOB = {
    "name": "slow",
    "job": {
        "image": manifests.VERIFIER,
        "command": ["python3", "-c", "import time; time.sleep(15); print('looked at everything')"],
    },
}
TAKEN_OVER = 20.0
"""Seconds: the Lease's 10, a look at it each 2, and a busy machine."""


def went_back_once(story: Story) -> None:
    story.then.it_ends(Phase.ROLLED_BACK, "rule/http/error-rate")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    story.then.one_replica_leads()
    story.then.no_client_was_cut_off(but="http_5xx")


def switching(release: Release) -> bool:
    return release.status.intent is not None and release.status.intent.to == "green"


def watching(release: Release) -> bool:
    return release.phase is Phase.WATCHING


def decided(release: Release) -> bool:
    return release.phase is Phase.ROLLING_BACK


def intended(release: Release) -> bool:
    return release.status.intent is not None and release.status.intent.to == "blue"


def back(release: Release) -> bool:
    return len(release.status.flips) == 2


@scenario("deleted", own_daemon=True, watch=WATCH)
def test_a_leader_whose_pod_is_deleted_during_the_watch_leaves_the_rollback_to_the_next(story: Story) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])
    story.when.it_is(Phase.WATCHING)

    leader = story.when.the_leader_is_deleted()

    story.when.another_replica_leads(leader, TAKEN_OVER)
    went_back_once(story)


@pytest.mark.node
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(switching, marks=scenario("killed-switching", own_daemon=True, watch=WATCH)),
        pytest.param(decided, marks=scenario("killed-deciding", own_daemon=True, watch=WATCH)),
        pytest.param(intended, marks=scenario("killed-intending", own_daemon=True, watch=WATCH)),
        pytest.param(back, marks=scenario("killed-back", own_daemon=True, watch=WATCH)),
    ],
)
def test_a_leader_that_is_killed_at_the_moment_of_a_flip_leaves_one_flip(
    story: Story, moment: Callable[[Release], bool]
) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])

    story.when.the_leader_dies_at(moment, moment.__name__)

    went_back_once(story)


@pytest.mark.node
@scenario("killed-all", own_daemon=True, watch=WATCH)
def test_when_all_replicas_are_killed_while_going_back_the_first_one_that_is_back_ends_it(story: Story) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])

    story.when.all_replicas_die_at(intended, "the intent to go back")

    went_back_once(story)


@pytest.mark.node
@pytest.mark.parametrize(
    ("moment", "answers"),
    [
        pytest.param(watching, False, marks=scenario("cut-off-watching", own_daemon=True, watch=WATCH)),
        pytest.param(intended, False, marks=scenario("cut-off-back", own_daemon=True, watch=WATCH)),
        pytest.param(decided, True, marks=scenario("no-answers-back", own_daemon=True, watch=WATCH)),
    ],
)
def test_a_leader_that_loses_its_network_is_replaced_and_does_nothing_when_it_is_back(
    story: Story, moment: Callable[[Release], bool], answers: bool
) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])

    leader = story.when.the_leader_is_cut_off_at(moment, moment.__name__, answers=answers)
    story.when.another_replica_leads(leader, TAKEN_OVER)

    went_back_once(story)
    story.when.the_network_heals()
    story.then.it_does_nothing(leader)
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    story.then.the_replicas_flipped(2)


@pytest.mark.node
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(decided, marks=scenario("frozen-deciding", own_daemon=True, watch=WATCH)),
        pytest.param(intended, marks=scenario("frozen-intending", own_daemon=True, watch=WATCH)),
    ],
)
def test_a_leader_that_freezes_is_replaced_and_does_not_go_on_where_it_was(
    story: Story, moment: Callable[[Release], bool]
) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])

    leader = story.when.the_leader_freezes_at(moment, moment.__name__)
    story.when.another_replica_leads(leader, TAKEN_OVER)

    went_back_once(story)
    story.when.it_thaws(leader)
    story.then.it_does_nothing(leader)
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    story.then.the_replicas_flipped(2)


def verified_by_one_job(story: Story) -> None:
    story.then.it_ends(Phase.COMPLETED, "Completed")
    story.then.its_check_said("verification/slow", "looked at everything")
    story.then.jobs_were_made(1)
    story.then.the_daemon_flipped("green")


@pytest.mark.node
@scenario("killed-asking", own_daemon=True, tests={"verification": [SLOW_JOB]})
def test_a_leader_that_is_killed_while_it_makes_a_job_leaves_one_job(story: Story) -> None:
    story.when.released(GOOD)

    story.when.the_leader_dies_at(lambda release: "as a Job" in release.status.message, "the Job to be made")

    verified_by_one_job(story)


@pytest.mark.node
@scenario("killed-testing", own_daemon=True, tests={"verification": [SLOW_JOB]})
def test_a_leader_that_is_killed_while_a_job_runs_leaves_that_job_to_the_next(story: Story) -> None:
    story.when.released(GOOD)
    story.when.a_job_runs()

    story.when.the_leader_dies()

    verified_by_one_job(story)


@pytest.mark.node
@scenario("all-cut-off", own_daemon=True, watch=WATCH)
def test_a_rollback_that_the_api_server_cannot_be_asked_for_is_made_once_when_it_is_back(story: Story) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])

    story.when.all_replicas_are_cut_off_at(decided, "the verdict")
    story.when.nobody_leads()
    story.when.the_network_heals()

    went_back_once(story)


@scenario("nobody-there", own_daemon=True, watch=WATCH)
def test_a_breach_while_no_replica_runs_is_found_by_the_next_one(story: Story) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])
    story.when.it_is(Phase.WATCHING)

    story.when.no_replica_runs()
    story.when.users_get_errors(40)
    story.then.traffic_went("blue", "green")
    story.when.replicas_run_again()

    went_back_once(story)


@scenario("stopped", own_daemon=True, watch={"duration": "15s", "interval": "1s"})
def test_a_leader_that_is_told_to_stop_hands_over_at_once(story: Story) -> None:
    story.given.clients()
    story.when.released(GOOD)
    story.when.it_is(Phase.WATCHING)

    leader = story.when.the_leader_is_told_to_stop()

    story.when.another_replica_leads(leader, TAKEN_OVER)
    story.then.it_ends(Phase.COMPLETED, "Completed")
    story.then.the_daemon_flipped("green")
    story.then.no_client_was_cut_off()
