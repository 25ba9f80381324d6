"""Deployments: how versions follow one another, and what the status says meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.cluster_run.stage import NAMESPACE, Stage, http_probe, scenario
from watcher.demo.cluster.controllers.rollout import Bounds, Sizes, bounds, recreate_step, rolling_step
from watcher.demo.cluster.resources import DEPLOYMENT, POD, REPLICA_SET
from watcher.demo.cluster.store import Object

READY = {"container": {"readinessProbe": http_probe("/readyz")}}


@scenario()
async def test_a_deployment_becomes_available(stage: Stage) -> None:
    """Through one ReplicaSet that carries the template's hash; the status is complete and says so."""
    stage.deployment("web", "web:1", replicas=2, pod=READY)
    await stage.until(lambda: stage.is_rolled_out("web"), "it is available")
    (replica_set,) = stage.store.objects(REPLICA_SET)
    digest = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{digest}"
    assert {pod["metadata"]["labels"]["pod-template-hash"] for pod in stage.pods("web")} == {digest}
    found = stage.store.get(DEPLOYMENT, NAMESPACE, "web")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert conditions(found) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert "unavailableReplicas" not in found["status"]


@scenario()
async def test_a_rolling_update_keeps_enough_pods_ready_throughout(stage: Stage) -> None:
    """With maxUnavailable 0 and maxSurge 1 there are never fewer ready pods than wanted, nor more than one extra."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    stage.deployment("web", "web:1", replicas=2, pod=READY, strategy=strategy)
    await stage.until(lambda: stage.is_rolled_out("web"), "the first version is available")
    seen: list[tuple[int, int]] = []

    def watch() -> bool:
        pods = [pod for pod in stage.pods("web") if not pod["metadata"].get("deletionTimestamp")]
        seen.append((sum(is_ready(pod) for pod in pods), len(pods)))
        return stage.is_rolled_out("web")

    stage.set_image("web", "web:2")
    await stage.until(watch, "the second version is available")
    assert min(ready for ready, _ in seen) >= 2
    assert max(total for _, total in seen) == 3
    await stage.until(lambda: images_of(stage, "web") == {"web:2"}, "the old pods are gone")
    found = stage.store.get(DEPLOYMENT, NAMESPACE, "web")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


@scenario()
async def test_recreate_ends_every_old_pod_first(stage: Stage) -> None:
    """No moment has pods of both versions, terminating ones included."""
    stage.deployment("web", "web:1", replicas=2, pod=READY, strategy={"type": "Recreate"})
    await stage.until(lambda: stage.is_rolled_out("web"), "the first version is available")
    seen: list[set[str]] = []

    def watch() -> bool:
        seen.append(images_of(stage, "web"))
        return stage.is_rolled_out("web") and seen[-1] == {"web:2"}

    stage.set_image("web", "web:2")
    await stage.until(watch, "the second version is available")
    assert {"web:1", "web:2"} not in seen


@scenario()
async def test_going_back_takes_the_old_replica_set_up_again(stage: Stage) -> None:
    """An earlier template finds its ReplicaSet, at a new revision."""
    stage.deployment("web", "web:1", pod=READY)
    await stage.until(lambda: stage.is_rolled_out("web"), "version 1 is available")
    (first,) = stage.store.objects(REPLICA_SET)
    stage.set_image("web", "web:2")
    await stage.until(lambda: stage.is_rolled_out("web"), "version 2 is available")
    stage.set_image("web", "web:1")
    await stage.until(lambda: stage.is_rolled_out("web"), "version 1 is available again")
    assert len(stage.store.objects(REPLICA_SET)) == 2
    again = stage.store.get(REPLICA_SET, NAMESPACE, first["metadata"]["name"])
    assert again["spec"]["replicas"] == 1
    assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


@scenario()
async def test_old_replica_sets_are_kept_as_far_as_history_goes(stage: Stage) -> None:
    """revisionHistoryLimit counts old ones."""
    stage.deployment("web", "web:1", pod=READY, revisionHistoryLimit=1)
    for tag in ("2", "3"):
        await stage.until(lambda: stage.is_rolled_out("web"), "it is available")
        stage.set_image("web", f"web:{tag}")
    await stage.until(lambda: stage.is_rolled_out("web"), "version 3 is available")
    await stage.until(lambda: len(stage.store.objects(REPLICA_SET)) == 2, "the oldest is gone")
    kept = {row["spec"]["template"]["spec"]["containers"][0]["image"] for row in stage.store.objects(REPLICA_SET)}
    assert kept == {"web:2", "web:3"}


@scenario()
async def test_scaling_follows_the_wish_up_and_down(stage: Stage) -> None:
    """To three, to none, without a new revision."""
    stage.deployment("web", "web:1", pod=READY)
    for size in (3, 0):
        stage.change("web", lambda spec: spec.update(replicas=size))  # noqa: B023
        await stage.until(lambda: stage.is_rolled_out("web"), "the size is reached")
    await stage.until(lambda: not stage.pods("web"), "the pods are gone")
    assert len(stage.store.objects(REPLICA_SET)) == 1
    assert stage.said("ScalingReplicaSet", "from 3 to 0")


@scenario()
async def test_a_version_that_never_gets_ready_exceeds_its_deadline(stage: Stage) -> None:
    """Progressing becomes False, the old pods stay, and Available stays true."""
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    stage.deployment("web", "web:1", pod=READY, progressDeadlineSeconds=1, strategy=strategy)
    await stage.until(lambda: stage.is_rolled_out("web"), "the first version is available")
    stage.set_image("web", "none:1")

    def stuck() -> bool:
        found = stage.store.get(DEPLOYMENT, NAMESPACE, "web")
        return conditions(found).get("Progressing") == ("False", "ProgressDeadlineExceeded")

    await stage.until(stuck, "the deadline is exceeded")
    found = stage.store.get(DEPLOYMENT, NAMESPACE, "web")
    assert conditions(found)["Available"][0] == "True"
    assert images_of(stage, "web") == {"web:1", "none:1"}
    stage.set_image("web", "web:1")
    await stage.until(lambda: stage.is_rolled_out("web"), "going back works")


@scenario()
async def test_a_size_that_cannot_be_reached_later_exceeds_no_deadline(stage: Stage) -> None:
    """As on a real cluster: the deadline is that of a template, and ends when it is rolled out, at size 0 too."""
    stage.deployment("web", "none:1", replicas=0, progressDeadlineSeconds=1)
    await stage.until(lambda: stage.is_rolled_out("web"), "nothing is rolled out")
    stage.change("web", lambda spec: spec.update(replicas=1))
    await stage.until(lambda: stage.deployed("web").get("unavailableReplicas") == 1, "a pod is wanted")
    await asyncio.sleep(2.5)  # well past the deadline
    found = stage.store.get(DEPLOYMENT, NAMESPACE, "web")
    assert conditions(found)["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert conditions(found)["Available"] == ("False", "MinimumReplicasUnavailable")


@scenario()
async def test_a_pod_that_is_relabelled_is_let_go_and_taken_back(stage: Stage) -> None:
    """A released pod is replaced; one that matches again and belongs to nobody is adopted, and the surplus goes."""
    stage.deployment("web", "web:1", pod=READY)
    await stage.until(lambda: stage.is_rolled_out("web"), "it is available")
    (pod,) = stage.pods("web")
    name = pod["metadata"]["name"]

    def label(value: str) -> None:
        stage.store.update(POD, NAMESPACE, name, lambda found: found["metadata"]["labels"].update(app=value))

    label("aside")
    await stage.until(lambda: len(stage.pods("web")) == 1 and stage.is_rolled_out("web"), "it is replaced")
    assert stage.store.get(POD, NAMESPACE, name)["metadata"]["ownerReferences"] == []
    (other,) = stage.pods("web")
    label("web")
    await stage.until(lambda: len(stage.pods("web")) == 1, "the surplus goes")
    assert stage.pods("web")[0]["metadata"]["name"] in (name, other["metadata"]["name"])
    assert stage.pods("web")[0]["metadata"]["ownerReferences"]


@scenario()
async def test_a_deployment_adopts_the_replica_set_of_an_orphaned_one(stage: Stage) -> None:
    """Deleted without its pods and made anew, it goes on with them."""
    made = stage.deployment("web", "web:1", pod=READY)
    await stage.until(lambda: stage.is_rolled_out("web"), "it is available")
    before = stage.pods("web")[0]["metadata"]["uid"]
    stage.store.update(DEPLOYMENT, NAMESPACE, "web", lambda found: found["metadata"].update(finalizers=["orphan"]))
    stage.store.delete(DEPLOYMENT, NAMESPACE, "web")
    await stage.until(lambda: stage.store.find(DEPLOYMENT, NAMESPACE, "web") is None, "the deployment is gone")
    stage.store.create(DEPLOYMENT, {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": made["spec"]})
    await stage.until(lambda: stage.is_rolled_out("web"), "it is available again")
    assert [pod["metadata"]["uid"] for pod in stage.pods("web")] == [before]


@scenario()
async def test_a_paused_deployment_keeps_its_template_but_follows_its_size(stage: Stage) -> None:
    """Nothing rolls until it is resumed."""
    stage.deployment("web", "web:1", pod=READY)
    await stage.until(lambda: stage.is_rolled_out("web"), "the first version is available")
    stage.change("web", lambda spec: spec.update(paused=True, replicas=2))
    stage.set_image("web", "web:2")
    await stage.until(lambda: stage.deployed("web").get("availableReplicas") == 2, "the size is reached")
    assert images_of(stage, "web") == {"web:1"}
    stage.change("web", lambda spec: spec.pop("paused"))
    await stage.until(lambda: stage.is_rolled_out("web") and images_of(stage, "web") == {"web:2"}, "it rolls")


@scenario()
async def test_a_pod_counts_as_available_only_after_its_minimum_time(stage: Stage) -> None:
    """minReadySeconds lies between ready and available."""
    stage.deployment("web", "web:1", pod=READY, minReadySeconds=2)
    await stage.until(lambda: stage.deployed("web").get("readyReplicas") == 1, "it is ready")
    assert "availableReplicas" not in stage.deployed("web")
    await stage.until(lambda: stage.deployed("web").get("availableReplicas") == 1, "it is available")


@scenario()
async def test_deleting_a_deployment_takes_everything_it_owns(stage: Stage) -> None:
    """ReplicaSets at once, pods after their processes."""
    stage.deployment("web", "web:1", replicas=2, pod=READY)
    await stage.until(lambda: stage.is_rolled_out("web"), "it is available")
    stage.store.delete(DEPLOYMENT, NAMESPACE, "web")
    await stage.until(lambda: not stage.store.objects(REPLICA_SET), "the ReplicaSet is gone")
    await stage.until(lambda: not stage.store.objects(POD), "the pods are gone")


@scenario()
async def test_a_pod_that_is_deleted_is_replaced(stage: Stage) -> None:
    """Before the old one has ended."""
    stage.deployment("web", "web:1", pod={**READY, "terminationGracePeriodSeconds": 600})
    await stage.until(lambda: stage.is_rolled_out("web"), "it is available")
    (pod,) = stage.pods("web")
    stage.store.update(POD, NAMESPACE, pod["metadata"]["name"], mark_deleted)
    await stage.until(lambda: len(stage.pods("web")) == 2, "a new one is there beside the old")
    await stage.until(lambda: len(stage.pods("web")) == 1 and stage.is_rolled_out("web"), "the new one takes over")


@pytest.mark.parametrize(
    ("strategy", "replicas", "expected"),
    [
        ({}, 4, Bounds(1, 1)),
        ({}, 2, Bounds(1, 0)),
        ({"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": "50%"}}, 3, Bounds(2, 1)),
        ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, 3, Bounds(0, 1)),
        ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}, 3, Bounds(0, 1)),
        ({"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 9}}, 3, Bounds(2, 3)),
    ],
)
def test_surge_and_unavailability_become_pods(strategy: dict[str, Any], replicas: int, expected: Bounds) -> None:
    """Surge rounds up, unavailability down; both zero would stand still."""
    assert bounds(strategy, replicas) == expected


@pytest.mark.parametrize(
    ("replicas", "limits", "new", "old", "expected"),
    [
        pytest.param(3, Bounds(1, 0), (0, 0), [(3, 3)], {"new": 1}, id="surges first"),
        pytest.param(3, Bounds(1, 0), (1, 0), [(3, 3)], {}, id="waits for the new pod"),
        pytest.param(3, Bounds(1, 0), (1, 1), [(3, 3)], {"old0": 2}, id="takes one old pod away"),
        pytest.param(3, Bounds(0, 1), (0, 0), [(3, 3)], {"old0": 2}, id="makes room when it may not surge"),
        pytest.param(3, Bounds(1, 0), (1, 0), [(1, 0), (3, 3)], {"old0": 0}, id="first what serves nobody"),
        pytest.param(3, Bounds(1, 1), (3, 3), [(1, 1)], {"old0": 0}, id="ends the old one"),
        pytest.param(3, Bounds(1, 1), (5, 5), [], {"new": 3}, id="shrinks"),
        pytest.param(3, Bounds(1, 1), (3, 3), [], {}, id="done"),
        pytest.param(0, Bounds(0, 1), (0, 0), [(2, 2)], {"old0": 0}, id="to nothing"),
    ],
)
def test_a_rolling_update_moves_one_step(
    replicas: int, limits: Bounds, new: tuple[int, int], old: list[tuple[int, int]], expected: dict[str, int]
) -> None:
    """(desired, available) of the new ReplicaSet and the old ones, oldest first -> the sizes set next."""
    others = [Sizes(f"old{index}", desired, desired, ready) for index, (desired, ready) in enumerate(old)]
    assert rolling_step(replicas, limits, Sizes("new", new[0], new[0], new[1]), others) == expected


def test_recreate_waits_for_the_last_old_pod() -> None:
    """A terminating pod of the old version still counts."""
    new, old = Sizes("new", 0, 0, 0), Sizes("old", 2, 2, 2)
    assert recreate_step(2, new, [old], 2) == {"old": 0}
    assert recreate_step(2, new, [Sizes("old", 0, 0, 0)], 1) == {}
    assert recreate_step(2, new, [Sizes("old", 0, 0, 0)], 0) == {"new": 2}


def conditions(deployment: Object) -> dict[str, tuple[str, str]]:
    rows = (deployment.get("status") or {}).get("conditions") or ()
    return {row["type"]: (row["status"], row["reason"]) for row in rows}


def is_ready(pod: Object) -> bool:
    rows = (pod.get("status") or {}).get("conditions") or ()
    return any(row["type"] == "Ready" and row["status"] == "True" for row in rows)


def images_of(stage: Stage, app: str) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in stage.pods(app)}


def mark_deleted(pod: Object) -> None:
    pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=2)
