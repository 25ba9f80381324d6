"""From a request to one operation of the API and back: who asks, whether they may, what exactly they ask.

What always holds: nothing of a request is looked at before its caller is known; a body is read only for a caller who
may send one; an operation names the role that it needs, so none is open by omission; and every way out is an answer
that the OpenAPI document has.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from watcher.api.callers import LOOPBACK, Caller, Callers, is_loopback, token_of, unauthorised
from watcher.api.limits import LARGEST_BODY, Buckets, Limits, Room, Slots, read_body
from watcher.api.problems import Problem
from watcher.core.access import Role
from watcher.core.models import Model

T = TypeVar("T")

THREADS = 16
REFUSED = 2.0
"""Requests with a wrong token a second, from one address."""
ALERTS = Limits(rate=1000.0, burst=2000.0, at_once=256)
"""Where alerts come in: where much breaks at once, they come at once."""
WRITING = frozenset({"POST"})
TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in. `key` is its Idempotency-Key."""

    request: Request
    caller: Caller
    path: Mapping[str, str]
    query: Any
    body: Any
    key: str
    run: Callable[..., Awaitable[Any]]
    """Runs something that blocks in a thread."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody who signs what it sends. `signed(headers, body)` blocks."""

    caller: Caller
    signed: Callable[[Mapping[str, str], bytes], bool]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for."""

    id: str
    method: str
    path: str
    summary: str
    role: Role
    handler: Callable[[Any, Asked], Awaitable[Response]]
    """Called with what the endpoint works on."""
    answers: Mapping[int, tuple[str, type[BaseModel] | None]]
    """What it means and what comes, by status, where all is well."""
    query: type[Model] | None = None
    body: type[BaseModel] | None = None
    refusals: Sequence[int] = field(default=())
    """The further statuses of its problems."""
    media_type: str = "application/json"
    largest: int = LARGEST_BODY
    """Bytes of its body."""
    alerts: bool = False
    """Its senders come many at once, and send again after a 5xx only."""
    signer: Callable[[Any, Request], Signer | None] | None = None
    """Who may have signed a request that carries no token, asked of what the endpoint works on."""


class Gate:
    """Lets requests in. All of it runs in the server's one loop, but what blocks."""

    def __init__(self, callers: Callers, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._callers = callers
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="api")
        self._refusals = Buckets(REFUSED, limits.refused)
        self._requests = Buckets(limits.rate, limits.burst)
        self.slots = Slots(limits.at_once)
        self._alerts, self._alert_slots, self._room = Buckets(ALERTS.rate, ALERTS.burst), Slots(ALERTS.at_once), Room()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run something that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args))

    @contextmanager
    def place(self, request: Request, operation: Operation, caller: Caller) -> Iterator[None]:
        """Be one of the caller's requests. Raises a Problem when there are too many, or they are too much together."""
        if not operation.alerts:
            with self.slots.one(caller.name):
                yield
            return
        said = request.headers.get("content-length", "")
        size = int(said) if said.isascii() and said.isdigit() and len(said) < 20 else operation.largest
        with self._alert_slots.one(caller.name), self._room.of(min(size, operation.largest)):
            yield

    async def check(self, request: Request, signer: Signer, body: bytes) -> None:
        """Raises a Problem unless the signer has signed the body."""
        if not await self.run(signer.signed, request.headers, body):
            self._refusals.take(_address(request))
            raise unauthorised("The signature is missing, too old, or not that of what was sent.")

    async def admit(self, request: Request, operation: Operation, signer: Signer | None) -> Caller:
        """Whoever asks; the signer, if there may be one, is still to be checked. Raises a Problem for nobody in
        particular, and for whoever asks too often."""
        _one_body(request)
        address = _address(request)
        if self._refusals.left(address) < 1:
            self._refusals.take(address)
        if signer is not None:
            self._alerts.take(signer.caller.name)
            return signer.caller
        try:
            token = token_of(request)
        except Problem:
            self._refusals.take(address)
            raise
        if token is None:
            if not is_loopback(request):
                raise unauthorised("Send a bearer token: Authorization: Bearer TOKEN.")
            caller = LOOPBACK
        else:
            found = await self.run(self._callers.identify, token)
            if found is None:
                self._refusals.take(address)
                raise unauthorised("This token is not let in: unknown, expired, or not meant for here.")
            caller = found
        (self._alerts if operation.alerts else self._requests).take(caller.name)
        return caller

    async def need(self, caller: Caller, role: Role, namespace: str, application: str) -> None:
        """Raises a Problem unless the caller may."""
        if not await self.run(caller.may, role, namespace, application):
            what = f"the role {role.value} for {namespace}/{application}"
            raise Problem(403, f"{caller.name} does not have {what}.")


