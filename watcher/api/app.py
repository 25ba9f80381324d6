"""The daemon's HTTP side put together: probes, metrics of itself, a page for people, and the API for programs.

What always holds: the page only reads, and is answered to loopback alone (a port-forward arrives there); probes and
metrics to anybody, as they say nothing about releases that the cluster does not show.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Protocol

from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from watcher.api.callers import Callers, is_loopback
from watcher.api.counting import Counting
from watcher.api.dispatch import Endpoint, Gate, Operation
from watcher.api.limits import Limits
from watcher.api.openapi import DOCUMENT, document
from watcher.api.page import Row, render
from watcher.api.problems import HANDLERS
from watcher.api.v1 import OPERATIONS, Operations, Served
from watcher.core.release import Release
from watcher.engine.measures import Measures


class Shown(Protocol):
    """What the daemon shows."""

    def ready(self) -> str: ...

    def releases(self) -> list[Release]: ...

    def active_colors(self) -> dict[tuple[str, str], str]: ...

    def problems(self) -> list[str]: ...

    @property
    def measures(self) -> Measures: ...


def api_routes(served: Served, limits: Limits | None = None) -> list[BaseRoute]:
    """The API on a daemon, for those whom its settings name."""
    gate = Gate(Callers(lambda: served.config.settings.api, served.reviews), limits)
    target = Operations(served, gate)
    paths: dict[str, list[Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, []).append(operation)
    endpoints = {path: Endpoint(gate, target, operations) for path, operations in paths.items()}

    async def openapi(_: Request) -> Response:
        return Response(await asyncio.to_thread(_described), media_type="application/json")

    return [
        Route(DOCUMENT, openapi),
        *(Route(path, endpoint, methods=endpoint.methods) for path, endpoint in endpoints.items()),
    ]


@cache
def _described() -> str:
    """The OpenAPI document. Made when it is first asked for: a start need not wait for it."""
    return json.dumps(document(OPERATIONS))


def create_app(shown: Shown, api: Sequence[BaseRoute] = ()) -> Starlette:
    """The ASGI application."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        why = await asyncio.to_thread(shown.ready)
        return PlainTextResponse(f"not ready: {why}\n" if why else "ok\n", 503 if why else 200)

    async def metrics(_: Request) -> Response:
        body = await asyncio.to_thread(generate_latest, shown.measures.registry)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(request: Request) -> Response:
        if not is_loopback(request):
            return PlainTextResponse(
                "This page is answered to loopback only; reach it by kubectl port-forward.\n", status_code=403
            )
        body = await asyncio.to_thread(_page, shown)
        return HTMLResponse(body, headers={"Cache-Control": "no-store", "Content-Security-Policy": _POLICY})

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics), Route("/", page)]
    every = [*routes, *api]
    counting = Middleware(Counting, measures=shown.measures, routes=every)
    app = Starlette(routes=every, middleware=[counting], exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return app


_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def _page(shown: Shown) -> str:
    apps = [Row(namespace, name, color) for (namespace, name), color in sorted(shown.active_colors().items())]
    return render(apps, shown.releases(), shown.problems(), datetime.now(UTC))
