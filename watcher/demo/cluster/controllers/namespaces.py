"""Namespaces: each has its default ServiceAccount while it lives, and takes its contents along when it goes."""

from __future__ import annotations

from collections.abc import Iterable

from watcher.demo.cluster.controllers.common import delete_pod, terminating
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.resources import NAMESPACE, POD, SERVICE_ACCOUNT
from watcher.demo.cluster.store import Change, Object, Store

FIRST = ("default", "kube-system")


class Namespaces:
    """Keys are ("", namespace)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keys(self, change: Change) -> Iterable[Key]:
        if change.kind == NAMESPACE:
            yield ("", change.object["metadata"]["name"])
        elif change.type == "DELETED" and change.kind.namespaced:
            yield ("", change.object["metadata"]["namespace"])

    def reconcile(self, key: Key) -> float | None:
        name = key[1]
        namespace = self._store.find(NAMESPACE, "", name)
        if namespace is None or terminating(namespace):
            if self._empty(name) and namespace is not None:
                self._remove(name)
            elif namespace is not None:
                self._phase(name, "Terminating")
            return None
        self._phase(name, "Active")
        if self._store.find(SERVICE_ACCOUNT, name, "default") is None:
            self._store.create(SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": name}})
        return None

    def _empty(self, name: str) -> bool:
        """Delete what is in the namespace. True when nothing is left, or everything left is on its way."""
        left = 0
        for kind in self._store.kinds:
            if not kind.namespaced:
                continue
            for found in self._store.objects(kind, name):
                if kind == POD:
                    left += 1
                    if not terminating(found):
                        delete_pod(self._store, found)
                else:
                    self._store.delete(kind, name, found["metadata"]["name"])
                    left += self._store.find(kind, name, found["metadata"]["name"]) is not None
        return left == 0

    def _phase(self, name: str, phase: str) -> None:
        def set_phase(found: Object) -> None:
            found.setdefault("status", {})["phase"] = phase

        self._store.update(NAMESPACE, "", name, set_phase)

    def _remove(self, name: str) -> None:
        def let_go(found: Object) -> None:
            found["metadata"].pop("finalizers", None)
            (found.get("spec") or {}).pop("finalizers", None)

        self._store.update(NAMESPACE, "", name, let_go)
        # Taking away the last finalizer has removed it already, if it had one.
        if self._store.find(NAMESPACE, "", name) is not None:
            self._store.delete(NAMESPACE, "", name)
