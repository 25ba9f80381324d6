"""Where each kind lies in the API."""

from __future__ import annotations

from watcher.core.release import GROUP, PLURAL, VERSION


def services(namespace: str, name: str = "") -> str:
    return _path("/api/v1", namespace, "services", name)


def pods(namespace: str, name: str = "") -> str:
    return _path("/api/v1", namespace, "pods", name)


def events(namespace: str) -> str:
    return _path("/api/v1", namespace, "events")


def deployments(namespace: str, name: str = "") -> str:
    return _path("/apis/apps/v1", namespace, "deployments", name)


def autoscalers(namespace: str, name: str = "") -> str:
    return _path("/apis/autoscaling/v2", namespace, "horizontalpodautoscalers", name)


def jobs(namespace: str, name: str = "") -> str:
    return _path("/apis/batch/v1", namespace, "jobs", name)


def endpoint_slices(namespace: str) -> str:
    return _path("/apis/discovery.k8s.io/v1", namespace, "endpointslices")


def leases(namespace: str, name: str = "") -> str:
    return _path("/apis/coordination.k8s.io/v1", namespace, "leases", name)


def all_leases() -> str:
    return "/apis/coordination.k8s.io/v1/leases"


def releases(namespace: str, name: str = "") -> str:
    return _path(f"/apis/{GROUP}/{VERSION}", namespace, PLURAL, name)


def all_releases() -> str:
    return f"/apis/{GROUP}/{VERSION}/{PLURAL}"


def _path(api: str, namespace: str, plural: str, name: str = "") -> str:
    return f"{api}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")
