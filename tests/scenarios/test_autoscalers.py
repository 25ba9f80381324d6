"""Colours under autoscalers, the whole daemon in the embedded cluster: whose autoscalers enforce their bounds, but
measure nothing. What a load of nothing makes of a colour is done by hand: it is scaled down to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Led
from tests.support.acting import GOOD, Selector
from tests.support.proxy import hang, refuse
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase
from watcher.demo.platform.manifests import DEPLOYMENTS, NAMESPACE
from watcher.demo.stage import Stage

HPA = r"/horizontalpodautoscalers/[^/]+$"
NOTE = "watcher.bluegreen.dev/minimum"


def autoscaler(color: str, minimum: int = 1, maximum: int = 5) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENTS[color]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": color, "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": target, "minReplicas": minimum, "maxReplicas": maximum},
    }


def minimum(stage: Stage, color: str) -> tuple[int, str]:
    """The autoscaler's minimum, and what is noted beside it."""
    found = stage.connection.get(paths.autoscalers(NAMESPACE, color))
    return found["spec"]["minReplicas"], (found["metadata"].get("annotations") or {}).get(NOTE, "")


def size(stage: Stage, color: str) -> int:
    replicas: int = stage.connection.get(paths.deployments(NAMESPACE, DEPLOYMENTS[color]))["spec"]["replicas"]
    return replicas


def without_load(stage: Stage, color: str) -> None:
    """What an autoscaler that measures does to a colour without traffic: as few pods as it may."""
    stage.hands.scale(NAMESPACE, DEPLOYMENTS[color], 1)


def autoscaled(stage: Stage) -> None:
    """Both colours have an autoscaler from 1 to 5; blue has grown to 3."""
    stage.hands.scale(NAMESPACE, DEPLOYMENTS["blue"], 3)
    stage.wait_for(lambda: stage.ready_pods("blue") == 3, "blue to grow")
    stage.apply(autoscaler("blue"), autoscaler("green"))


def test_an_autoscaler_shrinks_neither_what_is_tested_nor_the_way_back_and_has_its_minimum_back_in_the_end(
    small: Callable[..., Stage],
) -> None:
    stage = small(approval="beforeSwitch", previous={"keep": "1s", "then": "keep"})
    autoscaled(stage)
    release = stage.release(GOOD)
    stage.follow(release, lambda r: r.phase is Phase.AWAITING_APPROVAL, 60, "the approval to be asked for")
    assert (size(stage, "green"), minimum(stage, "green")) == (3, (3, "1, held at 3"))
    assert minimum(stage, "blue") == (1, "")
    without_load(stage, "green")
    stage.wait_for(lambda: size(stage, "green") == 3, "the autoscaler to keep green at its minimum")

    stage.hands.command(NAMESPACE, release.name, "approve", {"by": "ada"})
    stage.follow(release, lambda r: r.phase is Phase.WATCHING, 60, "the watch")
    assert minimum(stage, "blue") == (3, "1, held at 3")
    without_load(stage, "blue")
    stage.wait_for(lambda: size(stage, "blue") == 3, "the autoscaler to keep the way back")

    stage.follow(release, lambda r: r.phase is Phase.COMPLETED, 60, "the end")
    stage.wait_for(lambda: minimum(stage, "blue") == (1, ""), "blue's minimum to be given back")
    without_load(stage, "blue")
    assert size(stage, "blue") == 1


def test_a_daemon_killed_before_it_raised_a_minimum_and_before_it_gives_it_back_does_both_once_it_is_back(
    led: Callable[..., Led],
) -> None:
    found = led(rules=False, previous={"keep": "1s", "then": "keep"}, watch={"duration": "3s", "interval": "1s"})
    stage = found.stage
    autoscaled(stage)
    rule = found.proxy.on("PATCH", HPA, refuse(500), times=0)
    release = stage.release(GOOD)
    assert rule.struck.wait(30)
    found.kill()
    assert minimum(stage, "green") == (1, "")
    stage.kill_daemon()
    assert "green" in stage.read(release).status.held

    stage.start_daemon()
    stage.follow(release, lambda r: r.phase is Phase.COMPLETED, 60, "the end")
    stage.kill_daemon()
    assert minimum(stage, "green") == (3, "1, held at 3")
    stage.start_daemon()
    stage.wait_for(lambda: minimum(stage, "blue") == (1, ""), "blue's minimum to be given back")
    assert minimum(stage, "green") == (3, "1, held at 3")  # it has not served for ten minutes


@pytest.mark.parametrize("mood", [refuse(500), refuse(403), hang], ids=["internal-error", "forbidden", "hangs"])
def test_autoscalers_that_cannot_be_written_delay_no_rollback(mood: Any, led: Callable[..., Led]) -> None:
    found = led(rules=False)
    stage = found.stage
    release = stage.release(GOOD)
    stage.follow(release, lambda r: r.phase is Phase.WATCHING, 60, "the watch")
    rule = found.proxy.on("PATCH", HPA, mood, times=0)
    stage.apply(autoscaler("blue"), autoscaler("green"))
    with Selector(stage) as selector:
        stage.hands.command(NAMESPACE, release.name, "rollback", {"by": "ada"})
        stage.follow(release, lambda r: r.phase is Phase.ROLLED_BACK, 20, "the rollback")
        selector.was("green", "blue")
    assert rule.struck.wait(5)
    ended = stage.read(release)
    assert ended.status.rollback
    assert (ended.status.flips[-1].at - ended.status.rollback.at).total_seconds() < 3


@pytest.mark.parametrize("code", [404, 403])
def test_where_autoscalers_cannot_be_listed_a_release_does_not_wait_for_them(
    code: int, led: Callable[..., Led], tmp_path: Path
) -> None:
    found = led(rules=False)
    stage = found.stage
    stage.kill_daemon()
    rule = found.proxy.on("GET", r"/horizontalpodautoscalers$", refuse(code), times=0)
    stage.start_daemon(found.proxy.kubeconfig(tmp_path / "without-autoscalers"))
    assert rule.struck.wait(20)
    release = stage.release(GOOD)
    stage.follow(release, lambda r: r.phase is Phase.WATCHING, 25, "the watch")


def test_the_idle_colour_is_scaled_to_the_number_that_its_application_says(small: Callable[..., Stage]) -> None:
    stage = small(previous={"keep": "1s", "to": 1})
    release = stage.release(GOOD)
    stage.follow(release, lambda r: r.phase is Phase.COMPLETED, 60, "the end")
    stage.wait_for(lambda: size(stage, "blue") == 1, "blue to make room")
    stage.wait_for(lambda: bool((keep := stage.read(release).status.keep) and keep.done), "the Release to see it")
