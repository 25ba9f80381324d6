"""One Lease object: read, create, take by compare-and-swap, release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import MERGE_PATCH, Connection, NotFound


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A Lease: who holds it (empty: nobody), for how many seconds from each renewal, and its version."""

    holder: str
    duration: float
    transitions: int
    version: str


class Leases:
    """The Lease of one name."""

    def __init__(self, connection: Connection, namespace: str, name: str) -> None:
        self._api, self._namespace, self._name = connection, namespace, name

    def read(self) -> LeaseView | None:
        try:
            return _view(self._api.get(paths.leases(self._namespace, self._name)))
        except NotFound:
            return None

    def create(self, holder: str, duration: float, at: datetime) -> None:
        """Raises Conflict when somebody else was faster."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": _spec(holder, duration, at) | {"acquireTime": _micro(at), "leaseTransitions": 0},
        }
        self._api.create(paths.leases(self._namespace), body)

    def take(self, lease: LeaseView, holder: str, duration: float, at: datetime) -> None:
        """Renew it, or take it over. Raises Conflict when it changed since it was read."""
        spec = _spec(holder, duration, at)
        if lease.holder != holder:
            spec |= {"acquireTime": _micro(at), "leaseTransitions": lease.transitions + 1}
        self._patch(lease, spec)

    def release(self, lease: LeaseView) -> None:
        """Hand it over: whoever waits may take it at once."""
        self._patch(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})

    def _patch(self, lease: LeaseView, spec: Mapping[str, Any]) -> None:
        body = {"metadata": {"resourceVersion": lease.version}, "spec": dict(spec)}
        self._api.patch(paths.leases(self._namespace, self._name), body, MERGE_PATCH)


def _spec(holder: str, duration: float, at: datetime) -> dict[str, Any]:
    return {"holderIdentity": holder, "leaseDurationSeconds": max(1, round(duration)), "renewTime": _micro(at)}


def _micro(at: datetime) -> str:
    """The API's MicroTime."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _view(raw: Mapping[str, Any]) -> LeaseView:
    spec = raw.get("spec") or {}
    return LeaseView(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=spec.get("leaseTransitions") or 0,
        version=raw["metadata"]["resourceVersion"],
    )
