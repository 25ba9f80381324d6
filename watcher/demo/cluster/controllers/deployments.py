"""Deployments: one ReplicaSet per pod template, and the orderly move from one to the next.

What always holds: the ReplicaSet of the present template is found by comparing templates (so going back to an earlier
template takes its old ReplicaSet up again, at a new revision), and no step goes beyond maxSurge or maxUnavailable.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from watcher.demo.cluster.controllers.common import (
    claimed,
    controller_of,
    finished,
    matches,
    owned,
    owner_reference,
    template_hash,
    terminating,
)
from watcher.demo.cluster.controllers.deployment_status import deadline_in, deployment_status
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.controllers.rollout import Bounds, Sizes, bounds, recreate_step, rolling_step
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.resources import DEPLOYMENT, POD, REPLICA_SET
from watcher.demo.cluster.store import Change, Object, Store

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
NOT_COPIED = {REVISION, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration"}


class Deployments:
    """Rolls Deployments out and reports how far they are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = Recorder(store, "deployment-controller")

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.object["metadata"]
        if change.kind == DEPLOYMENT:
            yield (meta["namespace"], meta["name"])
        elif change.kind == REPLICA_SET:
            owner = controller_of(change.object)
            if owner and owner["kind"] == DEPLOYMENT.kind:
                yield (meta["namespace"], owner["name"])
        elif change.kind == POD and change.type == "DELETED":
            # A Recreate waits for the last old pod to be gone, which its ReplicaSet's counts do not show.
            for deployment in self._store.objects(
                DEPLOYMENT, meta["namespace"], lambda row: matches(row["spec"]["selector"], meta.get("labels") or {})
            ):
                yield (meta["namespace"], deployment["metadata"]["name"])

    def reconcile(self, key: Key) -> float | None:
        deployment = self._store.find(DEPLOYMENT, *key)
        if deployment is None or terminating(deployment):
            return None
        sets = sorted(claimed(self._store, REPLICA_SET, deployment), key=_age)
        new = next((row for row in sets if _same_template(row, deployment)), None)
        created = new is None
        if not deployment["spec"].get("paused"):
            new = self._current(deployment, sets, new)
        old = [row for row in sets if new is None or row["metadata"]["uid"] != new["metadata"]["uid"]]
        self._roll(deployment, new, old)
        return self._report(deployment, created=created and new is not None)

    # -- the ReplicaSet of the present template -----------------------------------------------------------------

    def _current(self, deployment: Object, sets: list[Object], new: Object | None) -> Object:
        newest = max((_revision(row) for row in sets if new is None or row is not new), default=0)
        if new is None:
            new = self._create(deployment, newest + 1)
        elif _revision(new) < newest:
            new = self._annotate(new, {REVISION: str(newest + 1)})
        revision = new["metadata"]["annotations"][REVISION]
        meta = deployment["metadata"]

        def mark(found: Object) -> None:
            found["metadata"].setdefault("annotations", {})[REVISION] = revision

        self._store.update(DEPLOYMENT, meta["namespace"], meta["name"], mark)
        return new

    def _create(self, deployment: Object, revision: int) -> Object:
        template = copy.deepcopy(deployment["spec"]["template"])
        digest = template_hash(template)
        meta = template.setdefault("metadata", {})
        meta["labels"] = {**(meta.get("labels") or {}), HASH: digest}
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: digest}
        name = deployment["metadata"]["name"]
        annotations = deployment["metadata"].get("annotations") or {}
        return self._store.create(
            REPLICA_SET,
            {
                "metadata": {
                    "name": f"{name}-{digest}",
                    "namespace": deployment["metadata"]["namespace"],
                    "labels": meta["labels"],
                    "annotations": {
                        **{key: value for key, value in annotations.items() if key not in NOT_COPIED},
                        **_size_annotations(deployment),
                        REVISION: str(revision),
                    },
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": {
                    "replicas": 0,
                    "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
                    "selector": selector,
                    "template": template,
                },
                "status": {"replicas": 0},
            },
        )

    def _annotate(self, replica_set: Object, annotations: dict[str, str]) -> Object:
        meta = replica_set["metadata"]

        def change(found: Object) -> None:
            found["metadata"]["annotations"] = {**(found["metadata"].get("annotations") or {}), **annotations}

        return self._store.update(REPLICA_SET, meta["namespace"], meta["name"], change)

    # -- sizes --------------------------------------------------------------------------------------------------

    def _roll(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        replicas = deployment["spec"].get("replicas", 1)
        by_name = {row["metadata"]["name"]: row for row in [*old, *([new] if new else [])]}
        strategy = deployment["spec"].get("strategy") or {}
        if deployment["spec"].get("paused") or new is None:
            self._resize_paused(deployment, new, old)
            return
        if strategy.get("type") == "Recreate":
            leftovers = sum(self._pods_of(row) for row in old)
            steps = recreate_step(replicas, _sizes(new), [_sizes(row) for row in old], leftovers)
        else:
            steps = rolling_step(replicas, _limits(deployment), _sizes(new), [_sizes(row) for row in old])
        for name, size in steps.items():
            self._scale(deployment, by_name[name], size)

    def _resize_paused(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        """A paused Deployment still follows its size, with the template that runs most of it."""
        running = max([*old, *([new] if new else [])], key=lambda row: row["spec"].get("replicas", 0), default=None)
        if running is None:
            return
        others = sum(row["spec"].get("replicas", 0) for row in [*old, *([new] if new else [])] if row is not running)
        size = max(deployment["spec"].get("replicas", 1) - others, 0)
        if running["spec"].get("replicas", 0) != size:
            self._scale(deployment, running, size)

    def _scale(self, deployment: Object, replica_set: Object, size: int) -> None:
        meta = replica_set["metadata"]
        before = replica_set["spec"].get("replicas", 0)

        def change(found: Object) -> None:
            found["spec"]["replicas"] = size
            found["metadata"].setdefault("annotations", {}).update(_size_annotations(deployment))

        self._store.update(REPLICA_SET, meta["namespace"], meta["name"], change)
        direction = "up" if size > before else "down"
        self._events.record(
            deployment,
            "Normal",
            "ScalingReplicaSet",
            f"Scaled {direction} replica set {meta['name']} from {before} to {size}",
        )

    def _pods_of(self, replica_set: Object) -> int:
        return sum(not finished(pod) for pod in owned(self._store, POD, replica_set))

    # -- report -------------------------------------------------------------------------------------------------

    def _report(self, deployment: Object, *, created: bool) -> float | None:
        """Write the status; drop ReplicaSets that history need not keep. Returns when the deadline falls due."""
        key = (deployment["metadata"]["namespace"], deployment["metadata"]["name"])
        deployment = self._store.get(DEPLOYMENT, *key)
        sets = sorted(owned(self._store, REPLICA_SET, deployment), key=_age)
        new = next((row for row in sets if _same_template(row, deployment)), None)
        now = self._store.timestamp()
        status = deployment_status(
            deployment, new, sets, unavailable=_limits(deployment).unavailable, created=created, now=now
        )
        deployment = self._store.update(DEPLOYMENT, *key, lambda found: found.update(status=status))
        old = [row for row in sets if new is None or row["metadata"]["uid"] != new["metadata"]["uid"]]
        empty = [row for row in old if not row["spec"].get("replicas") and not row["status"].get("replicas")]
        surplus = len(old) - int(deployment["spec"].get("revisionHistoryLimit", 10))
        for row in sorted(empty, key=_revision)[: max(surplus, 0)]:
            self._store.delete(REPLICA_SET, key[0], row["metadata"]["name"])
        return deadline_in(deployment, now)


def _sizes(replica_set: Object) -> Sizes:
    status = replica_set.get("status") or {}
    return Sizes(
        replica_set["metadata"]["name"],
        replica_set["spec"].get("replicas", 0),
        status.get("replicas", 0),
        status.get("availableReplicas", 0),
    )


def _limits(deployment: Object) -> Bounds:
    return bounds(deployment["spec"].get("strategy") or {}, deployment["spec"].get("replicas", 1))


def _size_annotations(deployment: Object) -> dict[str, str]:
    replicas = deployment["spec"].get("replicas", 1)
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + _limits(deployment).surge)}


def _same_template(replica_set: Object, deployment: Object) -> bool:
    return _plain(replica_set["spec"]["template"]) == _plain(deployment["spec"]["template"])


def _plain(template: dict[str, Any]) -> dict[str, Any]:
    """A template without what a Deployment adds to it."""
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    labels = {key: value for key, value in (meta.pop("labels", None) or {}).items() if key != HASH}
    return {"metadata": {**meta, "labels": labels}, "spec": template["spec"]}


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))


def _age(replica_set: Object) -> tuple[str, int]:
    return (replica_set["metadata"]["creationTimestamp"], _revision(replica_set))
