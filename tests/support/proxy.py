"""A proxy between the daemon and a server that makes chosen requests go wrong, in a chosen way.

What always holds: a request that no fault wants passes unchanged, watches included, byte for byte as they come; each
request has a connection of its own to the server; closing the proxy ends everything that passes or is held.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

Head = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the daemon sent it. `path` is without query."""

    method: str
    path: str
    query: str
    head: Head
    body: bytes

    def raw(self, host: str) -> bytes:
        """The same request for a server that closes the connection after its answer."""
        kept = {k: v for k, v in self.head.items() if k not in ("connection", "host", "keep-alive")}
        target = self.path + (f"?{self.query}" if self.query else "")
        lines = [f"{self.method} {target} HTTP/1.1", f"host: {host}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in kept.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Exchange:
    """One request, its client, and the ways to answer."""

    def __init__(self, request: Request, client: socket.socket, proxy: Relay) -> None:
        self.request, self._client, self._proxy = request, client, proxy
        self.closing = proxy.closing

    def pass_on(self) -> None:
        """Let the server answer; whatever comes is sent on as it comes."""
        with self._proxy.upstream(self.request) as server:
            while chunk := server.recv(65536):
                self._client.sendall(chunk)

    def forward(self) -> bytes:
        """Let the server do what was asked, and keep its answer."""
        with self._proxy.upstream(self.request) as server:
            parts = []
            while chunk := server.recv(65536):
                parts.append(chunk)
            return b"".join(parts)

    def fetch(self) -> tuple[int, Any]:
        """Let the server do what was asked, and read its answer: the code, and the body as JSON."""
        head = {k: v for k, v in self.request.head.items() if k != "accept-encoding"}
        with self._proxy.upstream(replace(self.request, head=head)) as server, HTTPResponse(server) as answer:
            answer.begin()
            return answer.status, json.loads(answer.read())

    def answer(self, code: int, message: str, **headers: str) -> None:
        """Answer as an API server refuses."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
        self.send(code, status, **headers)

    def send(self, code: int, body: object, **headers: str) -> None:
        """Answer with JSON."""
        content = json.dumps(body).encode()
        lines = [f"HTTP/1.1 {code} Answered", "content-type: application/json", f"content-length: {len(content)}"]
        lines += ["connection: close", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        self._client.sendall("\r\n".join([*lines, "", ""]).encode() + content)


Fault = Callable[[Exchange], None]
"""Called in place of passing on. The connection is closed when it returns."""


def hold(until: threading.Event) -> Fault:
    """Keep the request until the event, then pass it on."""

    def fault(exchange: Exchange) -> None:
        while not until.wait(0.05):
            if exchange.closing.is_set():
                return
        exchange.pass_on()

    return fault


def before(callback: Callable[[], None]) -> Fault:
    """Call back instead of forwarding: the server never hears of the request, the daemon never of an answer."""

    def fault(_: Exchange) -> None:
        callback()

    return fault


def after(callback: Callable[[], None]) -> Fault:
    """Forward, call back once the server has done it, and never answer."""

    def fault(exchange: Exchange) -> None:
        exchange.forward()
        callback()

    return fault


def drop_answer(exchange: Exchange) -> None:
    """Forward, and close the connection without an answer."""
    exchange.forward()


def hang(exchange: Exchange) -> None:
    """Never answer, and forward nothing."""
    exchange.closing.wait()


def refuse(code: int, message: str = "refused by the test", **headers: str) -> Fault:
    """Answer with a code, and forward nothing."""

    def fault(exchange: Exchange) -> None:
        exchange.answer(code, message, **headers)

    return fault


@dataclass
class Rule:
    """A fault for requests that match. `first` counts from 1; `times` 0 means all from then on."""

    method: str
    path: re.Pattern[str]
    body: str
    fault: Fault
    first: int
    times: int
    seen: list[Request] = field(default_factory=list)
    struck: threading.Event = field(default_factory=threading.Event)
    off: bool = False

    def wants(self, request: Request) -> bool:
        """Whether the fault strikes this request; counts it when it matches."""
        if self.off or request.method != self.method or not self.path.search(request.path):
            return False
        if self.body and self.body not in request.body.decode("utf-8", "replace"):
            return False
        self.seen.append(request)
        count = len(self.seen)
        return count >= self.first and (not self.times or count < self.first + self.times)


class Relay:
    """Listens on a free port of loopback, in the place of an HTTP server that is known by its address."""

    def __init__(self, server: str) -> None:
        split = urlsplit(server)
        self._server = (split.hostname or "", split.port or 80)
        self._prefix = split.path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.closing = threading.Event()
        self.asked: list[Request] = []
        self._rules: list[Rule] = []
        self._dead = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for each in left:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}{self._prefix}"

    def on(self, method: str, path: str, fault: Fault, *, body: str = "", first: int = 1, times: int = 1) -> Rule:
        """Put a fault in the way of requests by method, path (a regular expression) and a part of the body."""
        rule = Rule(method, re.compile(path), body, fault, first, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def put(self, rule: Rule) -> None:
        """Put a fault of one's own in the way."""
        with self._lock:
            self._rules.append(rule)

    def cut(self) -> None:
        """Let nothing through any more, and end what passes: so a process that was killed looks from the outside."""
        with self._lock:
            self._dead = True
            left = list(self._open)
        for each in left:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let requests through again."""
        with self._lock:
            self._dead = False

    def upstream(self, request: Request) -> socket.socket:
        """A connection on which the server was just asked."""
        server = socket.create_connection(self._server, 10)
        server.settimeout(None)
        with self._lock:
            self._open.add(server)
        server.sendall(request.raw(f"{self._server[0]}:{self._server[1]}"))
        return server

    def _begin(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(client)
                dead = self._dead
            if dead:
                client.close()
                continue
            self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, client.makefile("rb") as stream:
            request = _read(stream)
            if request is None:
                return
            with self._lock:
                if self._dead:
                    return
                self.asked.append(request)
                rule = next((rule for rule in self._rules if rule.wants(request)), None)
            exchange = Exchange(request, client, self)
            if rule is None:
                exchange.pass_on()
                return
            rule.struck.set()
            rule.fault(exchange)


class Proxy(Relay):
    """In the place of an API server; `kubeconfig(path)` writes the credentials that lead through it."""

    def __init__(self, kubeconfig: Path) -> None:
        self._original = json.loads(kubeconfig.read_text("utf-8"))
        super().__init__(self._original["clusters"][0]["cluster"]["server"])

    def kubeconfig(self, path: Path) -> Path:
        """Write the original credentials with this proxy for their server."""
        changed = json.loads(json.dumps(self._original))
        changed["clusters"][0]["cluster"]["server"] = self.url
        path.write_text(json.dumps(changed), "utf-8")
        return path


def _read(stream: BinaryIO) -> Request | None:
    first = stream.readline().decode().split(" ")
    if len(first) != 3:
        return None
    path, _, query = first[1].partition("?")
    head: dict[str, str] = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        head[name.lower()] = value.strip()
    return Request(first[0], path, query, head, stream.read(int(head.get("content-length", "0"))))
