"""EndpointSlices: which addresses stand behind each Service, and which of them are ready.

What always holds: a Service with a selector has exactly one slice, which names every pod it selects that has an
address; a pod that is being deleted is never `ready` there, though it may still be `serving`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from watcher.demo.cluster.controllers.common import finished, is_true, owned, owner_reference, terminating
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.resources import ENDPOINT_SLICE, POD, SERVICE
from watcher.demo.cluster.store import Change, Object, Store

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"


class EndpointSlices:
    """Keeps the slice of each Service as its pods are."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.object["metadata"]
        if change.kind == SERVICE:
            yield (meta["namespace"], meta["name"])
        elif change.kind == ENDPOINT_SLICE:
            name = (meta.get("labels") or {}).get(SERVICE_NAME)
            if name:
                yield (meta["namespace"], name)
        elif change.kind == POD:
            versions = [change.object, *([change.before] if change.before else [])]
            labels = [version["metadata"].get("labels") or {} for version in versions]
            for service in self._store.objects(
                SERVICE, meta["namespace"], lambda row: any(selects(row, found) for found in labels)
            ):
                yield (meta["namespace"], service["metadata"]["name"])

    def reconcile(self, key: Key) -> float | None:
        service = self._store.find(SERVICE, *key)
        if service is None or terminating(service) or not service["spec"].get("selector"):
            return None
        pods = self._store.objects(
            POD, key[0], lambda pod: selects(service, pod["metadata"].get("labels") or {}) and addressable(pod)
        )
        ports = slice_ports(service, pods)
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        content = {
            "addressType": "IPv4",
            "endpoints": [endpoint(pod, publish=publish) for pod in pods],
            "ports": ports,
        }
        mine = [
            found
            for found in owned(self._store, ENDPOINT_SLICE, service)
            if (found["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER
        ]
        if mine:
            self._store.update(ENDPOINT_SLICE, key[0], mine[0]["metadata"]["name"], lambda o: o.update(content))
        else:
            self._store.create(ENDPOINT_SLICE, {"metadata": _metadata(service), **content})
        return None


def _metadata(service: Object) -> Object:
    meta = service["metadata"]
    suffix = hashlib.sha256(meta["uid"].encode()).hexdigest()[:5]
    labels = {**(meta.get("labels") or {}), SERVICE_NAME: meta["name"], MANAGED_BY: MANAGER}
    return {
        "name": f"{meta['name']}-{suffix}",
        "namespace": meta["namespace"],
        "labels": labels,
        "ownerReferences": [owner_reference(service)],
    }


def selects(service: Object, labels: dict[str, str]) -> bool:
    """Whether a Service takes pods with these labels. One without a selector takes none."""
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= labels.items()


def addressable(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("podIP")) and not finished(pod)


def endpoint(pod: Object, *, publish: bool) -> Object:
    """One pod as an endpoint; with `publish` it counts as ready whatever its probes say."""
    serving = is_true(pod, "Ready")
    gone = terminating(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": (serving or publish) and not gone, "serving": serving, "terminating": gone},
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": {
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "namespace": pod["metadata"]["namespace"],
            "uid": pod["metadata"]["uid"],
        },
    }


def slice_ports(service: Object, pods: list[Object]) -> list[dict[str, Any]]:
    """The Service's target ports as numbers; a named one is looked up in the pods, and left out if none has it."""
    rows = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pods)
        if number is not None:
            rows.append({"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")})
    return rows


def target_port(port: Object, pods: list[Object]) -> int | None:
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted
    for pod in pods:
        for container in pod["spec"].get("containers") or ():
            for row in container.get("ports") or ():
                if row.get("name") == wanted:
                    number: int = row["containerPort"]
                    return number
    return None
