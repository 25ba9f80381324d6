"""What a Deployment's status says, computed from its ReplicaSets: no store, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from watcher.demo.cluster.controllers.common import drop_zeros, parse_time, seconds_since, with_condition
from watcher.demo.cluster.store import Object

DEADLINE = 600
"""progressDeadlineSeconds when the Deployment names none."""


def deployment_status(
    deployment: Object, new: Object | None, sets: Sequence[Object], *, unavailable: int, created: bool, now: str
) -> Object:
    """The whole status. `unavailable` is maxUnavailable in pods, `sets` includes `new`, `created` says it is fresh."""
    replicas = deployment["spec"].get("replicas", 1)
    available = _total(sets, "availableReplicas")
    counts = {
        "replicas": _total(sets, "replicas"),
        "updatedReplicas": _total([new] if new else [], "replicas"),
        "readyReplicas": _total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(max(replicas, sum(row["spec"].get("replicas", 0) for row in sets)) - available, 0),
    }
    before = deployment.get("status") or {}
    conditions = list(before.get("conditions") or ())
    if available >= replicas - unavailable:
        row = _row("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        text = "Deployment does not have minimum availability."
        row = _row("Available", "False", "MinimumReplicasUnavailable", text)
    conditions = _update(conditions, row, now)
    conditions = _progress(deployment, new, conditions, counts, created=created, now=now)
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        **drop_zeros(counts),
        "conditions": conditions,
    }


def deadline_in(deployment: Object, now: str) -> float | None:
    """Seconds until a rollout that makes no progress is called stuck; None when nothing is under way."""
    status = deployment.get("status") or {}
    row = next((row for row in status.get("conditions") or () if row["type"] == "Progressing"), None)
    if row is None or row.get("reason") not in ("ReplicaSetUpdated", "NewReplicaSetCreated"):
        return None
    limit: float = deployment["spec"].get("progressDeadlineSeconds", DEADLINE)
    return max(limit - seconds_since(row["lastUpdateTime"], now), 0.0) + 1.0


def _progress(
    deployment: Object,
    new: Object | None,
    conditions: list[Object],
    counts: dict[str, int],
    *,
    created: bool,
    now: str,
) -> list[Object]:
    if deployment["spec"].get("paused"):
        text = "Deployment is paused"
        return _update(conditions, _row("Progressing", "Unknown", "DeploymentPaused", text), now)
    replicas = deployment["spec"].get("replicas", 1)
    what = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    row = next((row for row in conditions if row["type"] == "Progressing"), None)
    if row is None or created:
        row = _row("Progressing", "True", "NewReplicaSetCreated", f"Created new {what}.")
        conditions = _update(conditions, row, now, touch=True)
        row = next(row for row in conditions if row["type"] == "Progressing")
    elif row["reason"] == "NewReplicaSetAvailable" and counts["replicas"] == counts["updatedReplicas"]:
        # Once a template is rolled out its deadline is over: a later change of size alone never exceeds it.
        return conditions
    if _complete(replicas, counts):
        done = _row("Progressing", "True", "NewReplicaSetAvailable", f"{what} has successfully progressed.")
        return _update(conditions, done, now)
    if row["status"] == "Unknown" or _moved(deployment.get("status") or {}, counts):
        moving = _row("Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.")
        return _update(conditions, moving, now, touch=True)
    limit = deployment["spec"].get("progressDeadlineSeconds", DEADLINE)
    late = (parse_time(now) - parse_time(row["lastUpdateTime"])).total_seconds() > limit
    if late and row["reason"] != "NewReplicaSetAvailable":
        stuck = _row("Progressing", "False", "ProgressDeadlineExceeded", f"{what} has timed out progressing.")
        return _update(conditions, stuck, now)
    return conditions


def _complete(replicas: int, counts: dict[str, int]) -> bool:
    return all(counts[name] == replicas for name in ("updatedReplicas", "replicas", "availableReplicas"))


def _moved(before: Object, counts: dict[str, int]) -> bool:
    """Whether a rollout came further: more new pods, fewer old ones, more of them ready or available."""
    old = counts["replicas"] - counts["updatedReplicas"]
    old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    grew = any(counts[name] > before.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return grew or old < old_before


def _row(type_: str, status: str, reason: str, message: str) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def _update(conditions: list[Object], new: Object, now: str, *, touch: bool = False) -> list[Object]:
    """Set a condition. lastUpdateTime moves when it says something new, or on `touch`: progress was made."""
    row = next((row for row in conditions if row["type"] == new["type"]), None)
    same = row is not None and all(row.get(key) == new[key] for key in ("status", "reason", "message"))
    if row is not None and same and not touch:
        return conditions
    return with_condition(conditions, {**new, "lastUpdateTime": now}, now)


def _total(sets: Iterable[Object], count: str) -> int:
    return sum((row.get("status") or {}).get(count, 0) for row in sets)
