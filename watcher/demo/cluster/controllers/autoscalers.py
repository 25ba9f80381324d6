"""HorizontalPodAutoscalers as they are in a cluster that measures nothing: they keep sizes between their bounds.

What always holds: a target of zero replicas is left alone, as the real controller does; and without metrics nothing
grows or shrinks by its load.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.resources import AUTOSCALER, DEPLOYMENT
from watcher.demo.cluster.store import Change, Object, Store

GOT_SCALE = (
    "AbleToScale",
    "True",
    "SucceededGetScale",
    "the HPA controller was able to get the target's current scale",
)
NO_SCALE = ("AbleToScale", "False", "FailedGetScale", "the HPA controller could not get the target's scale")
ZERO = (
    "ScalingActive",
    "False",
    "ScalingDisabled",
    "scaling is disabled since the replica count of the target is zero",
)
UNMEASURED = ("ScalingActive", "False", "FailedGetResourceMetric", "the HPA was unable to compute the replica count")


class Autoscalers:
    """Scales Deployments that are outside the bounds of their autoscaler."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = Recorder(store, "horizontal-pod-autoscaler")

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.object["metadata"]
        if change.kind == AUTOSCALER:
            yield (meta["namespace"], meta["name"])
        elif change.kind == DEPLOYMENT:
            for scaler in self._store.objects(AUTOSCALER, meta["namespace"], lambda row: _target(row) == meta["name"]):
                yield (meta["namespace"], scaler["metadata"]["name"])

    def reconcile(self, key: Key) -> float | None:
        scaler = self._store.find(AUTOSCALER, *key)
        if scaler is None:
            return None
        target = self._store.find(DEPLOYMENT, key[0], _target(scaler))
        if target is None:
            self._report(scaler, 0, 0, [NO_SCALE])
            return None
        spec, now = scaler["spec"], target["spec"].get("replicas", 1)
        wanted = min(max(now, spec["minReplicas"]), spec["maxReplicas"]) if now else 0
        if wanted != now:
            self._store.update(DEPLOYMENT, *_key(target), lambda d: d["spec"].update(replicas=wanted))
            bound = "below Spec.MinReplicas" if wanted > now else "above Spec.MaxReplicas"
            reason = f"New size: {wanted}; reason: Current number of replicas {bound}"
            self._events.record(scaler, "Normal", "SuccessfulRescale", reason)
        self._report(scaler, now, wanted, [GOT_SCALE, UNMEASURED if now else ZERO])
        return None

    def _report(self, scaler: Object, now: int, wanted: int, said: list[tuple[str, str, str, str]]) -> None:
        before = {c["type"]: c for c in (scaler.get("status") or {}).get("conditions") or ()}
        conditions: list[dict[str, Any]] = []
        for kind, truth, reason, message in said:
            old = before.get(kind, {})
            since = old["lastTransitionTime"] if old.get("status") == truth else self._store.timestamp()
            fields = {"type": kind, "status": truth, "reason": reason, "message": message}
            conditions.append({**fields, "lastTransitionTime": since})
        status = {"currentReplicas": now, "desiredReplicas": wanted, "conditions": conditions}
        self._store.update(AUTOSCALER, *_key(scaler), lambda found: found.update(status=status))


def _target(scaler: Object) -> str:
    """The Deployment that it scales; empty for anything else."""
    target = scaler["spec"]["scaleTargetRef"]
    return str(target["name"]) if target["kind"] == DEPLOYMENT.kind else ""


def _key(found: Object) -> Key:
    return (found["metadata"]["namespace"], found["metadata"]["name"])
