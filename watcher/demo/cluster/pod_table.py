"""A pod's line in `kubectl get pods`: the one line whose STATUS is worked out from a dozen fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from watcher.demo.cluster.store import Object
from watcher.demo.cluster.times import age, parse_time


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a Table. Priority 1 shows with `-o wide` only."""

    name: str
    type: str = "string"
    description: str = ""
    priority: int = 0
    format: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": self.priority,
        }


def name_column() -> Column:
    return Column("Name", description="Name must be unique within a namespace.", format="name")


POD_COLUMNS = (
    name_column(),
    Column("Ready"),
    Column("Status"),
    Column("Restarts"),
    Column("Age"),
    Column("IP", priority=1),
    Column("Node", priority=1),
    Column("Nominated Node", priority=1),
    Column("Readiness Gates", priority=1),
)


def pod_cells(pod: Object, now: datetime) -> list[Any]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(1 for container in statuses if container.get("ready"))
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or [])}",
        pod_status(pod),
        _restarts(statuses, now),
        age(pod["metadata"].get("creationTimestamp"), now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        "<none>",
    ]


def pod_status(pod: Object) -> str:
    """The STATUS word: the phase, unless a container or the deletion of the pod has something to add."""
    status = pod.get("status") or {}
    word = str(status.get("reason") or status.get("phase") or "Pending")
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            word = waiting["reason"]
        elif terminated is not None:
            word = terminated.get("reason") or _exit(terminated)
        elif container.get("ready") and "running" in state:
            running = True
    if word == "Completed" and running:
        word = "Running"
    if pod["metadata"].get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return word


def _exit(terminated: dict[str, Any]) -> str:
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(statuses: list[dict[str, Any]], now: datetime) -> str:
    count = sum(container.get("restartCount", 0) for container in statuses)
    ended = [
        when
        for container in statuses
        if (when := parse_time(((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")))
    ]
    return f"{count} ({age(max(ended).isoformat(), now)} ago)" if count and ended else str(count)


def containers_and_images(pod_spec: dict[str, Any]) -> list[str]:
    containers = pod_spec.get("containers") or []
    return [",".join(c["name"] for c in containers), ",".join(c.get("image", "") for c in containers)]
