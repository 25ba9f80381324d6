"""From the API server's JSON to the core's views. Pure functions; a field that is absent stays unknown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from watcher.core.observed import ContainerView, DeploymentView, Held, PodView, ScalerView, ServiceView
from watcher.core.release import ACTOR_ANNOTATION, EVIDENCE_ANNOTATION, KEY_ANNOTATION
from watcher.core.story import Told

FLIP_ANNOTATION = "watcher.bluegreen.dev/flip"
"""On the live Service: `<release uid>/<flip index> <time> <color>` of our last flip, written in the same request."""

VERSION_ANNOTATION = "watcher.bluegreen.dev/version"
"""On a colour's Deployment: the version that a Release put there."""

MINIMUM_ANNOTATION = "watcher.bluegreen.dev/minimum"
"""On a HorizontalPodAutoscaler whose minReplicas a Release has raised: `<before>, held at <raised to>`."""

_HELD = re.compile(r"(\d{1,9}), held at (\d{1,9})")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with what is needed to find its colour."""

    view: PodView
    deployment: str
    images: Mapping[str, str]
    ports: Mapping[str, int]
    """Container ports by name: what a Service's targetPort may say."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice: its Service, and the pods behind its ready endpoints."""

    service: str
    ready_pods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scaler:
    """A HorizontalPodAutoscaler, and the Deployment that it sizes; empty when it sizes something else."""

    view: ScalerView
    deployment: str


@dataclass(frozen=True, slots=True)
class Port:
    """A Service's port, and the pods' port behind it: a number or a name, as text."""

    number: int
    target: str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with where it can be reached, and whether it has any annotation (a JSON Patch must know)."""

    view: ServiceView
    cluster_ip: str
    ports: tuple[Port, ...]
    annotated: bool

    def reference(self, namespace: str) -> dict[str, str]:
        """What an Event names it by."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "name": self.view.name,
            "namespace": namespace,
            "uid": self.view.uid,
        }


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time as an aware UTC datetime."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def service(raw: Mapping[str, Any]) -> Service:
    meta, spec = raw["metadata"], raw.get("spec") or {}
    annotations = meta.get("annotations") or {}
    mark, at, to, *_ = (*str(annotations.get(FLIP_ANNOTATION, "")).split(" "), "", "")
    try:
        marked_at = parse_time(at)
    except ValueError:
        marked_at = None
    view = ServiceView(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        selector=spec.get("selector") or {},
        mark=mark,
        marked_at=marked_at,
        marked_to=to,
        by=_writer_of_selector(meta),
    )
    ports = tuple(Port(p["port"], str(p.get("targetPort") or p["port"])) for p in spec.get("ports") or ())
    return Service(view, spec.get("clusterIP") or "", ports, bool(annotations))


