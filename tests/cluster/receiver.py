"""A place that is told: it takes what the daemon and Alertmanager post, on the node, where pods reach it.

What always holds: what was received is in a file, a line each, so that every process of the tests can read it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Notification:
    """One that came. `at` is on this machine's monotonic clock."""

    at: float
    key: str
    reason: str
    severity: str
    message: str
    namespace: str


class Receiver:
    """Listens on an address of its own choice; `file` gets what comes."""

    def __init__(self, host: str, file: Path) -> None:
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                line = json.dumps({"at": time.monotonic(), "document": json.loads(body)})
                with lock, file.open("a", encoding="utf-8") as log:
                    log.write(line + "\n")
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                """Say nothing."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


def received(file: Path, namespace: str) -> list[Notification]:
    """What the daemon told so far about a namespace, the oldest first."""
    found = []
    for at, document in _lines(file):
        if document.get("namespace") == namespace:
            names = ("key", "reason", "severity", "message", "namespace")
            found.append(Notification(at, **{name: document[name] for name in names}))
    return found


def alerted(file: Path, namespace: str) -> list[str]:
    """The names of the alerts that Alertmanager told so far about a namespace."""
    alerts = [alert for _, document in _lines(file) for alert in document.get("alerts", ())]
    return [a["labels"]["alertname"] for a in alerts if a["labels"].get("namespace") == namespace]


def _lines(file: Path) -> Iterator[tuple[float, dict[str, Any]]]:
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        row = json.loads(line)
        yield row["at"], row["document"]
