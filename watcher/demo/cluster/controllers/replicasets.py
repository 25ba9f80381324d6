"""ReplicaSets: as many pods of one template as asked for."""

from __future__ import annotations

from collections.abc import Iterable

from watcher.demo.cluster.controllers.common import (
    active,
    claimed,
    condition,
    controller_of,
    delete_pod,
    drop_zeros,
    is_true,
    matches,
    owner_reference,
    seconds_since,
    terminating,
)
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.resources import POD, REPLICA_SET
from watcher.demo.cluster.store import Change, Object, Store


class ReplicaSets:
    """Creates missing pods, deletes surplus ones (those of least use first), and counts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = Recorder(store, "replicaset-controller")

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.object["metadata"]
        if change.kind == REPLICA_SET:
            yield (meta["namespace"], meta["name"])
        elif change.kind == POD:
            for version in (change.object, change.before):
                owner = controller_of(version) if version else None
                if owner and owner["kind"] == REPLICA_SET.kind:
                    yield (meta["namespace"], owner["name"])
            if change.type != "DELETED" and controller_of(change.object) is None:
                labels = meta.get("labels") or {}
                for replica_set in self._store.objects(
                    REPLICA_SET, meta["namespace"], lambda row: matches(row["spec"]["selector"], labels)
                ):
                    yield (meta["namespace"], replica_set["metadata"]["name"])

    def reconcile(self, key: Key) -> float | None:
        replica_set = self._store.find(REPLICA_SET, *key)
        if replica_set is None:
            return None
        pods = [pod for pod in claimed(self._store, POD, replica_set) if active(pod)]
        if not terminating(replica_set):
            missing = replica_set["spec"].get("replicas", 1) - len(pods)
            pods.extend(self._create(replica_set) for _ in range(missing))
            if missing < 0:
                for pod in sorted(pods, key=usefulness)[:-missing]:
                    self._delete(replica_set, pod)
                    pods.remove(pod)
        return self._report(replica_set, pods)

    def _create(self, replica_set: Object) -> Object:
        template = replica_set["spec"]["template"]
        meta = template.get("metadata") or {}
        name = replica_set["metadata"]["name"]
        pod = self._store.create(
            POD,
            {
                "metadata": {
                    "generateName": f"{name}-",
                    "namespace": replica_set["metadata"]["namespace"],
                    "labels": dict(meta.get("labels") or {}),
                    "annotations": dict(meta.get("annotations") or {}),
                    "ownerReferences": [owner_reference(replica_set)],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )
        self._events.record(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return pod

    def _delete(self, replica_set: Object, pod: Object) -> None:
        delete_pod(self._store, pod)
        self._events.record(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")

    def _report(self, replica_set: Object, pods: list[Object]) -> float | None:
        """Write the counts. Returns when the next pod will have been ready for long enough to count as available."""
        now = self._store.timestamp()
        wanted = replica_set["spec"].get("minReadySeconds", 0)
        ages = [age for age in (ready_for(pod, now) for pod in pods) if age is not None]
        labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
        counts = {
            "fullyLabeledReplicas": sum(
                labels.items() <= (pod["metadata"].get("labels") or {}).items() for pod in pods
            ),
            "readyReplicas": len(ages),
            "availableReplicas": sum(age >= wanted for age in ages),
        }
        status = {
            "replicas": len(pods),
            **drop_zeros(counts),
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        meta = replica_set["metadata"]
        self._store.update(REPLICA_SET, meta["namespace"], meta["name"], lambda found: found.update(status=status))
        waiting = [wanted - age for age in ages if age < wanted]
        return min(waiting) + 0.05 if waiting else None


def ready_for(pod: Object, now: str) -> float | None:
    """Seconds for which a pod has been ready, None when it is not."""
    if not is_true(pod, "Ready"):
        return None
    row = condition(pod, "Ready")
    return max(seconds_since(row["lastTransitionTime"], now), 0.0) if row else None


def usefulness(pod: Object) -> tuple[bool, bool, bool, int, str]:
    """What a scale-down keeps longest sorts last: scheduled, running, ready, few restarts, old.

    Ages compare by creation time turned round: of two equal pods the newer one goes first.
    """
    status = pod.get("status") or {}
    restarts = sum(row.get("restartCount", 0) for row in status.get("containerStatuses") or ())
    created = pod["metadata"]["creationTimestamp"]
    newest_first = "".join(chr(255 - ord(letter)) for letter in created)
    return (
        bool(pod["spec"].get("nodeName")),
        status.get("phase") == "Running",
        is_true(pod, "Ready"),
        -restarts,
        newest_first,
    )
