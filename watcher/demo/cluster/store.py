"""The embedded cluster's memory: objects with resource versions, and a bounded history that watches read.

It exists so that the API and the controllers share one truth. What always holds: every change gets the next
resource version, a stale one is refused, and nobody outside ever holds an object of the store itself (what goes in
and what comes out is copied). It lives in one asyncio loop and needs no locks; no method awaits.
"""

from __future__ import annotations

import asyncio
import itertools
import marshal
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

from watcher.demo.cluster.resources import Kind, resource_name

Object = dict[str, Any]
"""One Kubernetes object as JSON: apiVersion, kind, metadata, and the rest."""

HISTORY = 4096
"""How many changes are remembered. A watch that starts further back is answered 410 Gone."""


Json = TypeVar("Json")


UNSHARED = 2
"""The version of marshal's format that copies what stands in two places twice."""


def clone(value: Json) -> Json:
    """Copy JSON data: what copy.deepcopy does, many times faster."""
    data: Any = value
    return cast(Json, marshal.loads(marshal.dumps(data, UNSHARED)))  # noqa: S302 - written a moment ago


class StoreError(Exception):
    """A refusal, with the HTTP code and the machine-readable reason that the real API server would give."""

    code = 500
    reason = "InternalError"


class NotFound(StoreError):
    code, reason = 404, "NotFound"


class AlreadyExists(StoreError):
    code, reason = 409, "AlreadyExists"


class Conflict(StoreError):
    code, reason = 409, "Conflict"


class Gone(StoreError):
    code, reason = 410, "Expired"


@dataclass(frozen=True, slots=True)
class Change:
    """One change as watches see it. `object` is the state after it (before it, for DELETED, at the new version)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    version: int
    kind: Kind
    object: Object
    before: Object | None
    """The state before it: a watch with a selector needs both to know whether the object came or went."""


class Listener:
    """Somebody whom only the changes of one kind concern: what else happens does not wake it."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The version of the first change that it has not taken yet."""
        self._woken = asyncio.Event()

    def hear(self, version: int) -> None:
        if self.first is None:
            self.first = version
        self._woken.set()

    def wake(self) -> None:
        """Let it look, although no object has changed."""
        self._woken.set()

    def take(self) -> int | None:
        """The version of the first change since the last time, if there was one."""
        first, self.first = self.first, None
        self._woken.clear()
        return first

    async def wait(self) -> None:
        """Return as soon as there is something to take, or somebody wakes it."""
        await self._woken.wait()


