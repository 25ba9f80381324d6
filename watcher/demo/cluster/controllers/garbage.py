"""Garbage collection: what is owned by something that is gone goes too.

Background is the rule. Foreground and orphan deletion work through the finalizers that the API sets on the owner.
What always holds: the index of owners is built from every change, so a look at one owner never reads the whole store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from watcher.demo.cluster.controllers.common import delete_pod, terminating
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.resources import EVENT, POD, Kind
from watcher.demo.cluster.store import Change, Object, Store

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

Place = tuple[Kind, str, str]
"""Kind, namespace and name of an object."""


class Garbage:
    """Keys are ("", uid of an owner)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, Place] = {}
        self._owners: dict[str, set[str]] = {}
        self._dependents: defaultdict[str, set[str]] = defaultdict(set)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.kind == EVENT:
            return
        meta = change.object["metadata"]
        uid = meta["uid"]
        owners = {row["uid"] for row in meta.get("ownerReferences") or ()}
        for former in self._owners.get(uid, set()) - owners:
            self._dependents[former].discard(uid)
        if change.type == "DELETED":
            self._places.pop(uid, None)
            for former in self._owners.pop(uid, set()):
                self._dependents[former].discard(uid)
            yield ("", uid)
        else:
            self._places[uid] = (change.kind, meta.get("namespace", ""), meta["name"])
            self._owners[uid] = owners
            for owner in owners:
                self._dependents[owner].add(uid)
            if terminating(change.object):
                yield ("", uid)
        if change.type != "MODIFIED":
            for owner in owners:
                yield ("", owner)

    def reconcile(self, key: Key) -> float | None:
        uid = key[1]
        dependents = sorted(self._dependents.get(uid, ()))
        place = self._places.get(uid)
        owner = self._find(place) if place else None
        if place is None or owner is None:
            for dependent in dependents:
                if not any(other in self._places for other in self._owners[dependent]):
                    self._delete(dependent)
            if not dependents:
                self._dependents.pop(uid, None)
            return None
        finalizers = owner["metadata"].get("finalizers") or ()
        if terminating(owner) and ORPHAN in finalizers:
            for dependent in dependents:
                self._orphan(dependent, uid)
            self._let_go(place[0], owner, ORPHAN)
        elif terminating(owner) and FOREGROUND in finalizers:
            for dependent in dependents:
                self._delete(dependent)
            if not dependents:
                self._let_go(place[0], owner, FOREGROUND)
        return None

    def _find(self, place: Place) -> Object | None:
        """The object, unless it or its whole kind (a custom one, with its definition) is gone."""
        known = any(kind.key == place[0].key for kind in self._store.kinds)
        return self._store.find(*place) if known else None

    def _delete(self, uid: str) -> None:
        kind, namespace, name = self._places[uid]
        found = self._find(self._places[uid])
        if found is None or terminating(found):
            return
        if kind == POD:
            delete_pod(self._store, found)
        else:
            self._store.delete(kind, namespace, name)

    def _orphan(self, dependent: str, uid: str) -> None:
        def cut(found: Object) -> None:
            rows = [row for row in found["metadata"]["ownerReferences"] if row["uid"] != uid]
            found["metadata"]["ownerReferences"] = rows
            if not rows:
                del found["metadata"]["ownerReferences"]

        if self._find(self._places[dependent]) is not None:
            self._store.update(*self._places[dependent], cut)

    def _let_go(self, kind: Kind, owner: Object, finalizer: str) -> None:
        """Take a finalizer away; the store carries the deletion out when it was the last one."""
        meta = owner["metadata"]
        meta["finalizers"] = [name for name in meta["finalizers"] if name != finalizer]
        self._store.replace(kind, owner)
