"""Why the idle colour does not become ready: from what Deployment and pods say to a word and a sentence.

What always holds: a diagnosis that time may still cure (a pull that is retried, a node that may join) is not final
until the deadline; one that time cannot cure is final at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from watcher.core.lifecycle.turn import times
from watcher.core.observed import ColorView, ContainerView, PodView

PULL_PATIENCE = timedelta(seconds=20)
"""How long an image that cannot be pulled is tried: two tries of the kubelet, so that one lost packet fails nothing."""

QUOTA_PATIENCE = timedelta(seconds=30)
CRASHES = 3
"""Container failures that make a crash loop: one may be a race at start, the third is a habit."""

_NEVER = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"})
_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong. `pod` and `container` are set where the container's last lines tell more."""

    reason: str
    message: str
    final: bool
    pod: str = ""
    container: str = ""


def diagnose(side: ColorView, since: datetime, now: datetime) -> Diagnosis | None:
    """The gravest trouble of a rollout that began at `since`; None when nothing is wrong but time."""
    found = [
        diagnosis
        for pod in side.pods
        if pod.latest and not pod.deleting
        for diagnosis in (_of_pod(pod, now),)
        if diagnosis
    ]
    # Of two pods that die of one cause, the kubelet may have the reason for one only.
    found.sort(key=lambda d: (not d.final, d.reason != "OutOfMemory"))
    if found:
        return found[0]
    deployment = side.deployment
    if deployment and deployment.trouble:
        final = now - since > QUOTA_PATIENCE
        return Diagnosis("PodsNotCreated", f"pods cannot be created: {deployment.trouble}", final)
    return None


def _of_pod(pod: PodView, now: datetime) -> Diagnosis | None:
    if pod.unschedulable:
        return Diagnosis("Unschedulable", f"pod {pod.name} fits no node: {pod.unschedulable}", final=False)
    for container in pod.containers:
        diagnosis = _of_container(pod, container, now)
        if diagnosis:
            return diagnosis
    return None


def _of_container(pod: PodView, container: ContainerView, now: datetime) -> Diagnosis | None:
    where = f"container {container.name} of pod {pod.name}"
    said = f": {container.waiting_message}" if container.waiting_message else ""
    if container.waiting in _NEVER or container.waiting in _PULL:
        final = container.waiting in _NEVER or now - pod.created_at > PULL_PATIENCE
        reason = "ConfigError" if container.waiting == "CreateContainerConfigError" else "ImagePull"
        return Diagnosis(reason, f"{where} cannot start, {container.waiting}{said}", final)
    if container.failures and not container.ready:
        final = container.failures >= CRASHES
        if container.reason == "OOMKilled":
            message = f"{where} ran out of memory (OOMKilled {times(container.failures)}): raise its limit"
            return Diagnosis("OutOfMemory", message, final, pod.name, container.name)
        code = "" if container.exit_code is None else f", last with exit code {container.exit_code}"
        message = f"{where} ended {times(container.failures)}{code}"
        return Diagnosis("CrashLoop", message, final, pod.name, container.name)
    return None
