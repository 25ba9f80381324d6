"""Watches: the changes of one resource as a stream of events.

What always holds: a watch sees every change after the version it starts from, in order, once, as the selection of the
request sees it: an object that begins to match comes as ADDED and one that ceases to match as DELETED. It ends at its
own deadline, when the client goes, when the resource is no longer served, and when the server stops.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from watcher.demo.cluster.crd import Resource
from watcher.demo.cluster.errors import ApiError, from_store
from watcher.demo.cluster.rendering import Form, render_bookmark, render_event
from watcher.demo.cluster.selectors import Selection
from watcher.demo.cluster.store import Change, Gone, Listener, Object, Store

BOOKMARK_EVERY = 30.0
"""Seconds between bookmarks, for clients that asked for them."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What to watch. `version` None starts with everything that is there; `timeout` is in seconds."""

    resource: Resource
    selection: Selection
    form: Form
    version: int | None
    bookmarks: bool
    initial_events: bool
    """The client asked for a bookmark that says where the initial list ends."""
    timeout: float | None


class Watches:
    """All running watches of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopping = asyncio.Event()
        self._listeners: set[Listener] = set()

    def stop(self) -> None:
        """End every watch now, and every later one after its initial list."""
        self._stopping.set()
        for listener in self._listeners:
            listener.wake()

    @property
    def stopping(self) -> asyncio.Event:
        return self._stopping

    def open(self, request: WatchRequest) -> AsyncIterator[bytes]:
        """The stream. Raises a 410 at once when the version is too old to start from."""
        first: list[Object] = []
        start = self._store.version
        if request.version is None:
            kind, namespace = request.resource.kind, request.selection.namespace
            first = self._store.objects(kind, namespace, request.selection.matches)
        else:
            start = request.version
            try:
                self._store.since(start)
            except Gone as gone:
                raise from_store(gone, request.resource.kind, "") from gone
        return self._stream(request, first, start)

    async def _stream(self, request: WatchRequest, first: list[Object], version: int) -> AsyncIterator[bytes]:
        # A real server spreads the ends of watches without a timeout over half an hour to an hour.
        deadline = time.monotonic() + (request.timeout or random.uniform(1800, 3600))  # noqa: S311 (not a secret)
        writer = _Writer(request)
        yield b"".join(writer.event("ADDED", obj) for obj in first)
        if request.initial_events and request.bookmarks:
            yield writer.bookmark(version, initial=True)
        with self._listening(request) as listener:
            listener.hear(version + 1)
            async for lines in self._follow(request, writer, listener, deadline):
                yield lines

    async def _follow(
        self, request: WatchRequest, writer: _Writer, listener: Listener, deadline: float
    ) -> AsyncIterator[bytes]:
        kind, marked = request.resource.kind, time.monotonic()
        while True:
            unseen = listener.take()
            if unseen is not None:
                try:
                    changes = self._store.since(unseen - 1)
                except Gone as gone:
                    yield _line({"type": "ERROR", "object": _status(from_store(gone, kind, ""))})
                    return
                if lines := b"".join(writer.changes(changes)):
                    yield lines
            now = time.monotonic()
            if self._stopping.is_set() or now >= deadline or not self._store.serves(kind):
                return
            if request.bookmarks and now - marked >= BOOKMARK_EVERY:
                marked = now
                seen = self._store.version if listener.first is None else listener.first - 1
                yield writer.bookmark(seen, initial=False)
            wake = min(deadline, marked + BOOKMARK_EVERY) if request.bookmarks else deadline
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wake - now)):
                    await listener.wait()

    @contextmanager
    def _listening(self, request: WatchRequest) -> Iterator[Listener]:
        with self._store.listening(request.resource.kind, request.selection.namespace) as listener:
            self._listeners.add(listener)
            try:
                yield listener
            finally:
                self._listeners.discard(listener)


class _Writer:
    """Turns changes into lines for one watch."""

    def __init__(self, request: WatchRequest) -> None:
        self._request = request
        self._first = True

    def event(self, type_: str, obj: Object) -> bytes:
        request = self._request
        body = render_event(request.resource, type_, obj, request.form, first=self._first)
        self._first = False
        return _line(body)

    def bookmark(self, version: int, *, initial: bool) -> bytes:
        return _line(render_bookmark(self._request.resource, version, self._request.form, initial=initial))

    def changes(self, changes: list[Change]) -> Iterator[bytes]:
        key, matches = self._request.resource.kind.key, self._request.selection.matches
        for change in changes:
            if change.kind.key != key:
                continue
            before = change.before is not None and matches(change.before)
            after = change.type != "DELETED" and matches(change.object)
            if before and after:
                yield self.event("MODIFIED", change.object)
            elif after:
                yield self.event("ADDED", change.object)
            elif before and change.before is not None:
                # What leaves the selection is shown as it last was, at the version at which it left.
                left = change.object if change.type == "DELETED" else _at_version(change.before, change.version)
                yield self.event("DELETED", left)


def _at_version(obj: Object, version: int) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def _status(error: ApiError) -> dict[str, Any]:
    return error.status()


def _line(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
