"""Whoever a daemon tells or calls over HTTP: takes every document, and counts by its key how often it came.

What always holds: it answers at once, and what was answered is counted.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Told(BaseHTTPRequestHandler):
    keys: Counter[str]
    lock: threading.Lock

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            self.keys[document["key"].partition("/")[2]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


def receiver(stack: ExitStack) -> tuple[str, Counter[str]]:
    """Its URL, and what it was told: keys without the Release that they begin with."""
    keys: Counter[str] = Counter()
    handler = type("Told", (_Told,), {"keys": keys, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.1,), name="receiver", daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_address[1]}", keys
