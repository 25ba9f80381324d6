"""The guide's scenarios on real pods: flips that kube-proxy carries out, rules on a real Prometheus."""

from __future__ import annotations

import json

from tests.cluster.setting import ERROR_RATE, LONG, scenario
from tests.cluster.stage import has_failed, is_live, of, selected
from tests.cluster.story import BAD, GOOD, Story
from watcher.core.release import Phase
from watcher.demo.platform import manifests

HEALTH = {"health": [{"name": "readyz", "http": {"path": "/readyz", "every": "500ms", "for": "2s"}}]}
VERIFIED = {"verification": [{"name": "chat", "job": {"image": manifests.VERIFIER, "timeout": "60s"}}]}
"""A container of the team's own asks the new version, in a Job."""
JOB_FILE = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {"template": {"spec": {"containers": [{"name": "verify", "image": manifests.VERIFIER}]}}},
}
FROM_FILE = {"verification": [{"name": "chat", "job": {"template": "verify-chat.yaml", "timeout": "60s"}}]}
GOOD_WATCH = {"duration": "15s", "interval": "1s", "rules": [ERROR_RATE]}


@scenario(
    "good", replicas=2, tests=HEALTH | FROM_FILE, watch=GOOD_WATCH, files={"verify-chat.yaml": json.dumps(JOB_FILE)}
)
def test_a_good_version_completes_and_no_client_sees_the_flip(story: Story) -> None:
    """Scenario 1 of the guide: successful deployment."""
    story.given.clients(rate=40)
    story.given.jobs_are_allowed()

    story.when.released(GOOD)

    story.then.it_ends(Phase.COMPLETED, "Completed")
    story.then.its_check_said("verification/chat", "ok GET /verify")
    story.then.traffic_went("blue", "green")
    story.then.the_daemon_flipped("green")
    story.then.each_flip_found_ready_pods()
    story.then.clients_are_served_by("green")
    story.then.no_client_was_cut_off()
    story.then.somebody_was_told("Completed")


@scenario("tests", tests=VERIFIED)
def test_a_version_that_fails_its_verification_gets_no_traffic_and_the_team_is_told(story: Story) -> None:
    """Scenario 2 of the guide: failed tests."""
    story.given.clients()
    story.given.jobs_are_allowed()

    story.when.released(BAD["verification"])

    story.then.it_ends(Phase.FAILED, "TestsFailed", "verification/chat", "FAILED GET /verify", "Traffic never moved")
    story.then.its_check_said("verification/chat", "ok GET /version", "ok GET /healthz", "FAILED GET /verify")
    story.then.traffic_went("blue")
    story.then.the_daemon_flipped()
    story.then.no_client_was_cut_off()
    story.then.somebody_was_told("TestsFailed")


@scenario("errors", replicas=2, watch=LONG | {"rules": [ERROR_RATE]})
def test_a_version_with_errors_is_rolled_back_on_what_prometheus_says(story: Story) -> None:
    """Scenario 3 of the guide: post-deployment issues."""
    story.given.clients(rate=40)

    story.when.released(BAD["errors"])

    story.then.it_ends(Phase.ROLLED_BACK, "rule/http/error-rate")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    story.then.each_flip_found_ready_pods()
    story.then.clients_are_served_by("blue")
    traffic = story.then.no_client_was_cut_off(but="http_5xx")
    assert traffic.results["http_5xx"] > 0
    story.then.somebody_was_told("RollbackDecided")


@scenario("crash-loop", own_prometheus=True, watch=LONG | {"rules": [ERROR_RATE]})
def test_a_crash_loop_is_rolled_back_within_seconds_while_prometheus_is_down(story: Story) -> None:
    story.given.clients()
    story.when.prometheus_dies()

    story.when.released(BAD["crash-loop"])

    story.then.it_ends(Phase.ROLLED_BACK, "pods/Crashed", "exit code 1")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    crash = story.scene.seen.first("pods", lambda pod: of("green", pod) and has_failed(pod))
    back = story.scene.seen.first("services", lambda one: is_live(one) and selected(one) == "blue", after=crash)
    story.then.took("from the first crash in the pod's status to the selector patched", crash, back, 5.0)


# Close to its limit a container also stalls: only its end is to count here.
@scenario("memory", watch=LONG | {"pods": {"notReady": "2m", "noEndpoints": "2m"}})
def test_a_version_that_runs_out_of_memory_under_load_is_rolled_back(story: Story) -> None:
    story.given.idle_pods_with({"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}})
    story.given.clients()

    story.when.released(BAD["memory"])

    story.then.it_ends(Phase.ROLLED_BACK, "pods/OutOfMemory", "OOMKilled")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")


@scenario("unhealthy", replicas=2, watch=LONG)
def test_a_version_whose_pods_lose_their_readiness_is_rolled_back(story: Story) -> None:
    story.given.clients()

    story.when.released(BAD["unhealthy"])

    story.then.it_ends(Phase.ROLLED_BACK, "pods/NoEndpoints", "no ready endpoint")
    story.then.traffic_went("blue", "green", "blue")
    story.then.the_daemon_flipped("green", "blue")
    story.then.clients_are_served_by("blue")


@scenario("blind", own_prometheus=True, watch=GOOD_WATCH)
def test_a_watch_without_prometheus_holds_and_goes_on_with_what_prometheus_remembers(story: Story) -> None:
    """Blindness is not failure, and not success (S7)."""
    story.given.clients()
    story.when.released(GOOD)
    story.when.it_is(Phase.WATCHING)

    story.when.prometheus_dies()
    story.then.it_says("Blind")
    story.then.somebody_was_told("Blind")
    story.then.traffic_went("blue", "green")
    story.when.prometheus_is_back()

    story.then.it_ends(Phase.COMPLETED, "Completed")
    story.then.the_daemon_flipped("green")
    story.then.no_client_was_cut_off()
