"""Jobs: pods that run to an end, tried again a bounded number of times.

What always holds: a Job ends once, Complete or Failed, when the last of its pods has ended, and starts none once
that is decided; what it has counted it does not forget when a pod is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watcher.demo.cluster.backoff import FIRST
from watcher.demo.cluster.controllers.common import (
    active,
    condition,
    controller_of,
    delete_pod,
    drop_zeros,
    is_true,
    owned,
    owner_reference,
    seconds_since,
    terminating,
    with_condition,
)
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.resources import JOB, POD
from watcher.demo.cluster.store import Change, Object, Store

BACKOFF_LIMIT = 6
_FIRST = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}
"""The condition that says how a Job will end, by the one that says that it has."""
LONGEST = 360.0
"""Seconds (before scaling) that a Job waits at most before it replaces a failed pod."""


class Jobs:
    """Runs Jobs. `backoff_scale` multiplies the waits between failed pods."""

    def __init__(self, store: Store, backoff_scale: float = 1.0) -> None:
        self._store = store
        self._scale = backoff_scale
        self._events = Recorder(store, "job-controller")

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.object["metadata"]
        if change.kind == JOB:
            yield (meta["namespace"], meta["name"])
        elif change.kind == POD:
            owner = controller_of(change.object)
            if owner and owner["kind"] == JOB.kind:
                yield (meta["namespace"], owner["name"])

    def reconcile(self, key: Key) -> float | None:
        job = self._store.find(JOB, *key)
        if job is None or terminating(job):
            return None
        pods = owned(self._store, POD, job)
        if is_true(job, "Complete") or is_true(job, "Failed"):
            for pod in pods:
                if active(pod):
                    delete_pod(self._store, pod)
            self._store.update(JOB, *key, lambda found: found["status"].pop("active", None))
            return self._expire(job)
        status = self._count(job, pods)
        job = self._store.update(JOB, *key, lambda found: found.update(status=status))
        verdict = decided(job) or outcome(job, pods, self._store.timestamp())
        if verdict:
            return self._finish(job, pods, *verdict)
        return self._run(job, pods)

    # -- counting -----------------------------------------------------------------------------------------------

    def _count(self, job: Object, pods: list[Object]) -> Object:
        before = job.get("status") or {}
        phases = [pod.get("status", {}).get("phase") for pod in pods]
        counts = {
            "active": sum(active(pod) for pod in pods),
            "ready": sum(is_true(pod, "Ready") and active(pod) for pod in pods),
            "terminating": sum(terminating(pod) for pod in pods),
            "succeeded": max(before.get("succeeded", 0), phases.count("Succeeded")),
            "failed": max(before.get("failed", 0), phases.count("Failed")),
        }
        kept = {name: value for name, value in before.items() if name not in counts}
        now = self._store.timestamp()
        suspended = bool(job["spec"].get("suspend"))
        if suspended:
            kept.pop("startTime", None)
        else:
            kept.setdefault("startTime", now)
        if suspended or condition(job, "Suspended"):
            row = {"type": "Suspended", "status": str(suspended), "lastProbeTime": now}
            row |= {"reason": "JobSuspended", "message": "Job suspended"} if suspended else {"reason": "JobResumed"}
            kept["conditions"] = _with_once(kept.get("conditions") or [], row, now)
        always = {"ready": counts["ready"], "terminating": counts["terminating"], "uncountedTerminatedPods": {}}
        return {**kept, **drop_zeros(counts), **always}

    # -- running ------------------------------------------------------------------------------------------------

    def _run(self, job: Object, pods: list[Object]) -> float | None:
        """Keep as many pods running as are wanted now. Returns when to look again."""
        spec, status = job["spec"], job["status"]
        running = [pod for pod in pods if active(pod)]
        if spec.get("suspend"):
            for pod in running:
                delete_pod(self._store, pod)
            return None
        now = self._store.timestamp()
        completions = spec.get("completions") or 1
        wanted = min(spec.get("parallelism", 1), completions - status.get("succeeded", 0))
        waits: list[float] = []
        if len(running) < wanted:
            delay = self._delay(pods, status, now)
            if delay > 0:
                waits.append(delay)
            else:
                for _ in range(wanted - len(running)):
                    self._create(job)
        for pod in running[max(wanted, 0) :]:
            delete_pod(self._store, pod)
        limit = spec.get("activeDeadlineSeconds")
        if limit is not None:
            waits.append(max(limit - seconds_since(status["startTime"], now), 0.0) + 0.05)
        return min(waits) if waits else None

    def _delay(self, pods: list[Object], status: Object, now: str) -> float:
        failed = status.get("failed", 0)
        ends = [_ended_at(pod) for pod in pods if pod.get("status", {}).get("phase") == "Failed"]
        if not failed or not any(ends):
            return 0.0
        wait: float = min(FIRST * 2 ** (failed - 1), LONGEST) * self._scale
        return wait - seconds_since(max(end for end in ends if end), now)

    def _create(self, job: Object) -> None:
        template = job["spec"]["template"]
        meta = template.get("metadata") or {}
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        labels = {
            **(meta.get("labels") or {}),
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": uid,
            "job-name": name,
        }
        pod = self._store.create(
            POD,
            {
                "metadata": {
                    "generateName": f"{name}-",
                    "namespace": job["metadata"]["namespace"],
                    "labels": labels,
                    "annotations": dict(meta.get("annotations") or {}),
                    "ownerReferences": [owner_reference(job)],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )
        self._events.record(job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self, job: Object, pods: list[Object], type_: str, reason: str, message: str) -> float | None:
        """Say what is decided, end the pods that still run, and when none is left, say that it has ended."""
        now = self._store.timestamp()
        going = [pod for pod in pods if active(pod)]
        left = [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
        first = _FIRST[type_]

        def end(found: Object) -> None:
            status = found["status"]
            rows = status.get("conditions") or []
            for name in (first,) if left else (first, type_):
                row = {"type": name, "status": "True", "reason": reason, "message": message, "lastProbeTime": now}
                rows = _with_once(rows, row, now)
            status["conditions"] = rows
            if going:
                status["failed"] = status.get("failed", 0) + len(going)
            if type_ == "Complete" and not left:
                status["completionTime"] = now

        job = self._store.update(JOB, job["metadata"]["namespace"], job["metadata"]["name"], end)
        for pod in going:
            delete_pod(self._store, pod)
        if left:
            return None  # until they have ended
        if type_ == "Complete":
            self._events.record(job, "Normal", "Completed", "Job completed")
        else:
            self._events.record(job, "Warning", reason, message)
        return 0.0

    def _expire(self, job: Object) -> float | None:
        """Delete a finished Job when its time is up; returns how long that still is."""
        limit = job["spec"].get("ttlSecondsAfterFinished")
        if limit is None:
            return None
        ended = condition(job, "Complete") or condition(job, "Failed")
        left: float = limit - seconds_since((ended or {})["lastTransitionTime"], self._store.timestamp())
        if left > 0:
            return left + 0.05
        self._store.delete(JOB, job["metadata"]["namespace"], job["metadata"]["name"])
        return None


def _with_once(rows: list[Object], row: Object, now: str) -> list[Object]:
    """The conditions with this one, untouched when it is there: each write would bring the controller here again."""
    there = any((found["type"], found["status"]) == (row["type"], row["status"]) for found in rows)
    return rows if there else with_condition(rows, row, now)


def decided(job: Object) -> tuple[str, str, str] | None:
    """How a Job will end once the last of its pods has: condition type, reason and message."""
    for type_, first in _FIRST.items():
        row = condition(job, first)
        if row and row["status"] == "True":
            return type_, row["reason"], row["message"]
    return None


def outcome(job: Object, pods: list[Object], now: str) -> tuple[str, str, str] | None:
    """How a Job has ended: condition type, reason and message; None while it has not."""
    spec: dict[str, Any] = job["spec"]
    status = job["status"]
    if status.get("succeeded", 0) >= (spec.get("completions") or 1):
        return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    limit = spec.get("backoffLimit", BACKOFF_LIMIT)
    if status.get("failed", 0) + _restarts(job, pods) > limit:
        return ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    deadline = spec.get("activeDeadlineSeconds")
    started = status.get("startTime")
    if deadline is not None and started and seconds_since(started, now) >= deadline:
        return ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    return None


def _restarts(job: Object, pods: list[Object]) -> int:
    """Restarts inside living pods count as failures when the pods restart their containers themselves."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return 0
    rows = [row for pod in pods if active(pod) for row in pod.get("status", {}).get("containerStatuses") or ()]
    return sum(row.get("restartCount", 0) for row in rows)


def _ended_at(pod: Object) -> str | None:
    ends = [
        row["state"]["terminated"]["finishedAt"]
        for row in (pod.get("status") or {}).get("containerStatuses") or ()
        if "terminated" in row.get("state", {})
    ]
    return max(ends, default=None)