class Endpoint:
    """The operations at one path."""

    def __init__(self, gate: Gate, target: object, operations: Sequence[Operation]) -> None:
        self._gate, self._target = gate, target
        self._operations = {operation.method: operation for operation in operations}

    @property
    def methods(self) -> list[str]:
        return list(self._operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if b"%" in scope.get("raw_path", b""):
            # No name here needs it; a proxy that looks at paths may have read this one differently.
            raise HTTPException(404)
        operation = self._operations.get(request.method)
        if operation is None:
            raise HTTPException(405, headers={"Allow": ", ".join(self._operations)})
        try:
            await self._answer(request, operation, scope, receive, send)
        except Problem as problem:
            if operation.alerts and problem.status == TOO_MANY:
                raise Problem(503, problem.detail, headers=problem.headers) from None
            raise

    async def _answer(self, request: Request, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
        signer = None
        if operation.signer is not None and "authorization" not in request.headers:
            signer = operation.signer(self._target, request)
        caller = await self._gate.admit(request, operation, signer)
        with self._gate.place(request, operation, caller):
            asked = await self._ask(request, operation, caller, signer)
            response = await operation.handler(self._target, asked)
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            await response(scope, receive, send)

    async def _ask(self, request: Request, operation: Operation, caller: Caller, signer: Signer | None) -> Asked:
        query = _query(request, operation.query)
        body = None
        if operation.method in WRITING:
            if caller is LOOPBACK:
                raise unauthorised("Loopback may look without a token, and ask for nothing.")
            sent = await read_body(request, operation.largest)
            if signer is not None:
                await self._gate.check(request, signer, sent)
            body = _model(sent, operation.body)
            if not operation.alerts:
                _each_key_once(sent)
        path = {name: str(value) for name, value in request.path_params.items()}
        return Asked(request, caller, path, query, body, _key(request), self._gate.run)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON, as every answer is where all is well."""
    return Response(json.dumps(body), status, dict(headers or {}), "application/json")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _one_body(request: Request) -> None:
    """Two ways to say how long a body is are how requests are smuggled past a proxy."""
    names = [name for name, _ in request.scope["headers"]]
    if b"transfer-encoding" in names and b"content-length" in names:
        raise Problem(400, "Say once how long the body is.", headers={"Connection": "close"})


def _key(request: Request) -> str:
    found = request.headers.getlist("idempotency-key")
    if not found:
        return ""
    key = found[0]
    if len(found) > 1 or not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise Problem(400, "An Idempotency-Key has 1 to 255 printable ASCII characters, and there is one.")
    return key


def _query(request: Request, model: type[Model] | None) -> Any:
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    known = {info.alias or name for name, info in model.model_fields.items()} if model else set()
    unknown = sorted(set(names) - known)
    if unknown or len(set(names)) < len(names):
        errors = [{"in": "query", "name": name, "problem": "unknown"} for name in unknown]
        raise Problem(400, "A query parameter is unknown, or there more than once.", errors=errors)
    if model is None:
        return None
    try:
        return model.model_validate_strings(dict(given))
    except ValidationError as error:
        raise Problem(400, "A query parameter is wrong.", errors=_errors(error, "query")) from None


def _each_key_once(body: bytes) -> None:
    """What is there twice may have been read differently by whoever looked at it on the way."""

    def pairs(found: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in found}) < len(found):
            raise Problem(400, "A key of the body is there more than once.")

    json.loads(body or b"{}", object_pairs_hook=pairs, parse_int=str)


def _model(body: bytes, model: type[BaseModel] | None) -> Any:
    if model is None:
        if body:
            raise Problem(400, "This takes no body.")
        return None
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        errors = _errors(error, "body")
        broken = any(one["type"] == "json_invalid" for one in error.errors(include_url=False, include_input=False))
        raise Problem(400 if broken else 422, "The body is not as it should be.", errors=errors) from None


def _errors(error: ValidationError, where: str) -> list[dict[str, str]]:
    return [
        {"in": where, "name": ".".join(str(part) for part in one["loc"]), "problem": one["msg"]}
        for one in error.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]
