"""The daemon's HTTP side: probes, metrics of itself, and a page for people.

What always holds: it only reads. The page is answered to loopback alone (a port-forward arrives there); probes and
metrics to anybody, as they say nothing about releases that the cluster does not show.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from datetime import UTC, datetime
from typing import Protocol

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from watcher.api.page import Row, render
from watcher.core.release import Release


class Shown(Protocol):
    """What the daemon shows."""

    def ready(self) -> str: ...

    def releases(self) -> list[Release]: ...

    def active_colors(self) -> dict[tuple[str, str], str]: ...

    def problems(self) -> list[str]: ...

    @property
    def registry(self) -> CollectorRegistry: ...


def create_app(shown: Shown) -> Starlette:
    """The ASGI application."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        why = await asyncio.to_thread(shown.ready)
        return PlainTextResponse(f"not ready: {why}\n" if why else "ok\n", 503 if why else 200)

    async def metrics(_: Request) -> Response:
        body = await asyncio.to_thread(generate_latest, shown.registry)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(request: Request) -> Response:
        if not _is_loopback(request):
            return PlainTextResponse(
                "This page is answered to loopback only; reach it by kubectl port-forward.\n", status_code=403
            )
        body = await asyncio.to_thread(_page, shown)
        return HTMLResponse(body, headers={"Cache-Control": "no-store", "Content-Security-Policy": _POLICY})

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics), Route("/", page)]
    return Starlette(routes=routes)


_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def _page(shown: Shown) -> str:
    apps = [Row(namespace, name, color) for (namespace, name), color in sorted(shown.active_colors().items())]
    return render(apps, shown.releases(), shown.problems(), datetime.now(UTC))


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


class Server:
    """uvicorn in a thread. `port` is the real one once it has started, also when 0 was asked for."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio turns Nagle's algorithm off only where the protocol is named; left on, it costs 40 ms an answer.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self._socket.listen(128)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        # A server in a thread takes no signals; the process's own handlers stop it.
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))
