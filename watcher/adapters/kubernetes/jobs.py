"""Runs a check or a hook as a Kubernetes Job, and tells how it ended, with its container's last lines.

What always holds: a Job's name follows from the Release and the check, so that whoever asks again, after a kill or on
another replica, finds the Job that runs already; it ends by its own limit even if nobody waits for it any more; and it
goes with its Release, or an hour after its end.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from watcher.adapters.errors import AdapterError, Conflict, Fatal
from watcher.adapters.kubernetes import paths, views
from watcher.adapters.kubernetes.connection import Connection, NotFound
from watcher.adapters.repeated import CheckOutcome, Clock, Heard, SystemClock, unheard
from watcher.core.jobs import JobCheck
from watcher.core.lifecycle.diagnosis import Diagnosis, diagnose
from watcher.core.observed import ColorView
from watcher.core.release import GROUP, KIND, VERSION, Release
from watcher.core.units import format_duration

KEPT = 3600
"""Seconds that an ended Job stays to be looked at."""

SPARE = 30
"""Seconds that a Job's own limit lies beyond the check's: the check ends first, while there are lines to be read."""

EVERY = 1.0
"""Seconds between two looks at a running Job."""

LINES, CHARACTERS = 10, 1000
"""How much of a container's last lines is kept."""

TARGET_PATIENCE, TARGET_EVERY = 10.0, 0.2
"""Seconds to wait for a connection to what is tested before the Job is made, and between two tries."""

NO_POD = 30
"""Seconds after which a Job without any pod is said to be stuck (a quota, or the namespace's pod security)."""

RELEASE_LABEL = f"{GROUP}/release"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """What is to run: `id` is the check's within its Release."""

    release: Release
    id: str
    job: JobCheck
    environment: Mapping[str, str]


class Jobs:
    """Runs Jobs on one connection."""

    def __init__(self, connection: Connection, clock: Clock | None = None) -> None:
        self._api, self._clock = connection, clock or SystemClock()

    def run(self, order: JobOrder, cancel: threading.Event, heard: Heard = unheard) -> CheckOutcome:
        """Run a Job to its end, or until `cancel` is set: then it runs on, until somebody drops it."""
        return _Run(self._api, self._clock, order, cancel, heard).outcome()

    def drop(self, order: JobOrder) -> bool:
        """Delete a Job that nobody waits for any more. Whether that is done; else its own limit ends it at last."""
        return _delete(self._api, order.release.namespace, job_name(order))


def _delete(api: Connection, namespace: str, name: str) -> bool:
    try:
        api.delete(paths.jobs(namespace, name), propagationPolicy="Background")
    except NotFound:
        return True
    except AdapterError:
        return False
    return True


