"""The embedded cluster whole: the API over HTTP and everything that acts behind it, in one asyncio loop.

What always holds: it listens on 127.0.0.1 only, every request needs the token, and after `stop` nothing is left of it.
The token may come as `Authorization: Bearer` or as the first step of the path. The latter is what the kubeconfig says,
since kubectl sends no credentials from it over plain http, and there is no TLS without a certificate to hand out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from watcher.demo.cluster.api import create_app
from watcher.demo.cluster.machine import Machine
from watcher.demo.cluster.store import Store

HOST = "127.0.0.1"
START = 10.0
"""Seconds for the HTTP server to begin serving."""
DRAIN = 1
"""Seconds that requests get to end when the cluster stops; watches never end by themselves."""


class _Server(uvicorn.Server):
    """Leaves signals to the process that embeds it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PathToken:
    """Turns the token at the beginning of a path into the header that the API looks for."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            first, slash, rest = scope["path"].removeprefix("/").partition("/")
            if hmac.compare_digest(first.encode(), self._token.encode()):
                path = slash + rest or "/"
                others = [row for row in scope["headers"] if row[0] != b"authorization"]
                headers = [*others, (b"authorization", f"Bearer {self._token}".encode())]
                scope = {**scope, "path": path, "raw_path": quote(path).encode(), "headers": headers}
        await self._app(scope, receive, send)


class EmbeddedCluster:
    """A cluster inside this process. `server` and `token` are known after `start`.

    Pods end with the thread that runs the loop, so that thread has to live as long as the cluster is needed.
    """

    def __init__(
        self,
        images: Path,
        *,
        port: int = 0,
        kubeconfig: Path | None = None,
        token: str | None = None,
        state_dir: Path | None = None,
        namespaces: Sequence[str] = (),
        backoff_scale: float = 0.1,
        cpu: str = "8",
        memory: str = "16Gi",
        pods: int = 110,
    ) -> None:
        self.store = Store()
        self.machine = Machine(
            self.store,
            images,
            state_dir=state_dir,
            namespaces=namespaces,
            backoff_scale=backoff_scale,
            cpu=cpu,
            memory=memory,
            pods=pods,
        )
        self.token = token or secrets.token_urlsafe(24)
        self.kubeconfig = kubeconfig
        self.server = ""
        self._port = port
        self._http: _Server | None = None
        self._stop_watches: Callable[[], None] = lambda: None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the API answers."""
        # asyncio turns Nagle's algorithm off only where the protocol is named; left on, it costs 40 ms an answer.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self._port))
            await self.machine.start()
        except BaseException:
            listener.close()
            raise
        app = create_app(
            self.store,
            pod_logs=self.machine.logs,
            token=self.token,
            cluster_ip=self.machine.cluster_ip,
        )
        self._stop_watches = app.state.stop_watches
        config = uvicorn.Config(
            PathToken(app, self.token),
            log_config=None,
            access_log=False,
            ws="none",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN,
        )
        self._http = _Server(config)
        self._serving = asyncio.ensure_future(self._http.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(START):
                while not self._http.started and not self._serving.done():
                    await asyncio.sleep(0.005)
        except BaseException:
            await self.stop()
            raise
        if not self._http.started:
            await self.stop()
            raise RuntimeError("the HTTP server of the cluster ended as it began")
        self.server = f"http://{HOST}:{listener.getsockname()[1]}"
        if self.kubeconfig is not None:
            write_kubeconfig(self.kubeconfig, self.server, self.token)

    async def stop(self) -> None:
        """End everything. May be called more than once."""
        self._stop_watches()
        await self.machine.stop()
        serving, self._serving = self._serving, None
        if serving is not None and self._http is not None:
            self._http.should_exit = True
            await asyncio.wait([serving])


def write_kubeconfig(path: Path, server: str, token: str, namespace: str = "default") -> None:
    """A kubeconfig for kubectl and the client libraries, readable by its owner only. JSON is YAML."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "embedded", "cluster": {"server": f"{server}/{token}"}}],
        "users": [{"name": "embedded", "user": {"token": token}}],
        "contexts": [
            {"name": "embedded", "context": {"cluster": "embedded", "user": "embedded", "namespace": namespace}}
        ],
        "current-context": "embedded",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2) + "\n")
