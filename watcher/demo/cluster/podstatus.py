"""What a pod's status says, computed from the states of its containers: no process, no clock."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from watcher.demo.cluster.controllers.common import with_condition
from watcher.demo.cluster.store import Object


@dataclass(slots=True)
class ContainerState:
    """One container as the kubelet knows it. `state` is its current state as the API shows it."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: waiting("ContainerCreating"))
    last: Object = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0
    image_id: str = ""
    container_id: str = ""
    final: bool = False
    """It ended and will not be started again."""

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def shown(self) -> Object:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image_id,
            "containerID": self.container_id,
            "state": copy.deepcopy(self.state),
            "lastState": copy.deepcopy(self.last),
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def phase(init: Sequence[ContainerState], main: Sequence[ContainerState]) -> str:
    """Pending until a main container was started, then Running, until all have ended for good."""
    if any(row.final and row.exit_code for row in init):
        return "Failed"
    if not all(row.final for row in init):
        return "Pending"
    if main and all(row.final for row in main):
        return "Failed" if any(row.exit_code for row in main) else "Succeeded"
    begun = any(row.running or row.restarts or "terminated" in row.state or row.last for row in main)
    return "Running" if begun else "Pending"


def quality(spec: Object) -> str:
    """The pod's QoS class, from the requests and limits of its containers."""
    rows = [container.get("resources") or {} for container in spec.get("containers") or ()]
    limits = [row.get("limits") or {} for row in rows]
    if not any(row.get("requests") or row.get("limits") for row in rows):
        return "BestEffort"
    full = all({"cpu", "memory"} <= set(limit) for limit in limits)
    equal = all(
        (row.get("requests") or {}).get(name, limit.get(name)) == limit.get(name)
        for row, limit in zip(rows, limits, strict=True)
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if full and equal else "Burstable"


def pod_status(
    before: Object, init: Sequence[ContainerState], main: Sequence[ContainerState], facts: Object, now: str
) -> Object:
    """The whole status. `facts` are fields that are fixed once a pod is taken on: podIP, hostIP, startTime ..."""
    now_phase = phase(init, main)
    over = now_phase in ("Succeeded", "Failed")
    unready = [row.name for row in main if not row.ready]
    conditions = list(before.get("conditions") or ())
    for row in (
        _condition("PodReadyToStartContainers", not over),
        _initialized(init, over=now_phase == "Succeeded"),
        _readiness("Ready", unready, now_phase),
        _readiness("ContainersReady", unready, now_phase),
    ):
        conditions = with_condition(conditions, row, now)
    status = {**before, **facts, "phase": now_phase, "conditions": conditions}
    status["containerStatuses"] = [row.shown() for row in main]
    if init:
        status["initContainerStatuses"] = [row.shown() for row in init]
    return status


def _condition(type_: str, holds: bool) -> Object:
    return {"type": type_, "status": "True" if holds else "False"}


def _initialized(init: Sequence[ContainerState], *, over: bool) -> Object:
    waiting_for = [row.name for row in init if not (row.final and row.exit_code == 0)]
    if over:
        return {"type": "Initialized", "status": "True", "reason": "PodCompleted"}
    if not waiting_for:
        return {"type": "Initialized", "status": "True"}
    return {
        "type": "Initialized",
        "status": "False",
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(waiting_for)}]",
    }


def _readiness(type_: str, unready: Sequence[str], now_phase: str) -> Object:
    if now_phase == "Succeeded":
        return {"type": type_, "status": "False", "reason": "PodCompleted"}
    if now_phase == "Failed":
        return {"type": type_, "status": "False", "reason": "PodFailed"}
    if not unready:
        return {"type": type_, "status": "True"}
    return {
        "type": type_,
        "status": "False",
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{' '.join(unready)}]",
    }
