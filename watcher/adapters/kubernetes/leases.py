"""One Lease object: read, create, take by compare-and-swap, release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import MERGE_PATCH, Connection, NotFound
from watcher.core.release import WATCHER

LABELS = {"app.kubernetes.io/name": WATCHER}
"""By which people find the Lease, whatever its name."""


NAMESPACES_ANNOTATION = "watcher.bluegreen.dev/namespaces"
"""On the Lease: the namespaces in which its holder's Releases may still run, whatever the files say by now."""


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A Lease: who holds it (empty: nobody), for how many seconds from each renewal, and its version."""

    holder: str
    duration: float
    transitions: int
    version: str
    namespaces: frozenset[str] = frozenset()
    """Where Releases of its holders may still run."""


@dataclass(frozen=True, slots=True)
class Lead:
    """What a Lease of the watcher says to whoever asks who leads."""

    namespace: str
    name: str
    holder: str
    duration: timedelta
    renewed: datetime | None

    def said(self, now: datetime) -> str:
        """`watcher-7c9 leads (Lease ops/bluegreen-watcher, renewed 2 s ago).`"""
        where = f"Lease {self.namespace}/{self.name}"
        if not self.holder:
            return f"No watcher leads: {where} is free."
        if self.renewed is None:
            return f"{self.holder} leads ({where})."
        ago = max(timedelta(0), now - self.renewed)
        if ago > self.duration:
            return f"No watcher leads: {self.holder} renewed {where} last {_seconds(ago)} s ago."
        return f"{self.holder} leads ({where}, renewed {_seconds(ago)} s ago)."


def leads(connection: Connection, namespace: str = "") -> tuple[Lead, ...]:
    """The Leases of watchers; in every namespace unless one is named."""
    path = paths.leases(namespace) if namespace else paths.all_leases()
    found = connection.get(path, labelSelector=_selector(LABELS))
    return tuple(_lead(raw) for raw in found.get("items") or ())


class Leases:
    """The Lease of one name."""

    def __init__(self, connection: Connection, namespace: str, name: str) -> None:
        self._api, self._namespace, self._name = connection, namespace, name

    def read(self) -> LeaseView | None:
        try:
            return _view(self._api.get(paths.leases(self._namespace, self._name)))
        except NotFound:
            return None

    def create(self, holder: str, duration: float, at: datetime, namespaces: Iterable[str] = ()) -> None:
        """Raises Conflict when somebody else was faster."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": dict(LABELS),
                "annotations": _annotations(namespaces),
            },
            "spec": _spec(holder, duration, at) | {"acquireTime": _micro(at), "leaseTransitions": 0},
        }
        self._api.create(paths.leases(self._namespace), body)

    def take(
        self, lease: LeaseView, holder: str, duration: float, at: datetime, namespaces: Iterable[str] = ()
    ) -> None:
        """Renew it, or take it over. Raises Conflict when it changed since it was read."""
        spec = _spec(holder, duration, at)
        if lease.holder != holder:
            spec |= {"acquireTime": _micro(at), "leaseTransitions": lease.transitions + 1}
        self._patch(lease, spec, _annotations(namespaces))

    def release(self, lease: LeaseView) -> None:
        """Hand it over: whoever waits may take it at once."""
        self._patch(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})

    def _patch(self, lease: LeaseView, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> None:
        meta = {"resourceVersion": lease.version} | ({"annotations": dict(annotations)} if annotations else {})
        body = {"metadata": meta, "spec": dict(spec)}
        self._api.patch(paths.leases(self._namespace, self._name), body, MERGE_PATCH)


def _spec(holder: str, duration: float, at: datetime) -> dict[str, Any]:
    return {"holderIdentity": holder, "leaseDurationSeconds": max(1, round(duration)), "renewTime": _micro(at)}


def _annotations(namespaces: Iterable[str]) -> dict[str, str]:
    return {NAMESPACES_ANNOTATION: ",".join(sorted(namespaces))}


def _micro(at: datetime) -> str:
    """The API's MicroTime."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _view(raw: Mapping[str, Any]) -> LeaseView:
    spec = raw.get("spec") or {}
    noted = str((raw["metadata"].get("annotations") or {}).get(NAMESPACES_ANNOTATION, ""))
    return LeaseView(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=spec.get("leaseTransitions") or 0,
        version=raw["metadata"]["resourceVersion"],
        namespaces=frozenset(filter(None, noted.split(","))),
    )


def _lead(raw: Mapping[str, Any]) -> Lead:
    spec, meta = raw.get("spec") or {}, raw["metadata"]
    renewed = spec.get("renewTime")
    return Lead(
        namespace=meta["namespace"],
        name=meta["name"],
        holder=spec.get("holderIdentity") or "",
        duration=timedelta(seconds=spec.get("leaseDurationSeconds") or 0),
        renewed=datetime.fromisoformat(renewed).astimezone(UTC) if renewed else None,
    )


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.0f}"
