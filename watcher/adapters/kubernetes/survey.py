"""Looks at a namespace once, for `watcher doctor` and `watcher init`: what a flip depends on, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from watcher.adapters.errors import Fatal
from watcher.adapters.kubernetes import paths, views
from watcher.adapters.kubernetes.connection import FIELD_MANAGER, Connection, NotFound
from watcher.core.doctor import AutoscalerFacts, ContainerFacts, DeploymentFacts, ServiceFacts, Survey
from watcher.core.observed import ScalerView

_KEEPERS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
}
"""Labels and annotations by which those who keep an object mark it."""


def survey(connection: Connection, namespace: str) -> Survey:
    """The namespace as it is now, with the caller's own rights. Autoscalers that may not be listed are left out."""
    scaled: dict[str, AutoscalerFacts] = {}
    with suppress(NotFound, Fatal):
        for raw in _items(connection, paths.autoscalers(namespace)):
            found = views.scaler(raw)
            scaled[found.deployment] = _autoscaler(found.view, _keeper(raw["metadata"]))
    services = (_service(raw) for raw in _items(connection, paths.services(namespace)))
    deployments = (_deployment(raw, scaled) for raw in _items(connection, paths.deployments(namespace)))
    return Survey(
        namespace,
        {one.name: one for one in services},
        {one.name: one for one in deployments},
        _knows_releases(connection, namespace),
    )


def _items(connection: Connection, path: str) -> list[dict[str, Any]]:
    return list(connection.get(path).get("items") or ())


def _knows_releases(connection: Connection, namespace: str) -> bool:
    try:
        connection.get(paths.releases(namespace), limit="1")
    except NotFound:
        return False
    except Fatal:
        return True  # not for this caller's eyes, but there
    return True


def _service(raw: Mapping[str, Any]) -> ServiceFacts:
    spec = raw.get("spec") or {}
    return ServiceFacts(
        name=raw["metadata"]["name"],
        selector=spec.get("selector") or {},
        ports=tuple(port["port"] for port in spec.get("ports") or ()),
        publishes_not_ready=bool(spec.get("publishNotReadyAddresses")),
        keeper=_keeper(raw["metadata"]),
    )


def _deployment(raw: Mapping[str, Any], scaled: Mapping[str, AutoscalerFacts]) -> DeploymentFacts:
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    template = spec["template"]
    return DeploymentFacts(
        name=meta["name"],
        replicas=spec.get("replicas", 1),
        ready=status.get("readyReplicas", 0),
        selector=(spec.get("selector") or {}).get("matchLabels") or {},
        labels=(template.get("metadata") or {}).get("labels") or {},
        containers=tuple(_container(one) for one in template["spec"]["containers"]),
        autoscaler=scaled.get(meta["name"]),
        keeper=_keeper(meta),
    )


def _autoscaler(found: ScalerView, keeper: str) -> AutoscalerFacts:
    return AutoscalerFacts(found.name, found.own_minimum, found.maximum, found.owner, keeper)


def _container(raw: Mapping[str, Any]) -> ContainerFacts:
    probe = raw.get("readinessProbe") or {}
    return ContainerFacts(raw["name"], bool(probe), (probe.get("httpGet") or {}).get("path", ""))


def _keeper(meta: Mapping[str, Any]) -> str:
    """Who keeps an object in step with a repository, by its marks, else by who last applied it from a controller."""
    marks = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    for mark, keeper in _KEEPERS.items():
        if mark in marks:
            return keeper
    for row in meta.get("managedFields") or ():
        manager = str(row.get("manager", ""))
        if row.get("operation") == "Apply" and not manager.startswith(("kubectl", FIELD_MANAGER)):
            return manager
    return ""
