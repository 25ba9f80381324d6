"""The scheduler: puts pods on the one node as long as their requests fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from watcher.demo.cluster.controllers.common import finished, terminating, with_condition
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.quantities import quantity
from watcher.demo.cluster.resources import NODE, POD
from watcher.demo.cluster.store import Change, Object, Store

NODE_NAME = "embedded"


class Scheduler:
    """Binds pods. A pod that does not fit is looked at again whenever another one goes or the node changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = Recorder(store, "default-scheduler")

    def keys(self, change: Change) -> Iterable[Key]:
        if change.kind == POD:
            meta = change.object["metadata"]
            yield (meta["namespace"], meta["name"])
            if change.type == "DELETED" or finished(change.object):
                yield from self._waiting()
        elif change.kind == NODE:
            yield from self._waiting()

    def reconcile(self, key: Key) -> float | None:
        pod = self._store.find(POD, *key)
        if pod is None or pod["spec"].get("nodeName") or terminating(pod) or finished(pod):
            return None
        node = self._store.find(NODE, "", NODE_NAME)
        neighbours = [other for other in self._store.each(POD) if other["spec"].get("nodeName")]
        why = misfit(pod, node, [other for other in neighbours if not finished(other)])
        now = self._store.timestamp()
        row: Object = {"type": "PodScheduled", "status": "True"}
        if why:
            victims = "No preemption victims found for incoming pod."
            if why.startswith("node(s)"):
                victims = "Preemption is not helpful for scheduling."
            message = f"0/1 nodes are available: 1 {why}. preemption: 0/1 nodes are available: 1 {victims}"
            row = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}

        def bind(found: Object) -> None:
            status = found.setdefault("status", {})
            status.setdefault("phase", "Pending")
            status["conditions"] = with_condition(status.get("conditions") or [], row, now)
            if not why:
                found["spec"]["nodeName"] = NODE_NAME

        before = pod
        pod = self._store.update(POD, *key, bind)
        if why and pod != before:
            self._events.record(pod, "Warning", "FailedScheduling", row["message"])
        elif not why:
            text = f"Successfully assigned {key[0]}/{key[1]} to {NODE_NAME}"
            self._events.record(pod, "Normal", "Scheduled", text)
        return None

    def _waiting(self) -> list[Key]:
        names = [pod["metadata"] for pod in self._store.each(POD) if not pod["spec"].get("nodeName")]
        return [(meta["namespace"], meta["name"]) for meta in names]


def requests_of(pod: Object) -> dict[str, Decimal]:
    """What a pod asks for in cpu and memory: the sum over its containers; an unset request is its limit."""
    totals = {"cpu": Decimal(0), "memory": Decimal(0)}
    for container in pod["spec"].get("containers") or ():
        resources: Mapping[str, Any] = container.get("resources") or {}
        wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name in totals:
            totals[name] += quantity(wanted.get(name, "0"))
    return totals


def misfit(pod: Object, node: Object | None, neighbours: list[Object]) -> str | None:
    """Why a pod cannot go on the node, in the scheduler's words; None when it can."""
    if node is None:
        return "node(s) were not found"
    labels = node["metadata"].get("labels") or {}
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if not (pod["spec"].get("nodeSelector") or {}).items() <= labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    if len(neighbours) >= int(node["status"]["allocatable"]["pods"]):
        return "Too many pods"
    wanted = requests_of(pod)
    short = []
    for name, amount in wanted.items():
        used = sum((requests_of(other)[name] for other in neighbours), Decimal(0))
        if amount and used + amount > quantity(node["status"]["allocatable"][name]):
            short.append(f"Insufficient {name}")
    return ", 1 ".join(short) or None
