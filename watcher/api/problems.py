"""Errors as callers get them: problem details (RFC 9457), the same form for every path and every status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watcher.adapters.errors import AdapterError, Conflict, Fatal, OutcomeUnknown, Transient

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """What becomes an answer that says what is wrong, and what would cure it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.errors = status, detail, dict(headers or {}), list(errors)


def response(problem: Problem) -> Response:
    """The problem as an answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = problem.errors
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(json.dumps(body), problem.status, headers, MEDIA_TYPE)


async def on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error)


async def on_http(_: Request, error: Exception) -> Response:
    """What the router refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    said = {404: "There is nothing at this path.", 405: "This path does not know this method."}
    return response(Problem(error.status_code, said.get(error.status_code, error.detail), headers=error.headers))


async def on_adapter(_: Request, error: Exception) -> Response:
    """What the cluster did not do."""
    assert isinstance(error, AdapterError)
    log.warning("the cluster did not do what a caller asked for", error=str(error))
    return response(of_adapter(error))


async def on_crash(_: Request, __: Exception) -> Response:
    """Nothing of the error: it may quote anything. The log has it."""
    return response(Problem(500, "Something failed that nobody foresaw; the daemon's log says what."))


def of_adapter(error: AdapterError) -> Problem:
    """What an adapter's error means to a caller."""
    if isinstance(error, Transient):
        after = str(max(1, round(error.retry_after)))
        return Problem(503, "The cluster does not answer; nothing was changed.", headers={"Retry-After": after})
    if isinstance(error, OutcomeUnknown):
        cure = "The cluster did not say whether it happened; ask again with the same Idempotency-Key, or read first."
        return Problem(504, cure)
    if isinstance(error, Conflict):
        return Problem(409, "The object was changed, or is there already; read it again.")
    if isinstance(error, Fatal):
        return Problem(502, "The cluster refuses this to the daemon; its log says why.")
    return Problem(404, "The cluster does not have it (any more).")


HANDLERS: Mapping[Any, Any] = {
    Problem: on_problem,
    HTTPException: on_http,
    AdapterError: on_adapter,
    Exception: on_crash,
}
