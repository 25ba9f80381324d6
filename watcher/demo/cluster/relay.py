"""One forwarded TCP connection: bytes both ways, half-closes and slow readers respected.

What always holds: nothing is read from the client before an endpoint has answered the dial, and whatever either side
sent before it closed reaches the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import cast

DIAL = 2.0
"""Seconds for one endpoint to take the connection; on loopback it does so at once or never."""


class Half(asyncio.Protocol):
    """One side of a relay; what it receives is written to `other`."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self.ended = False
        """Whether its peer has sent all that it will."""
        self._on_lost = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass a half-close on; when both sides have sent theirs, the connection is over."""
        self.ended = True
        other = self.other
        if other is None or other.transport is None or self.transport is None:
            return False
        with contextlib.suppress(OSError, RuntimeError):
            other.transport.write_eof()
        if other.ended:
            self.transport.close()
            other.transport.close()
        return True

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        other = self.other
        self.other = None
        if other is not None and other.transport is not None:
            other.other = None
            if exc is not None:
                other.transport.abort()
            else:
                other.transport.close()
        self._on_lost()


class Downstream:
    """A client's connection, from its acceptance to the end of both halves."""

    def __init__(
        self,
        connection: socket.socket,
        candidates: Callable[[], Iterator[tuple[str, int]]],
        on_end: Callable[[Downstream], None],
    ) -> None:
        self._connection = connection
        self._candidates = candidates
        self._on_end = on_end
        self._halves = [Half(self._lost), Half(self._lost)]
        self._open = 0
        self._dial: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._dial = asyncio.ensure_future(self._connect())

    def abort(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
        for half in self._halves:
            if half.transport is not None:
                half.transport.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        client, server = self._halves
        try:
            for address in self._candidates():
                with contextlib.suppress(OSError):
                    async with asyncio.timeout(DIAL):
                        await loop.create_connection(lambda: server, *address)
                    break
            if server.transport is None:
                return
            self._open = 1
            server.transport.pause_reading()
            await loop.connect_accepted_socket(lambda: client, self._connection)
            self._open = 2
            client.other, server.other = server, client
            server.transport.resume_reading()
        finally:
            if client.transport is None:
                self._give_up()

    def _give_up(self) -> None:
        self._connection.close()
        if self._halves[1].transport is not None:
            self._halves[1].transport.abort()
        else:
            self._on_end(self)

    def _lost(self) -> None:
        self._open -= 1
        if self._open <= 0:
            self._on_end(self)
