"""Releases on real pods: the daemon in its own pod, flips that kube-proxy carries out, rules on a real Prometheus."""

from __future__ import annotations

import pytest

from tests.cluster.prometheus import Prometheus
from tests.cluster.stage import DAEMON, Platform
from tests.cluster.waiting import kubectl, until
from watcher.core.release import Phase
from watcher.demo.platform import manifests
from watcher.demo.platform.ledger import Outcome, Traffic


def scenario(name: str) -> pytest.MarkDecorator:
    """In a namespace of this name."""
    return pytest.mark.parametrize("platform", [name], indirect=True)


def let_down(traffic: Traffic, *, but: str = "") -> list[tuple[int, dict[Outcome, int]]]:
    """How clients were let down: seconds since they began, and what they got instead of an answer to their request."""
    fine = {"ok", but}
    found = []
    for second in traffic.seconds:
        bad = {name: count for name, count in second.results.items() if count and name not in fine}
        if bad:
            found.append((second.at - int(traffic.started), bad))
    return found


@scenario("good")
def test_a_good_version_completes_and_no_client_sees_the_flip(platform: Platform) -> None:
    with platform.clients() as clients:
        ended = platform.end(platform.release(manifests.GOOD_VERSION))
        until(lambda: list(clients.snapshot().seconds[-1].colors) == ["green"], "all clients to be served by green")
        traffic = clients.stop()

    assert ended.phase is Phase.COMPLETED, ended.status.message
    assert platform.active() == "green"
    assert [flip.to for flip in ended.status.flips] == ["green"]
    assert let_down(traffic) == []
    assert min(traffic.colors["blue"], traffic.colors["green"]) > 100


@scenario("errors")
def test_a_version_with_errors_is_rolled_back_on_what_prometheus_says(platform: Platform) -> None:
    with platform.clients() as clients:
        ended = platform.end(platform.release(manifests.BAD_VERSIONS["errors"]))
        until(lambda: list(clients.snapshot().seconds[-1].colors) == ["blue"], "all clients to be served by blue")
        traffic = clients.stop()

    assert ended.phase is Phase.ROLLED_BACK, ended.status.message
    assert ended.status.reason == "rule/http/error-rate"
    assert platform.active() == "blue"
    assert [flip.to for flip in ended.status.flips] == ["green", "blue"]
    assert let_down(traffic, but="http_5xx") == []
    assert traffic.results["http_5xx"] > 0


@scenario("crash-loop")
def test_a_crash_loop_is_rolled_back_while_prometheus_is_down(platform: Platform, prometheus: Prometheus) -> None:
    prometheus.kill()
    try:
        with platform.clients():
            ended = platform.end(platform.release(manifests.BAD_VERSIONS["crash-loop"]))
    finally:
        prometheus.start()

    assert ended.phase is Phase.ROLLED_BACK, ended.status.message
    # Whichever sees it first: the watch of the pods, or the health check after the flip.
    assert ended.status.reason.startswith(("pods/", "check/live/")), ended.status.reason
    assert platform.active() == "blue"
    assert [flip.to for flip in ended.status.flips] == ["green", "blue"]


@scenario("unknown-image")
def test_an_image_that_does_not_exist_fails_with_the_reason_and_traffic_stays(platform: Platform) -> None:
    ended = platform.end(platform.release("9.9.9", image="images.invalid/chat:9.9.9"))

    assert ended.phase is Phase.FAILED
    assert ended.status.reason == "ImagePull", ended.status.message
    assert "images.invalid/chat:9.9.9" in ended.status.message
    assert ended.status.flips == ()
    assert platform.active() == "blue"


@scenario("killed")
def test_a_daemon_killed_during_the_watch_leaves_it_to_the_next(platform: Platform) -> None:
    with platform.clients() as clients:
        asked = platform.release(manifests.GOOD_VERSION)
        platform.follow(asked, lambda release: release.phase is Phase.WATCHING, "the watch", 120)
        kubectl("delete", "pods", "-n", DAEMON, "--all", "--grace-period=0", "--force")
        ended = platform.end(asked)
        traffic = clients.stop()

    assert ended.phase is Phase.COMPLETED, ended.status.message
    assert [flip.to for flip in ended.status.flips] == ["green"]
    assert let_down(traffic) == []
