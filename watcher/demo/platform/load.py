"""The clients of the example platform: `python -m watcher.demo.platform.load --url http://SERVICE:PORT`.

It exists to count what users really see while traffic moves. What always holds: nothing is retried; requests leave at
a steady rate whatever the answers are (what no connection was free for is counted as `dropped`, not hidden); and a
connection carries at most ten requests, so a flip shows within a fraction of a second.

One thing looks like a retry and is none. A server may close a connection that idles, and a client may send on it before
it has heard so. As HTTP clients do (RFC 9112, 9.3.1), such a request goes out again on a new connection, once, if the
connection had answered before, not one byte of this answer has come, and repeating it is safe: it is a GET, or a POST
with an Idempotency-Key, which every POST here carries. It is counted under `reconnects`. All else that ends a
connection early is a `reset`, because a user would have seen it.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.parse import urlsplit

from watcher.demo.platform.ledger import Ledger, Outcome, Served, Traffic

REQUESTS_PER_CONNECTION = 10
CONVERSATION_LENGTH = 4
CYCLE = 20
"""Of twenty requests one converts (5%), five read a conversation, and the others chat."""


class _Reset(Exception):
    """The connection ended before the answer did. `unseen` when not one byte of the answer had come."""

    def __init__(self, unseen: bool) -> None:
        super().__init__("the connection ended before the answer did")
        self.unseen = unseen


class _Garbled(Exception):
    """What came back is not an HTTP answer that this client understands."""


class LoadGenerator:
    """Steady traffic against one URL, from a thread of its own. Start, look at `snapshot()`, stop."""

    def __init__(
        self,
        url: str,
        *,
        rate: float = 40.0,
        connections: int = 8,
        timeout: float = 5.0,
        requests_per_connection: int = REQUESTS_PER_CONNECTION,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"not an http:// address: {url}")
        self.host, self.port = parts.hostname, parts.port or 80
        self.rate, self.connections, self.timeout = rate, connections, timeout
        self.requests_per_connection = requests_per_connection
        self._ledger = Ledger(time.time())
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._running = threading.Event()

    def start(self) -> Self:
        """Begins to send."""
        if self._thread is None:
            self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
            self._thread.start()
            self._running.wait(5)
        return self

    def stop(self) -> Traffic:
        """Lets the requests in progress end, sends no more, and returns what there was."""
        if self._thread and self._loop and self._done:
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join(2 * self.timeout + 1)
            self._thread = None
        return self.snapshot()

    def snapshot(self) -> Traffic:
        """What the clients saw up to now. Cheap, from any thread."""
        return self._ledger.snapshot()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    async def _run(self) -> None:
        done = asyncio.Event()
        self._loop, self._done = asyncio.get_running_loop(), done
        self._running.set()
        pace = _Pace(self.rate, done, self._ledger)
        await asyncio.gather(*(self._user(pace) for _ in range(self.connections)))

    async def _user(self, pace: _Pace) -> None:
        connection = _Connection(self)
        conversation: str | None = None
        said = 0
        while (turn := await pace.turn()) is not None:
            step = turn % CYCLE
            if conversation is None or (step % 4 != 1 and step):
                if said % CONVERSATION_LENGTH == 0:
                    conversation = None
                said += 1
                answer = await self._ask(connection, "POST", "/chat", {"conversation": conversation, "text": _TEXT})
                conversation = _conversation(answer) or conversation
            elif step:
                await self._ask(connection, "GET", f"/chat/conversations/{conversation}", None)
            else:
                await self._ask(connection, "POST", "/convert", {"conversation": conversation, "text": "subscribe"})
        connection.close()

    async def _ask(
        self, connection: _Connection, method: str, path: str, body: Mapping[str, object] | None
    ) -> bytes | None:
        """Sends one request, counts how it ended, and returns the body of a good answer."""
        began = time.monotonic()
        outcome: Outcome
        try:
            async with asyncio.timeout(self.timeout):
                code, headers, content = await connection.ask(method, path, body)
        except TimeoutError:
            outcome = "timeout"
        except ConnectionRefusedError:
            outcome = "refused"
        except (_Reset, ConnectionError):
            outcome = "reset"
        except (OSError, _Garbled):
            outcome = "other"
        else:
            outcome = "ok" if code < 400 else "http_4xx" if code < 500 else "http_5xx"
            served = Served(headers.get("x-version", ""), headers.get("x-color", ""), headers.get("x-pod", ""))
            self._ledger.record(time.time(), outcome, served, time.monotonic() - began)
            return content if outcome == "ok" else None
        connection.close()
        self._ledger.record(time.time(), outcome)
        return None

    @property
    def ledger(self) -> Ledger:
        """Where this generator's connections count what happens to them."""
        return self._ledger


_TEXT = "How do I change my subscription?"


def _conversation(answer: bytes | None) -> str | None:
    if answer is None:
        return None
    try:
        name = json.loads(answer).get("conversation")
    except (ValueError, AttributeError):
        return None
    return name if isinstance(name, str) else None


