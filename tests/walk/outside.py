"""What the daemon talks to besides the cluster, in one HTTP server: Prometheus' API, whoever is told, and what the
checks and hooks ask.

What always holds: what Prometheus says of a time never changes, as a real one's memory does not; how it is right now
(down, slow, partial) says nothing of what it remembers.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

SECRET = "hunter2-do-not-print"  # noqa: S105 - planted
"""Stands in headers, tokens and addresses, and must never be seen elsewhere (S12)."""

SLOW = 0.05
_MERGED = re.compile(r'label_replace\((?:vector)?\(?(\w+)(?:\{[^}]*\}|\(1\))?\s*\)?,"watcher_rule","(\d+)"')
_ALONE = re.compile(r"\w+")


@dataclass
class History:
    """What was measured when, by metric: changes as (from when on, value). None: nothing was."""

    steps: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)

    def say(self, metric: str, since: float, value: float | None) -> None:
        self.steps.setdefault(metric, []).append((since, value))

    def at(self, metric: str, seconds: float) -> float | None:
        """The value at a time. A change counts for the times after it."""
        found: float | None = None
        for since, value in self.steps.get(metric, ()):
            if seconds > since:
                found = value
        return found


@dataclass(frozen=True, slots=True)
class Delivery:
    """One document that a daemon's life sent, and how it was answered."""

    life: str
    key: str
    status: int


class Outside:
    """`metrics`: up, down, slow, partial. `told`: up, failing, refusing, hanging. `checks`: well, failing."""

    def __init__(self) -> None:
        self.history = History()
        self.metrics = self.told = "up"
        self.checks = "well"
        self.deliveries: list[Delivery] = []
        self.healed = threading.Event()

    def __enter__(self) -> Self:
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("content-length", "0"))))

            def _answer(self, body: bytes) -> None:
                status, document = outside.answer(self.path, body)
                if status == 0:
                    self.close_connection = True
                    return
                text = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by the library
                """Nobody reads it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that went away is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="outside", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.healed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def heal(self) -> None:
        """Everything works again."""
        self.metrics = self.told = "up"
        self.checks = "well"
        self.healed.set()

    # -- inside -------------------------------------------------------------------------------------------------------

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Status and document; status 0 closes the connection."""
        if path.startswith("/prometheus/"):
            return self._measured(parse_qs(body.decode()))
        if path.startswith("/told/"):
            return self._hear(path.split("/")[2], json.loads(body)["key"])
        return (200 if self.checks == "well" else 500), {}

    def _hear(self, life: str, key: str) -> tuple[int, Any]:
        how = self.told
        if how == "hanging":
            self.healed.wait(2.0)
            return 0, None
        status = {"failing": 503, "refusing": 404}.get(how, 200)
        self.deliveries.append(Delivery(life, key, status))
        return status, {}

    def _measured(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        how = self.metrics
        if how == "down":
            return 0, None
        if how == "slow":
            time.sleep(SLOW)
        query = form["query"][0]
        asked = _MERGED.findall(query) or [(_ALONE.match(query.lstrip("( ")).group(0), "")]  # type: ignore[union-attr]
        start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
        times = [start + k * step for k in range(round((end - start) / step) + 1)]
        result = []
        for metric, place in asked:
            values = [(at, 1.0 if metric == "vector" else self.history.at(metric, at)) for at in times]
            points = [[at, str(value)] for at, value in values if value is not None]
            if points:
                result.append({"metric": {"watcher_rule": place} if place else {}, "values": points})
        document: dict[str, Any] = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        if how == "partial":
            document["warnings"] = ["a store did not answer"]
        return 200, document
