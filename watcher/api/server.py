"""uvicorn in a thread, with what it has no bounds for: how long a request may take to arrive, how long an answer may
take to be taken, how many connections there are; and certificates that are read again when they change.

What always holds: no client can keep a connection longer than it keeps to these bounds, and when there are too many
connections, one that has yet to send its request makes room.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

log = structlog.get_logger(__name__)

RECEIVING = 10.0
"""Seconds in which a request must have arrived, from its first byte (or the connection) to its last."""
TAKING = 15.0
"""Seconds for which a client may take nothing of an answer that waits for it."""
HANDSHAKE = 5.0
MOST_CONNECTIONS = 512
LARGEST_HEAD = 16 * 1024
"""Bytes of the request line and the headers together."""


class Protocol(H11Protocol):
    """One connection."""

    receiving = RECEIVING
    most_connections = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._await_request()
        if len(self.connections) > self.most_connections:
            waiting = [one for one in self.connections if isinstance(one, Protocol) and one.idle]
            victim = min(waiting, key=lambda one: one.begun, default=self)
            victim.transport.abort()
            self.connections.discard(victim)

    @property
    def idle(self) -> bool:
        """Whether nobody is being answered."""
        cycle: RequestResponseCycle | None = self.cycle  # before the first request it is None, whatever its type says
        return cycle is None or cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if self._arriving is None and self.idle:
            self._await_request()
        super().data_received(data)
        if self.conn.their_state not in _ARRIVING:
            self._stop("_arriving")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state not in _ARRIVING:
            self._stop("_arriving")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop("_leaving")
        self._leaving = self.loop.call_later(TAKING, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("_leaving")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop("_arriving")
        self._stop("_leaving")

    def _await_request(self) -> None:
        self.begun = self.loop.time()
        self._arriving = self.loop.call_later(self.receiving, self.transport.abort)

    def _stop(self, timer: str) -> None:
        handle: asyncio.TimerHandle | None = getattr(self, timer)
        if handle is not None:
            handle.cancel()
            setattr(self, timer, None)


def _states() -> frozenset[Any]:
    from h11 import IDLE, SEND_BODY  # noqa: PLC0415 - the names are made at run time, and known to no type checker

    return frozenset({IDLE, SEND_BODY})


_ARRIVING = _states()


class Certificates:
    """A TLS context whose certificate is that of the files at each handshake, or the last one that was right."""

    def __init__(self, cert_file: Path, key_file: Path, usable: Callable[[bool], None] = lambda _: None) -> None:
        """Raises OSError (ssl.SSLError is one) when the files cannot be used. `usable` is told at each handshake
        whether they still can.
        """
        self._usable = usable
        self._files = (cert_file, key_file)
        self._seen = self._loaded = self._look()
        self._current = self._load()
        self.context = self._load()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, *_: object) -> None:
        # Called for each handshake, whether the client names a server or not.
        try:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._current = self._load()
                self._loaded = seen
                log.info("took over a new certificate", file=str(self._files[0]))
            self._usable(self._seen == self._loaded)
        except OSError as error:
            self._usable(False)
            log.warning("the certificate cannot be used; the last one stays", error=error.strerror or str(error))
        connection.context = self._current

    def _look(self) -> list[tuple[int, int, int]]:
        found = [file.stat() for file in self._files]
        return [(one.st_ino, one.st_mtime_ns, one.st_size) for one in found]

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files, password=_no_password)
        return context


def _no_password() -> str:
    """Without this OpenSSL would ask the terminal."""
    raise ssl.SSLError("the key is encrypted")


class _Uvicorn(uvicorn.Server):
    """Listens with a bound on how long a TLS handshake may take."""

    def __init__(self, config: uvicorn.Config, context: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._context = context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        timeout = HANDSHAKE if self._context else None
        for each in sockets or ():
            server = await loop.create_server(
                lambda: Protocol(self.config, self.server_state, {}),
                sock=each,
                ssl=self._context,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=timeout,
            )
            self.servers = [server]
        self.started = True


class Server:
    """`port` is the real one once it has started, also when 0 was asked for."""

    def __init__(self, app: Starlette, host: str, port: int, certificates: Certificates | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio turns Nagle's algorithm off only where the protocol is named; left on, it costs 40 ms an answer.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it: what is sent and not taken for so long ends them.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TAKING * 1000))
        self._socket.bind((host, port))
        self._socket.listen(128)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            # What a proxy says of the client must not make it loopback, nor anybody else.
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            timeout_graceful_shutdown=2,
        )
        self._server = _Uvicorn(config, certificates.context if certificates else None)
        # A server in a thread takes no signals; the process's own handlers stop it.
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))