class _Run:
    def __init__(
        self,
        api: Connection,
        clock: Clock,
        order: JobOrder,
        cancel: threading.Event,
        heard: Heard,
    ) -> None:
        self._api, self._clock, self._order = api, clock, order
        self._cancel, self._heard = cancel, heard
        self._namespace, self._name = order.release.namespace, job_name(order)
        self._begun, self._started = clock.monotonic(), clock.now()
        self._looks = 0

    def _await_target(self) -> None:
        """Wait until what is tested takes connections: a Service that was just pointed elsewhere refuses them until
        every node has heard of it, and a Job asks once. If nothing is heard here, the Job may still see more.
        """
        target = urlsplit(self._order.environment.get("TARGET_URL", ""))
        until = self._clock.monotonic() + TARGET_PATIENCE
        while target.hostname and self._clock.monotonic() < until:
            try:
                socket.create_connection((target.hostname, target.port or 80), timeout=1.0).close()
            except OSError:
                if self._clock.wait(self._cancel, TARGET_EVERY):
                    return
            else:
                return

    def outcome(self) -> CheckOutcome:
        self._await_target()
        limit = self._order.job.timeout.total_seconds()
        trouble = ""
        while True:
            try:
                found = self._look()
                trouble = ""
                if found is not None:
                    return found
            except Fatal as error:
                return self._say(False, f"Job {self._name} cannot be made: {_allowed(error, self._namespace)}")
            except AdapterError as error:
                trouble = f"; the API server could not be asked at last: {error}"
            if self._clock.monotonic() - self._begun >= limit:
                return self._too_late(trouble)
            if self._clock.wait(self._cancel, EVERY):
                return self._say(False, "cancelled", cancelled=True)

    def _look(self) -> CheckOutcome | None:
        """How the Job ended; None while it has not. It is made where it is missing."""
        self._looks += 1
        try:
            job = self._api.get(paths.jobs(self._namespace, self._name))
        except NotFound:
            try:
                job = self._api.create(paths.jobs(self._namespace), manifest(self._order, self._name))
            except Conflict:
                return None  # somebody was faster: look again
            except NotFound as error:
                raise Fatal(str(error)) from error
        status = job.get("status") or {}
        ended = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
        if "Complete" in ended:
            return self._say(True, f"Job {self._name} succeeded", self._last_lines(self._pods()))
        if "Failed" in ended:
            pods = self._pods()
            return self._say(False, f"Job {self._name} failed: {self._cause(ended, pods)}", self._last_lines(pods))
        tries = status.get("failed", 0) + status.get("active", 0)
        if tries:
            self._heard(tries, f"Job {self._name} {'runs' if status.get('ready') else 'waits for its pod'}")
        stuck = "" if status.get("ready") else self._stuck(self._pods())
        if stuck:
            self._delete()
            return self._say(False, f"Job {self._name} cannot run: {stuck}")
        return None

    def _stuck(self, pods: list[views.Pod]) -> str:
        """Why its pod can never start; empty while time may cure it."""
        if not pods:
            silent = self._clock.monotonic() - self._begun > NO_POD
            return f"no pod of it was made in {NO_POD} s; kubectl describe job/{self._name} says why" if silent else ""
        found = self._diagnosis(pods)
        return found.message if found and found.final and found.reason in ("ImagePull", "ConfigError") else ""

    def _diagnosis(self, pods: list[views.Pod]) -> Diagnosis | None:
        side = ColorView("", None, tuple(pod.view for pod in pods))
        return diagnose(side, self._started, self._clock.now())

    def _cause(self, ended: Mapping[str, Mapping[str, Any]], pods: list[views.Pod]) -> str:
        """Why it failed: by its last pod, else in the words of Kubernetes."""
        if ended["Failed"].get("reason") == "DeadlineExceeded":
            return f"it did not end within {format_duration(self._order.job.timeout)}"
        for pod in reversed(pods):
            for container in pod.view.containers:
                if container.exit_code:
                    why = f" ({container.reason})" if container.reason not in ("", "Error") else ""
                    tries = f", the last of {len(pods)} tries" if len(pods) > 1 else ""
                    return f"container {container.name} ended with exit code {container.exit_code}{why}{tries}"
        return str(ended["Failed"].get("message") or "Kubernetes does not say why")

    def _too_late(self, trouble: str) -> CheckOutcome:
        lines = ""
        why = trouble
        try:
            pods = self._pods()
            lines = self._last_lines(pods)
            found = self._diagnosis(pods)
            why = f": {found.message}" if found else trouble
        except AdapterError:
            pass  # what is known is said
        self._delete()
        limit = format_duration(self._order.job.timeout)
        return self._say(False, f"Job {self._name} did not end within {limit}{why}", lines)

    def _pods(self) -> list[views.Pod]:
        """The Job's pods, the latest last."""
        selector = f"batch.kubernetes.io/job-name={self._name}"
        found = self._api.get(paths.pods(self._namespace), labelSelector=selector).get("items") or ()
        return sorted(map(_pod, found), key=lambda pod: (pod.view.created_at, pod.view.name))

    def _last_lines(self, pods: list[views.Pod]) -> str:
        """The last lines of the container that failed last, or of the first one."""
        if not pods:
            return ""
        pod = pods[-1].view
        failed = [c.name for c in pod.containers if c.exit_code]
        container = failed[0] if failed else next(iter(pods[-1].images), "")
        query = {"container": container, "tailLines": str(LINES)}
        try:
            text = self._api.text(f"{paths.pods(self._namespace, pod.name)}/log", **query).strip()
        except AdapterError as error:
            return f"(its log cannot be read: {error})"
        return text if len(text) <= CHARACTERS else f"...{text[-CHARACTERS:]}"

    def _delete(self) -> None:
        _delete(self._api, self._namespace, self._name)

    def _say(self, ok: bool, message: str, output: str = "", *, cancelled: bool = False) -> CheckOutcome:
        return CheckOutcome(ok, message, output, self._looks, self._started, self._clock.now(), cancelled)


