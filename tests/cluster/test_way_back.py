"""The colour to go back to has lost its pods when traffic must go back: it is brought up first (S1, S4)."""

from __future__ import annotations

import pytest

from tests.cluster.setting import ERROR_RATE, LONG, scenario
from tests.cluster.stage import is_live, is_ready, of, selected
from tests.cluster.story import BAD, GOOD, Story
from watcher.core.release import Phase

LATER = ERROR_RATE | {"override": {"window": "5s", "for": "15s", "traffic": {"atLeast": 20}}}
"""The rule breaches once there was time to take the way back away."""


@scenario("way-back-lost", replicas=2, watch=LONG | {"rules": [LATER]})
def test_a_previous_colour_without_pods_is_scaled_up_and_flipped_to_when_it_is_ready(story: Story) -> None:
    story.given.clients()
    story.when.released(BAD["errors"])
    story.when.it_is(Phase.WATCHING)
    # kube-proxy follows a flip within a second or so; pods that are taken away before are missed by their clients.
    story.then.clients_are_served_by("green")

    story.when.a_person_scales("blue", 0)

    lost = story.then.somebody_was_told("WayBackLost")
    waits = story.then.somebody_was_told("RollbackWaits")
    story.then.it_ends(Phase.ROLLED_BACK, "rule/http/error-rate")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    story.then.each_flip_found_ready_pods()
    assert lost.severity == waits.severity == "critical"
    seen = story.scene.seen
    begun = seen.first("releases", lambda one: one.get("status", {}).get("phase") == Phase.ROLLING_BACK)
    ready = seen.first("pods", lambda pod: of("blue", pod) and is_ready(pod), after=begun)
    flip = seen.first("services", lambda one: is_live(one) and selected(one) == "blue", after=begun)
    story.then.took("from the first ready pod of blue to the selector patched", ready, flip, 3.0)
    story.then.clients_are_served_by("blue")
    story.then.no_client_was_cut_off(but="http_5xx")


@pytest.mark.slow
@scenario("way-back-slow", alerts=True, watch=LONG)
def test_a_rollback_that_had_to_wait_for_pods_is_an_alert_in_alertmanager(story: Story) -> None:
    story.when.released(GOOD)
    story.when.it_is(Phase.WATCHING)
    story.given.a_colour_that_no_node_takes("blue")
    story.then.somebody_was_told("WayBackLost")

    story.when.asked_to_go_back()
    story.then.somebody_was_told("RollbackWaits")
    story.when.it_has_waited(31)
    story.when.nodes_take_it_again("blue")

    story.then.it_ends(Phase.ROLLED_BACK, "manual")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    story.then.each_flip_found_ready_pods()
    story.then.alertmanager_told("BluegreenWatcherRollbackSlow")