class _Pace:
    """Gives out turns at a steady rate. Turns nobody was free for are dropped and counted, never sent in a burst."""

    def __init__(self, rate: float, done: asyncio.Event, ledger: Ledger) -> None:
        self._every = 1 / rate
        self._done = done
        self._ledger = ledger
        self._next: float | None = None
        self._turns = 0

    async def turn(self) -> int | None:
        """Waits for the next turn and returns its number, or None when it is over."""
        now = time.monotonic()
        due = now if self._next is None else self._next
        if (late := int((now - due) / self._every)) > 0:
            self._ledger.drop(late)
            due += late * self._every
        self._next = due + self._every
        self._turns += 1
        number = self._turns
        try:
            async with asyncio.timeout(max(0.0, due - now)):
                await self._done.wait()
        except TimeoutError:
            return number
        return None


class _Connection:
    """One client's keep-alive connection, opened when there is something to send."""

    def __init__(self, owner: LoadGenerator) -> None:
        self._owner = owner
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._carried = 0

    async def ask(
        self, method: str, path: str, body: Mapping[str, object] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Sends one request and reads its answer: code, headers (names in lower case), body."""
        request = self._request(method, path, body)
        if self._reader is not None and self._reader.at_eof():
            self._owner.ledger.reconnected()  # closed while idle, and known before anything was sent
            self.close()
        reused = self._carried > 0
        try:
            return await self._exchange(request)
        except _Reset as reset:
            self.close()
            if not (reused and reset.unseen):
                raise
        self._owner.ledger.reconnected()
        return await self._exchange(request)

    def close(self) -> None:
        """Gives the connection up; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
        self._carried = 0

    def _request(self, method: str, path: str, body: Mapping[str, object] | None) -> bytes:
        head = [f"{method} {path} HTTP/1.1", f"Host: {self._owner.host}:{self._owner.port}", "User-Agent: load"]
        content = b""
        if body is not None:
            content = json.dumps(body).encode()
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
            head.append(f"Idempotency-Key: {uuid.uuid4().hex}")
        return "\r\n".join((*head, "", "")).encode() + content

    async def _exchange(self, request: bytes) -> tuple[int, Mapping[str, str], bytes]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._owner.host, self._owner.port)
            raw: socket.socket = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._owner.ledger.connected()
        try:
            self._writer.write(request)
            await self._writer.drain()
            first = await self._reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _Reset(unseen=True) from error
        try:
            code, headers = _parse(first + await self._reader.readuntil(b"\r\n\r\n"))
            content = await self._reader.readexactly(_length(headers))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _Reset(unseen=False) from error
        except asyncio.LimitOverrunError as error:
            raise _Garbled("the headers are too long") from error
        self._carried += 1
        if self._carried >= self._owner.requests_per_connection or headers.get("connection", "").lower() == "close":
            self.close()
        return code, headers, content


def _parse(head: bytes) -> tuple[int, Mapping[str, str]]:
    status, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    protocol, _, rest = status.partition(" ")
    code = rest[:3]
    if not protocol.startswith("HTTP/1.") or not code.isdecimal():
        raise _Garbled(f"not an HTTP answer: {status[:60]}")
    pairs = (line.partition(":") for line in lines)
    return int(code), MappingProxyType({name.strip().lower(): value.strip() for name, _, value in pairs})


def _length(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    if not length.isdecimal():
        raise _Garbled("an answer without Content-Length")
    return int(length)


def report(traffic: Traffic) -> str:
    """The whole of it as JSON, for a file."""

    def plain(value: object) -> object:
        if isinstance(value, MappingProxyType):
            return dict(value)
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}  # type: ignore[arg-type]

    return json.dumps(plain(traffic), default=plain, indent=1)


def main() -> int:
    """Sends until SIGINT or SIGTERM (or for `--seconds`), a line per second; exit code 1 when a request failed."""
    parser = argparse.ArgumentParser(
        prog="watcher.demo.platform.load", description="Steady traffic for the chat service"
    )
    parser.add_argument("--url", required=True, help="http://HOST:PORT of the Service")
    parser.add_argument("--rate", type=float, default=40.0, help="requests per second (40)")
    parser.add_argument("--connections", type=int, default=8, help="connections at once (8)")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds until a client gives up (5)")
    parser.add_argument("--seconds", type=float, help="stop after this long")
    parser.add_argument("--report", type=Path, help="write everything seen to this file as JSON")
    given = parser.parse_args()
    endings = (signal.SIGTERM, signal.SIGINT)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    load = LoadGenerator(given.url, rate=given.rate, connections=given.connections, timeout=given.timeout).start()
    left = given.seconds or float("inf")
    while left > 0 and not signal.sigtimedwait(endings, min(1.0, left)):
        left -= 1.0
        traffic = load.snapshot()
        colors = " ".join(f"{color}={count}" for color, count in sorted(traffic.colors.items()))
        sys.stdout.write(f"{traffic.requests} requests, {traffic.failed} failed {colors}\n")
        sys.stdout.flush()
    traffic = load.stop()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if given.report:
        given.report.write_text(report(traffic), encoding="utf-8")
    ended = ", ".join(f"{outcome} {count}" for outcome, count in traffic.results.items() if count)
    sys.stdout.write(f"{traffic.requests} requests: {ended}\n")
    return 1 if traffic.failed else 0


if __name__ == "__main__":
    sys.exit(main())
