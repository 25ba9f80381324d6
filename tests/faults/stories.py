"""The stories of the kill matrix: what is released, what stands around it, what a person does, and how it ends.

What always holds: a story without a fault is the same whenever it is played, but for times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.cells import Scene
from tests.support.acting import API
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase

APPLICATION, OTHER = "shop", "queue"
PREVIEW = f"{APPLICATION}-preview"
GOOD, OLD, CRASHING = "shop:2", "shop:1", "shop:crash"
JOB, ENDLESS = "shop:job", "shop:endless-job"
IMAGES = {
    JOB: {"command": ["true"]},
    ENDLESS: {"command": ["sleep", "3600"]},
    "shop:*": {"command": ["sleep", "3600"]},
    CRASHING: {"command": ["sh", "-c", "echo no database; exit 3"]},
}

SIZE = 2
"""Pods of a pair."""


def job(name: str, image: str = JOB) -> dict[str, Any]:
    """A check or a hook that is a Job."""
    return {"name": name, "job": {"image": image}}


def call(name: str) -> dict[str, Any]:
    """A hook that is an HTTP request."""
    return {"name": name, "http": {"url": RECEIVER}}


RECEIVER = "http://receiver"
"""Stands in a story for whoever takes its calls."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is released, what a person does in which phase, one after the other, and how it ends."""

    name: str
    image: str
    phase: Phase
    reason: str
    been: tuple[str, ...]
    acts: tuple[tuple[Phase, str], ...] = ()
    watch: str = "1s"
    services: tuple[str, ...] = (APPLICATION,)
    """The live Services, in the order in which they are flipped."""
    scaled: str = ""
    """The Deployment that has an autoscaler."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What else the Application has."""
    made: tuple[str, ...] = ()
    """The Jobs that are made, each once."""
    left: tuple[str, ...] = ()
    """Those that are not taken away."""
    called: tuple[str, ...] = ()
    """The hooks that are called, each once, or again by a daemon that has come to lead since."""

    @property
    def ready(self) -> int:
        """How many pods serve."""
        return SIZE * len(self.services)

    @property
    def idle(self) -> str:
        """The colour that is scaled down in the end."""
        return "blue" if self.been[-1] == "green" else "green"


BACK = (Phase.WATCHING, "rollback")
APPROVED = (Phase.AWAITING_APPROVAL, "approve")
ABORTED = (Phase.TESTING, "abort")
THERE_AND_BACK = ("blue", "green", "blue")
JOBS = ("it-postrollback-undo-hook", "it-predeploy-migrate-hook", "it-verification-verify-preview")
STORIES = (
    # The longest comes first: in its long watch everything is asked that a watch asks, also on a busy machine.
    Story("goes back", GOOD, Phase.ROLLED_BACK, "manual", THERE_AND_BACK, (BACK,), "10m"),
    Story("completes", GOOD, Phase.COMPLETED, "Completed", ("blue", "green")),
    Story("fails", CRASHING, Phase.FAILED, "CrashLoop", ("blue",)),
    Story(
        "moves two",
        GOOD,
        Phase.ROLLED_BACK,
        "manual",
        THERE_AND_BACK,
        (APPROVED, BACK),
        "10m",
        services=(APPLICATION, OTHER),
        scaled=f"{OTHER}-green",
        spec={
            "approval": "beforeSwitch",
            "tests": {"verification": [job("verify")]},
            "hooks": {
                "preDeploy": [job("migrate")],
                "preSwitch": [call("warm")],
                "postSwitch": [call("tell")],
                "postRollback": [job("undo"), call("tell")],
            },
        },
        made=JOBS,
        left=JOBS,
        called=("postRollback/tell/hook", "postSwitch/tell/hook", "preSwitch/warm/hook"),
    ),
    Story(
        "is aborted",
        GOOD,
        Phase.ABORTED,
        "Aborted",
        ("blue",),
        (ABORTED,),
        scaled=f"{APPLICATION}-green",
        spec={
            "tests": {"verification": [job("endless", ENDLESS)]},
            "hooks": {"onFailure": [job("undo"), call("tell")]},
        },
        made=("it-onfailure-undo-hook", "it-verification-endless-preview"),
        left=("it-onfailure-undo-hook",),
        called=("onFailure/tell/hook",),
    ),
)


def begin(scene: Scene, story: Story) -> None:
    """A live blue, an idle green, and Services for each of them; of each pair."""
    create, namespace = scene.ground.connection.create, scene.namespace
    for service in story.services:
        for color, replicas in (("blue", SIZE), ("green", 0)):
            create(paths.deployments(namespace), _deployment(service, color, replicas))
        for name, color in ((service, "blue"), (f"{service}-preview", "green")):
            selector = {"app": service, "color": color}
            spec = {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}
            create(paths.services(namespace), {"metadata": {"name": name}, "spec": spec})
    if story.scaled:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": story.scaled}
        body = {
            "metadata": {"name": target["name"]},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5},
        }
        create(paths.autoscalers(namespace), body)
    scene.wait(lambda: scene.space.ready("blue") == story.ready, "blue to be ready")


def _deployment(service: str, color: str, replicas: int) -> dict[str, Any]:
    labels = {"app": service, "color": color}
    container: dict[str, Any] = {"name": "shop", "image": OLD, "ports": [{"containerPort": 8080}]}
    if color == "green":
        # Asked a second after the start, as what crashes at once is never ready; and seldom, as each answer costs.
        probe = {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "periodSeconds": 60, "timeoutSeconds": 60}
        container["readinessProbe"] = probe
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "metadata": {"name": f"{service}-{color}"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def release_of(namespace: str, image: str) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "Release",
        "metadata": {"name": "it", "namespace": namespace},
        "spec": {"application": APPLICATION, "version": image.partition(":")[2], "images": {"shop": image}},
    }


def files(namespace: str, story: Story, url: str) -> Iterator[dict[str, Any]]:
    pairs: list[dict[str, Any]] = [
        {
            "service": service,
            "colors": {color: {"deployment": f"{service}-{color}"} for color in ("blue", "green")},
            "preview": {"service": f"{service}-preview"},
        }
        for service in story.services
    ]
    spec = pairs[0] | {"watch": {"duration": story.watch, "interval": "1s"}, "previous": {"keep": "1s"}}
    spec |= json.loads(json.dumps(story.spec).replace(RECEIVER, url))
    spec["also"] = pairs[1:]
    meta = {"name": APPLICATION, "namespace": namespace}
    yield {"apiVersion": API, "kind": "Application", "metadata": meta, "spec": spec}
    yield {"apiVersion": API, "kind": "Settings", "lease": {"namespace": namespace, "duration": "20s"}}