def job_name(order: JobOrder) -> str:
    """A name that people recognise, and that the same check of the same Release always has (at most 63 characters)."""
    digest = hashlib.sha256(f"{order.release.uid}/{order.id}".encode()).hexdigest()[:8]
    readable = re.sub(r"[^a-z0-9]+", "-", f"{order.release.name}-{order.id}".lower())[:54].strip("-")
    return f"{readable}-{digest}"


def manifest(order: JobOrder, name: str) -> dict[str, Any]:
    """The Job as it is created. Limit, retries, restarts and clean-up are the check's; the rest is the template's."""
    job, release = order.job, order.release
    if job.manifest is not None:
        metadata, spec = dict(job.manifest.metadata), dict(job.manifest.spec)
    else:
        metadata, spec = {}, {"template": {"spec": {"containers": [_container(job)]}}}
    labels = {"app.kubernetes.io/managed-by": "bluegreen-watcher", RELEASE_LABEL: release.name[:63].rstrip("-.")}
    template = dict(spec["template"])
    pod = dict(template["spec"]) | {"restartPolicy": "Never"}
    environment = dict(order.environment) | dict(job.env)
    for kind in ("initContainers", "containers"):
        if kind in pod:
            pod[kind] = [_told(container, environment) for container in pod[kind]]
    template["metadata"] = _labelled(template.get("metadata") or {}, labels)
    template["spec"] = pod
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **_labelled(metadata, labels),
            "name": name,
            "namespace": release.namespace,
            "ownerReferences": [
                {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": release.name, "uid": release.uid}
            ],
        },
        "spec": {
            **spec,
            "template": template,
            "backoffLimit": job.retries,
            "activeDeadlineSeconds": int(job.timeout.total_seconds()) + SPARE,
            "ttlSecondsAfterFinished": KEPT,
        },
    }


def _container(job: JobCheck) -> dict[str, Any]:
    """One that passes restricted pod security wherever its image runs as somebody other than root."""
    found: dict[str, Any] = {
        "name": "job",
        "image": job.image,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return found | ({"command": job.command} if job.command else {}) | ({"args": job.args} if job.args else {})


def _told(container: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The container with the environment; what it sets itself stays."""
    own = list(container.get("env") or ())
    names = {row.get("name") for row in own}
    return {**container, "env": [{"name": k, "value": v} for k, v in environment.items() if k not in names] + own}


def _labelled(metadata: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    kept = {key: value for key, value in metadata.items() if key in ("labels", "annotations")}
    return {**kept, "labels": {**(kept.get("labels") or {}), **labels}}


def _pod(raw: Mapping[str, Any]) -> views.Pod:
    """A pod with its init containers among the others: any of them may be what fails."""
    status = dict(raw.get("status") or {})
    status["containerStatuses"] = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return views.pod({**raw, "status": status})


def _allowed(error: Fatal, namespace: str) -> str:
    """The refusal, with its cure where it is one of rights."""
    text = str(error)
    if 'resource "jobs"' in text:  # as the authorizer puts it; a quota's refusal is a 403 too
        return (
            f"the daemon may not run Jobs in {namespace}: bind ClusterRole bluegreen-watcher-jobs to it there "
            f"(docs/applications.md) ({text})"
        )
    return text
