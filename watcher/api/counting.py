"""Counts what is asked over HTTP: method, route, status, and how long the answer took to begin.

What always holds: labels take their values from the routes that there are, never from what somebody sent; and an answer
that nobody gave, because something failed, counts as the 500 that it becomes.
"""

from __future__ import annotations

import time

from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watcher.engine.measures import Measures

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


class Counting:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, measures: Measures, routes: list[BaseRoute]) -> None:
        self._app, self._measures = app, measures
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, begun = time.monotonic(), 0.0
        status = 500

        async def counted(message: Message) -> None:
            nonlocal begun, status
            if message["type"] == "http.response.start":
                begun, status = time.monotonic(), message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            method = scope["method"] if scope["method"] in METHODS else OTHER
            route = self._route(scope)
            self._measures.http_requests.labels(method, route, str(status)).inc()
            self._measures.http_seconds.labels(method, route).observe((begun or time.monotonic()) - began)

    def _route(self, scope: Scope) -> str:
        """The template of the address: `/api/v1/releases/{name}`."""
        return next((route.path for route in self._routes if route.matches(scope)[0] is not Match.NONE), OTHER)