class Store:
    """All objects, by (group, plural), namespace and name. `now` is the clock for timestamps."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._objects: dict[tuple[str, str], dict[str, dict[str, Object]]] = {}
        self._version = 1
        self._latest: dict[tuple[str, str], int] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._changed = asyncio.Event()
        self._listeners: defaultdict[tuple[tuple[str, str], str | None], set[Listener]] = defaultdict(set)
        self._kinds: dict[tuple[str, str], Kind] = {}

    # -- kinds --------------------------------------------------------------------------------------------------

    def register(self, kind: Kind) -> None:
        """Serve a kind from now on. Registering it again keeps its objects."""
        self._kinds[kind.key] = kind
        self._objects.setdefault(kind.key, {})

    def unregister(self, kind: Kind) -> None:
        self._kinds.pop(kind.key, None)
        self._objects.pop(kind.key, None)
        for (key, _), listeners in self._listeners.items():
            if key == kind.key:
                for listener in listeners:
                    listener.wake()

    def serves(self, kind: Kind) -> bool:
        return kind.key in self._kinds

    @property
    def kinds(self) -> Iterable[Kind]:
        return tuple(self._kinds.values())

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The latest resource version."""
        return self._version

    def latest(self, kind: Kind) -> int:
        """The resource version of the last change to any object of this kind, 0 when there was none."""
        return self._latest.get(kind.key, 0)

    @property
    def now(self) -> datetime:
        return self._now()

    def timestamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return clone(self._find(kind, namespace, name))

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        found = self._objects.get(kind.key, {}).get(namespace if kind.namespaced else "", {}).get(name)
        return clone(found) if found is not None else None

    def objects(
        self, kind: Kind, namespace: str | None = None, where: Callable[[Object], object] = lambda _: True
    ) -> list[Object]:
        """The objects of a kind, in one namespace or (None) in all, ordered by namespace and name.

        `where` chooses among them. It sees what is stored, uncopied, and changes nothing.
        """
        spaces = self._objects.get(kind.key, {})
        chosen = sorted(spaces) if namespace is None else [namespace]
        rows = [row for space in chosen for _, row in sorted(spaces.get(space, {}).items())]
        return [clone(row) for row in rows if where(row)]

    def each(self, kind: Kind) -> Iterable[Object]:
        """All objects of a kind in no order, not copied: for whoever looks at many of them and changes none."""
        return (row for rows in self._objects.get(kind.key, {}).values() for row in rows.values())

    # -- writing ------------------------------------------------------------------------------------------------

    def create(self, kind: Kind, body: Object, *, dry_run: bool = False) -> Object:
        """Add an object; fills creationTimestamp, generation and resourceVersion, and uid and name if missing."""
        body = clone(body)
        meta = body.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        namespace = meta.get("namespace", "") if kind.namespaced else ""
        if meta["name"] in self._objects[kind.key].get(namespace, {}):
            raise AlreadyExists(f'{resource_name(kind)} "{meta["name"]}" already exists')
        meta["uid"] = meta.get("uid") or str(uuid.uuid4())
        meta["creationTimestamp"] = self.timestamp()
        meta["generation"] = 1
        body["apiVersion"], body["kind"] = kind.api_version, kind.kind
        return self._commit("ADDED", kind, body, None, dry_run=dry_run)

    def replace(self, kind: Kind, body: Object, *, subresource: str = "", dry_run: bool = False) -> Object:
        """Put a whole object. A `metadata.resourceVersion` in it must be the current one, else Conflict.

        With subresource "status" only status is taken, without it status is kept (for kinds that have one). The
        generation goes up when anything but metadata and status changed. An unchanged object makes no change.
        A deletion that waited for its last finalizer is carried out.
        """
        body = clone(body)
        meta = body["metadata"]
        namespace = meta.get("namespace", "") if kind.namespaced else ""
        current = self._find(kind, namespace, meta["name"])
        now = current["metadata"]
        if meta.get("resourceVersion") not in (None, "", now["resourceVersion"]):
            raise Conflict(
                f'Operation cannot be fulfilled on {resource_name(kind)} "{meta["name"]}": the object has been '
                "modified; please apply your changes to the latest version and try again"
            )
        if meta.get("uid") not in (None, "", now["uid"]):
            raise Conflict(f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {now['uid']}")
        if subresource == "status":
            new = clone(current)
            new.pop("status", None)
            if "status" in body:
                new["status"] = body["status"]
        else:
            new = body
            if kind.status_subresource:
                new.pop("status", None)
                if "status" in current:
                    new["status"] = clone(current["status"])
        new["apiVersion"], new["kind"] = kind.api_version, kind.kind
        for fixed in (
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "namespace",
            "resourceVersion",
        ):
            if fixed in now:
                new["metadata"][fixed] = now[fixed]
            else:
                new["metadata"].pop(fixed, None)
        if new == current:
            return clone(current)
        if _spec(new) != _spec(current):
            new["metadata"]["generation"] = now["generation"] + 1
        if _released(current, new):
            return self._commit("DELETED", kind, new, current, dry_run=dry_run)
        return self._commit("MODIFIED", kind, new, current, dry_run=dry_run)

    def update(self, kind: Kind, namespace: str, name: str, change: Callable[[Object], None]) -> Object:
        """Change an object in place, status and deletion too: for controllers, which run in this loop.

        A deletion that waited for its last finalizer is carried out here as well.
        """
        current = self._find(kind, namespace, name)
        new = clone(current)
        change(new)
        if new == current:
            return new
        if _spec(new) != _spec(current):
            new["metadata"]["generation"] = current["metadata"]["generation"] + 1
        return self._commit("DELETED" if _released(current, new) else "MODIFIED", kind, new, current)

    def delete(self, kind: Kind, namespace: str, name: str) -> Object:
        """Remove an object at once; with finalizers it is only marked and goes when the last one is taken away."""
        current = self._find(kind, namespace, name)
        if current["metadata"].get("finalizers"):
            return self.update(kind, namespace, name, self._mark)
        return self._commit("DELETED", kind, clone(current), current)

    # -- watching -----------------------------------------------------------------------------------------------

    def since(self, version: int) -> list[Change]:
        """Every change after `version`, oldest first; Gone when the history does not reach back that far."""
        oldest = self._history[0].version if self._history else self._version + 1
        if version < oldest - 1 or version > self._version:
            raise Gone(f"too old resource version: {version} ({oldest})")
        newer = list(itertools.takewhile(lambda change: change.version > version, reversed(self._history)))
        newer.reverse()
        return newer

    async def wait(self, version: int) -> None:
        """Return as soon as there is a change after `version`."""
        while self._version <= version:
            await self._changed.wait()

    @contextmanager
    def listening(self, kind: Kind, namespace: str | None = None) -> Iterator[Listener]:
        """Listen to changes of one kind, in one namespace or (None) in all."""
        listener = Listener()
        where = (kind.key, namespace)
        self._listeners[where].add(listener)
        try:
            yield listener
        finally:
            self._listeners[where].discard(listener)
            if not self._listeners[where]:
                del self._listeners[where]

    # -- inside -------------------------------------------------------------------------------------------------

    def _mark(self, body: Object) -> None:
        body["metadata"].setdefault("deletionTimestamp", self.timestamp())
        body["metadata"]["deletionGracePeriodSeconds"] = 0

    def _find(self, kind: Kind, namespace: str, name: str) -> Object:
        try:
            return self._objects[kind.key][namespace if kind.namespaced else ""][name]
        except KeyError:
            raise NotFound(f'{resource_name(kind)} "{name}" not found') from None

    def _commit(
        self,
        type_: Literal["ADDED", "MODIFIED", "DELETED"],
        kind: Kind,
        new: Object,
        before: Object | None,
        *,
        dry_run: bool = False,
    ) -> Object:
        if dry_run:
            return new
        meta = new["metadata"]
        self._version += 1
        self._latest[kind.key] = self._version
        meta["resourceVersion"] = str(self._version)
        namespace = meta.get("namespace", "") if kind.namespaced else ""
        rows = self._objects[kind.key].setdefault(namespace, {})
        if type_ != "DELETED":
            rows[meta["name"]] = new
        elif len(rows) > 1:
            del rows[meta["name"]]
        else:
            del self._objects[kind.key][namespace]
        self._history.append(Change(type_, self._version, kind, clone(new), before))
        self._changed.set()
        self._changed = asyncio.Event()
        for heard_in in {None, namespace}:
            for listener in self._listeners.get((kind.key, heard_in), ()):
                listener.hear(self._version)
        return clone(new)


def _released(before: Object, after: Object) -> bool:
    """Did this change take the last finalizer of an object that only waited for that to go?"""
    meta = after["metadata"]
    waiting = meta.get("deletionTimestamp") and not meta.get("deletionGracePeriodSeconds")
    return bool(waiting and before["metadata"].get("finalizers") and not meta.get("finalizers"))


def _spec(body: Object) -> Object:
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}
