"""A version of the chat service that is ready, refuses all else, and says again whatever it is told: in its answers and
on its output. Started as a container of the embedded cluster.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers everything."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        said = json.dumps({"path": self.path, "headers": dict(self.headers), "body": body})
        ready = self.path in ("/readyz", "/healthz", "/livez")
        if not ready:
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
            said = json.dumps({"base64": base64.b64encode(said.encode()).decode(), "said": said})
        self.send_response(200 if ready else 403)
        self.send_header("Content-Length", str(len(said.encode())))
        self.end_headers()
        self.wfile.write(said.encode())

    do_GET = do_POST = _answer  # noqa: N815 - the names are the library's

    def log_message(self, *_: object) -> None:
        """The path alone is no news."""


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ["POD_IP"], int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