def _writer_of_selector(meta: Mapping[str, Any]) -> str:
    """The field manager that last wrote the selector: `kubectl-patch`, say."""
    found = [
        str(row.get("manager", ""))
        for row in sorted(meta.get("managedFields") or (), key=lambda row: str(row.get("time", "")))
        if "f:selector" in ((row.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return found[-1] if found else ""


def deployment(raw: Mapping[str, Any]) -> DeploymentView:
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    trouble = [
        condition.get("message") or condition.get("reason") or "ReplicaFailure"
        for condition in status.get("conditions") or ()
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
    ]
    return DeploymentView(
        name=meta["name"],
        replicas=spec.get("replicas", 1),
        images={c["name"]: c.get("image", "") for c in spec["template"]["spec"]["containers"]},
        observed=status.get("observedGeneration", 0) >= meta.get("generation", 0),
        total=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        trouble=trouble[0] if trouble else "",
        version=(meta.get("annotations") or {}).get(VERSION_ANNOTATION, ""),
    )


def pod(raw: Mapping[str, Any]) -> Pod:
    meta, status = raw["metadata"], raw.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    scheduled = conditions.get("PodScheduled", {})
    stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    view = PodView(
        name=meta["name"],
        uid=meta["uid"],
        ip=status.get("podIP", ""),
        ready=ready.get("status") == "True",
        created_at=parse_time(meta["creationTimestamp"]) or datetime.fromtimestamp(0, UTC),
        ready_changed_at=parse_time(ready.get("lastTransitionTime")),
        deleting=bool(meta.get("deletionTimestamp")),
        unschedulable=(scheduled.get("message") or "Unschedulable") if stuck else "",
        containers=tuple(_container(c) for c in status.get("containerStatuses") or ()),
    )
    containers = (raw.get("spec") or {}).get("containers") or ()
    images = {c["name"]: c.get("image", "") for c in containers}
    return Pod(
        view,
        _owner(meta),
        images,
        {p["name"]: p["containerPort"] for c in containers for p in c.get("ports") or () if p.get("name")},
        meta.get("labels") or {},
    )


def scaler(raw: Mapping[str, Any]) -> Scaler:
    meta, spec = raw["metadata"], raw["spec"]
    target = spec["scaleTargetRef"]
    noted = _HELD.fullmatch((meta.get("annotations") or {}).get(MINIMUM_ANNOTATION, ""))
    view = ScalerView(
        name=meta["name"],
        minimum=spec.get("minReplicas", 1),
        maximum=spec["maxReplicas"],
        held=Held(int(noted[1]), int(noted[2])) if noted else None,
        owner=controller(meta),
        resource_version=meta["resourceVersion"],
    )
    sizes = target["kind"] == "Deployment" and target.get("apiVersion", "apps/v1").startswith("apps/")
    return Scaler(view, target["name"] if sizes else "")


def held(found: Held | None) -> str | None:
    """What is noted on an autoscaler; None for nothing."""
    return f"{found.before}, held at {found.to}" if found else None


def controller(meta: Mapping[str, Any]) -> str:
    """The object that owns this one and keeps it as it wants it: kind and name, or nothing."""
    owners = (o for o in meta.get("ownerReferences") or () if o.get("controller"))
    return next((f"{o['kind']} {o['name']}" for o in owners), "")


def _owner(meta: Mapping[str, Any]) -> str:
    """The Deployment that a pod belongs to, by the name of its ReplicaSet: `<deployment>-<template hash>`."""
    hash_ = (meta.get("labels") or {}).get("pod-template-hash", "")
    for owner in meta.get("ownerReferences") or ():
        if owner.get("kind") == "ReplicaSet" and hash_:
            return str(owner["name"]).removesuffix(f"-{hash_}")
    return ""


def _container(raw: Mapping[str, Any]) -> ContainerView:
    state, last = raw.get("state") or {}, raw.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    return ContainerView(
        name=raw["name"],
        ready=bool(raw.get("ready")),
        restarts=raw.get("restartCount", 0),
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        ended_now="terminated" in state,
        exit_code=ended.get("exitCode"),
        reason=ended.get("reason", ""),
    )


def endpoint_slice(raw: Mapping[str, Any]) -> Slice:
    ready = [
        endpoint["targetRef"]["name"]
        for endpoint in raw.get("endpoints") or ()
        # An absent condition means ready (EndpointSlice API, discovery.k8s.io/v1).
        if (endpoint.get("conditions") or {}).get("ready", True) is not False
        and (endpoint.get("targetRef") or {}).get("kind") == "Pod"
    ]
    labels = raw["metadata"].get("labels") or {}
    return Slice(labels.get("kubernetes.io/service-name", ""), tuple(ready))


def port_of(service: Service, number: int | None) -> Port | None:
    """The Service's port of that number, or (None) its first one."""
    return next((port for port in service.ports if number in (None, port.number)), None)


def pod_port(pod: Pod, port: Port) -> int:
    """Where a pod listens for a Service's port."""
    return int(port.target) if port.target.isdigit() else pod.ports.get(port.target, port.number)


def told(raw: Mapping[str, Any]) -> Told:
    """An Event. What is not the watcher's own has neither key nor evidence; its source is its actor."""
    meta = raw["metadata"]
    annotations = meta.get("annotations") or {}
    try:
        evidence = json.loads(annotations.get(EVIDENCE_ANNOTATION) or "{}")
    except ValueError:
        evidence = {}
    source = raw.get("reportingComponent") or (raw.get("source") or {}).get("component") or ""
    at = raw.get("firstTimestamp") or raw.get("eventTime") or meta["creationTimestamp"]
    return Told(
        at=datetime.fromisoformat(at).astimezone(UTC),
        reason=raw.get("reason") or "",
        message=raw.get("message") or "",
        key=annotations.get(KEY_ANNOTATION, ""),
        actor=annotations.get(ACTOR_ANNOTATION) or source,
        evidence=evidence if isinstance(evidence, dict) else {},
    )
