"""An API server's authorizer in miniature: a proxy that lets through what a role allows, and notes what was asked.

The embedded cluster has no RBAC. Through this proxy the daemon has exactly the rights that the manifests give it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Right = tuple[str, str, str]
"""Group, resource (with its subresource), verb."""

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+/namespaces/(?P<namespace>[^/]+)/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


def right_for(method: str, target: str) -> Right:
    """The right that a request needs, as an API server derives it. What is not of one namespace needs `*`."""
    url = urlsplit(target)
    found = _PATH.search(url.path)
    if found is None:
        return "", url.path, "*"
    resource = found["resource"] + (f"/{found['sub']}" if found["sub"] else "")
    if method == "GET":
        watch = parse_qs(url.query).get("watch") == ["true"]
        verb = "get" if found["name"] else "watch" if watch else "list"
    else:
        verb = _VERBS[method]
    return found["group"] or "", resource, verb


class Guard:
    """What was asked through the proxy: `used` was allowed, `refused` was not.

    The first write of each kind in `conflicts` is answered as if somebody else had been faster.
    """

    def __init__(self, allowed: set[Right], conflicts: set[Right]) -> None:
        self.allowed = allowed
        self.conflicts = set(conflicts)
        self.used: set[Right] = set()
        self.refused: set[Right] = set()


@contextlib.contextmanager
def guarded(kubeconfig: Path, into: Path, guard: Guard) -> Iterator[Path]:
    """A kubeconfig that leads to the same cluster through the guard."""
    config = json.loads(kubeconfig.read_text("utf-8"))
    url = urlsplit(config["clusters"][0]["cluster"]["server"])
    assert url.hostname is not None
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(guard, url.hostname, url.port or 80))
    server.daemon_threads = True
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{server.server_port}{url.path}"
    into.write_text(json.dumps(config), "utf-8")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield into
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _handler(guard: Guard, host: str, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server has
            return

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            right = right_for(self.command, self.path)
            if right not in guard.allowed:
                guard.refused.add(right)
                self._answer(403, json.dumps({"kind": "Status", "code": 403, "message": f"no {right}"}).encode())
                return
            guard.used.add(right)
            if right in guard.conflicts:
                guard.conflicts.discard(right)
                self._answer(409, json.dumps({"kind": "Status", "code": 409, "message": "it was modified"}).encode())
                return
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            with contextlib.closing(http.client.HTTPConnection(host, port, timeout=60)) as upstream:
                try:
                    upstream.request(self.command, self.path, body or None, headers)
                    with upstream.getresponse() as response:
                        if right[2] == "watch":
                            self._stream(response)
                        else:
                            self._answer(response.status, response.read(), response.getheader("Content-Type"))
                except OSError:
                    self.close_connection = True

        def _answer(self, code: int, data: bytes, content_type: str | None = "application/json") -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type or "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, response: http.client.HTTPResponse) -> None:
            """Lines as they come, a chunk each, as API servers send them."""
            self.close_connection = True
            self.send_response(response.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while line := response.readline():
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass  # noqa: N815 - the names that http.server has

    return Handler
