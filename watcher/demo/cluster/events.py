"""Kubernetes Events that the cluster itself writes, repeated ones counted instead of piled up."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from watcher.demo.cluster.resources import EVENT
from watcher.demo.cluster.store import Object, Store

KEEP = 2000
"""Events kept; past that the oldest go. A real API server drops them by age (one hour)."""


class Recorder:
    """Writes Events of one component."""

    def __init__(self, store: Store, component: str) -> None:
        self._store = store
        self._component = component
        self._names: dict[tuple[str, ...], tuple[str, str]] = {}

    def record(
        self,
        about: Object,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        field_path: str = "",
    ) -> None:
        """Say that something happened to `about`; the same thing said again raises the count of the first Event."""
        meta = about["metadata"]
        key = (meta["uid"], type_, reason, message, field_path)
        known = self._names.get(key)
        if known and self._store.find(EVENT, *known):
            self._store.update(EVENT, *known, self._again)
            return
        namespace = meta.get("namespace") or "default"
        name = f"{meta['name']}.{uuid.uuid4().hex[:16]}"
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": meta["name"],
            "namespace": meta.get("namespace", ""),
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        if field_path:
            involved["fieldPath"] = field_path
        now = self._store.timestamp()
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "embedded",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": None,
            "count": 1,
        }
        self._store.create(EVENT, body)
        self._names[key] = (namespace, name)
        self._prune()

    def _again(self, event: dict[str, Any]) -> None:
        event["count"] = event.get("count", 1) + 1
        event["lastTimestamp"] = self._store.timestamp()

    def _prune(self) -> None:
        while len(self._names) > KEEP:
            key = next(iter(self._names))
            where = self._names.pop(key)
            if self._store.find(EVENT, *where):
                self._store.delete(EVENT, *where)
