"""Small HTTP servers that misbehave in exactly one way each: what adapters meet in the world, on loopback."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import pytest


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}


class Server:
    """Answers each request with what `script(asked, send, stopped)` sends; `send` takes raw bytes of an HTTP answer.

    A script that returns keeps the connection for the next request; one that returns False closes it.
    """

    def __init__(self, script: Callable[..., Any], context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        """Released whenever a script has had its connection closed."""
        self.stopped = threading.Event()
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._threads[0].start()

    def close(self) -> None:
        self.stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection, connection.makefile("rb") as stream:
                while (asked := _request(stream)) is not None:
                    self.asked.append(asked)
                    if self._script(asked, connection.sendall, self.stopped) is False:
                        break
                else:
                    return
            self.closed.release()


def _request(stream: Any) -> Asked | None:
    first = stream.readline()
    if not first:
        return None
    method, path, _ = first.decode().split(" ", 2)
    headers = {}
    while (line := stream.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(method, path, headers, stream.read(int(headers.get("content-length", "0"))))


def reply(status: int = 200, body: bytes | str | dict[str, Any] = b"", **headers: str) -> bytes:
    """A complete HTTP answer; underscores in header names stand for dashes."""
    if isinstance(body, dict):
        headers.setdefault("Content_Type", "application/json")
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    headers.setdefault("Content_Length", str(len(data)))
    lines = [f"HTTP/1.1 {status} Told", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


@pytest.fixture(name="reply")
def _reply() -> Callable[..., bytes]:
    return reply


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers that are stopped when the test ends; given bytes, a server answers all requests with them."""
    with ExitStack() as stack:

        def start(script: Callable[..., Any] | bytes, context: ssl.SSLContext | None = None, port: int = 0) -> Server:
            server = Server(_always(script) if isinstance(script, bytes) else script, context, port)
            stack.callback(server.close)
            return server

        yield start


def _always(answer: bytes) -> Callable[..., Any]:
    def script(_: Asked, send: Callable[[bytes], None], __: threading.Event) -> None:
        send(answer)

    return script


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
