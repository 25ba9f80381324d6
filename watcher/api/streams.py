"""Answers that wait for something to change: a long poll, and server-sent events.

What always holds: whoever waits takes no thread; a caller who leaves frees what it held; and nobody waits for ever.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from watcher.engine.changes import Changes

KEEP_ALIVE = 15.0
"""Seconds after which an event stream says something, if only that it is still there."""
LONGEST_STREAM = 600.0
"""Seconds after which a stream ends, so that a caller has to be let in again."""
RETRY = 2000
"""Milliseconds after which a client comes back."""

MEDIA_TYPE = "text/event-stream"


class Bell:
    """Rings in the server's loop when a namespace changes, whichever thread saw it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._rung = loop, asyncio.Event()

    def ring(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, seconds: float) -> bool:
        """Whether it rang within so many seconds, or had since the last time."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


@contextmanager
def bell(changes: Changes, namespace: str) -> Iterator[Bell]:
    """A bell for one namespace."""
    found = Bell(asyncio.get_running_loop())
    with changes.heard_by(namespace, found.ring):
        yield found


async def wait(
    request: Request, changes: Changes, namespace: str, seconds: float, look: Callable[[], tuple[bool, Any]]
) -> Any:
    """What `look` says once it says that it is so, or when the time is over, or the caller has gone."""
    ends = asyncio.get_running_loop().time() + seconds
    gone = asyncio.create_task(_gone(request))
    try:
        with bell(changes, namespace) as rung:
            while True:
                so, found = look()
                left = ends - asyncio.get_running_loop().time()
                if so or left <= 0 or gone.done():
                    return found
                ringing = asyncio.create_task(rung.wait(left))
                await asyncio.wait({ringing, gone}, return_when=asyncio.FIRST_COMPLETED)
                ringing.cancel()
    finally:
        gone.cancel()


def events(changes: Changes, namespace: str, look: Callable[[], tuple[str, str, Any, bool]]) -> StreamingResponse:
    """A stream of what `look` says each time that it says something new: event, id, data, and whether it was the last.
    It begins with how things are, so a client that was away has missed nothing that still counts.
    """

    async def stream() -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + LONGEST_STREAM
        said = ""
        yield f"retry: {RETRY}\n\n"
        with bell(changes, namespace) as rung:
            while loop.time() < ends:
                event, id_, data, last = look()
                if id_ != said:
                    said = id_
                    yield f"event: {event}\nid: {id_}\ndata: {json.dumps(data)}\n\n"
                if last:
                    return
                if not await rung.wait(min(KEEP_ALIVE, ends - loop.time())):
                    yield ": still here\n\n"

    return StreamingResponse(stream(), media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})


async def _gone(request: Request) -> None:
    """Returns when the caller has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
