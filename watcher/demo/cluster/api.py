"""The embedded cluster's HTTP front: the Kubernetes API over one `Store`, as a Starlette application.

It runs in the store's own asyncio loop and no handler blocks. A request is read completely first; what it then does to
the store is one synchronous step. Every refusal leaves as a Status object.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from watcher.demo.cluster import discovery, openapi
from watcher.demo.cluster.crd import Registry
from watcher.demo.cluster.decoding import decode, decode_patch
from watcher.demo.cluster.deletion import parse_delete_options
from watcher.demo.cluster.errors import (
    ApiError,
    forbidden_field,
    from_store,
    invalid,
    method_not_allowed,
    no_such_path,
    unsupported,
)
from watcher.demo.cluster.logs_api import PodLogs, flag, follow_log, parse_log_request, read_log
from watcher.demo.cluster.rendering import negotiate, render_list, render_object
from watcher.demo.cluster.resources import NAMESPACE, POD, Kind
from watcher.demo.cluster.store import Store, StoreError
from watcher.demo.cluster.verbs import Target, Verbs, WriteOptions, Written, check_subresource, check_version, whole
from watcher.demo.cluster.watching import Watches, WatchRequest

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
"""Answered without a token, as by a real server."""
_OPTIONS = Kind("meta.k8s.io", "v1", "listoptions", "ListOptions")


def create_app(
    store: Store,
    *,
    pod_logs: PodLogs | None = None,
    token: str | None = None,
    cluster_ip: Callable[[], str] | None = None,
) -> Starlette:
    """The application. With a token every request needs `Authorization: Bearer <token>`.

    `app.state.stop_watches()` ends all running watches: call it before the server waits for its connections.
    """
    front = _Front(store, pod_logs, token, cluster_ip)
    app = Starlette(
        routes=[Route("/{path:path}", front.handle, methods=METHODS)],
        exception_handlers={Exception: _internal_error},
    )
    app.state.stop_watches = front.watches.stop
    return app


async def _internal_error(_request: Request, error: Exception) -> Response:
    failure = ApiError(500, "InternalError", f"Internal error occurred: {type(error).__name__}", {})
    return JSONResponse(failure.status(), 500)


class _Front:
    """Takes requests apart and puts answers together; what happens in between is in `verbs` and `watching`."""

    def __init__(
        self, store: Store, pod_logs: PodLogs | None, token: str | None, cluster_ip: Callable[[], str] | None
    ) -> None:
        self._store = store
        self._pod_logs = pod_logs
        self._token = token
        self._registry = Registry(store)
        self._verbs = Verbs(store, self._registry, cluster_ip)
        self.watches = Watches(store)

    async def handle(self, request: Request) -> Response:
        try:
            self._authenticate(request)
            return self._documents(request) or await self._resource(request)
        except ApiError as error:
            return JSONResponse(error.status(), error.code)

    def _authenticate(self, request: Request) -> None:
        if self._token is None or request.url.path in _PUBLIC:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise ApiError(401, "Unauthorized", "Unauthorized")

    # -- documents ----------------------------------------------------------------------------------------------

    def _documents(self, request: Request) -> Response | None:
        """Discovery, OpenAPI, version and health; None when the path is that of a resource."""
        steps = _steps(request.url.path)
        if steps[:1] and steps[0] in ("healthz", "livez", "readyz"):
            return PlainTextResponse("ok")
        if steps[:2] == ["openapi", "v2"] and openapi.PROTOBUF_V2 in request.headers.get("accept", ""):
            return Response(openapi.protobuf_v2(self._registry.all()), media_type=openapi.PROTOBUF_V2_ANSWER)
        deep = len(steps) > 3 or (len(steps) == 3 and steps[0] == "api")
        if deep and steps[:2] != ["openapi", "v3"]:
            return None
        document = self._document(steps, request)
        if document is None:
            raise no_such_path()
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        return JSONResponse(document)

    def _document(self, steps: Sequence[str], request: Request) -> dict[str, Any] | None:
        resources = tuple(self._registry.all())
        match list(steps):
            case []:
                return {"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3"]}
            case ["version"]:
                return discovery.VERSION
            case ["api"]:
                return discovery.core_versions(request.url.netloc)
            case ["apis"]:
                return discovery.groups(resources)
            case ["apis", group]:
                return discovery.group(resources, group)
            case ["api", version]:
                return discovery.resource_list(resources, "", version)
            case ["apis", group, version]:
                return discovery.resource_list(resources, group, version)
            case ["openapi", "v2"]:
                return openapi.document_v2(resources)
            case ["openapi", "v3"]:
                return openapi.index_v3(resources)
            case ["openapi", "v3", *path]:
                return openapi.document_v3(resources, "/".join(path))
        return None

    # -- resources ----------------------------------------------------------------------------------------------

    async def _resource(self, request: Request) -> Response:
        target = self._target(_steps(request.url.path))
        raw = await request.body()
        try:
            return self._dispatch(request, target, raw)
        except StoreError as error:
            raise from_store(error, target.resource.kind, target.name) from error

    def _target(self, steps: list[str]) -> Target:
        if steps[0] not in ("api", "apis"):
            raise no_such_path()
        group, version = ("", steps[1]) if steps[0] == "api" else (steps[1], steps[2])
        rest = steps[2:] if steps[0] == "api" else steps[3:]
        namespace: str | None = None
        if rest[0] == "namespaces" and (group or (len(rest) > 2 and rest[2] != "status")):
            if len(rest) < 3:
                raise no_such_path()
            namespace, rest = rest[1], rest[2:]
        resource = self._registry.find(group, version, rest[0])
        if resource is None or len(rest) > 3:
            raise no_such_path()
        name, subresource = (*rest[1:], "", "")[:2]
        if not resource.kind.namespaced:
            if namespace is not None:
                raise no_such_path()
            namespace = ""
        elif namespace is None and name:
            raise no_such_path()
        target = Target(resource, namespace, name, subresource)
        if not (subresource == "log" and resource.kind.key == POD.key):
            check_subresource(target)
        return target

    def _dispatch(self, request: Request, target: Target, raw: bytes) -> Response:
        query = dict(request.query_params)
        if target.subresource == "log":
            return self._log(request, target)
        match request.method, bool(target.name):
            case "GET" | "HEAD", True if not flag(query, "watch"):
                return self._one(
                    request, target, Written(200, self._verbs.get(target, query.get("resourceVersion", "")))
                )
            case "GET" | "HEAD", _:
                return self._watch(request, target) if flag(query, "watch") else self._list(request, target)
            case "POST", False if target.namespace is not None:
                body = decode(raw, request.headers.get("content-type", ""))
                return self._one(request, target, self._verbs.create(target, body, _options(query)))
            case "PUT", True:
                body = decode(raw, request.headers.get("content-type", ""))
                return self._one(request, target, self._verbs.update(target, body, _options(query)))
            case "PATCH", True:
                media_type, patch = decode_patch(raw, request.headers.get("content-type", ""))
                return self._one(request, target, self._verbs.patch(target, media_type, patch, _options(query)))
            case "DELETE", _ if not target.subresource:
                return self._delete(request, target, raw)
        raise method_not_allowed()

    def _one(self, request: Request, target: Target, written: Written) -> Response:
        form = negotiate(request.headers.get("accept", ""), request.query_params.get("includeObject", ""))
        body = written.object
        if target.subresource != "scale":
            body = render_object(target.resource, body, form)
        response = JSONResponse(body, written.code)
        for warning in written.warnings:
            text = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.append("Warning", f'299 - "{text}"')
        return response

    def _list(self, request: Request, target: Target) -> Response:
        form = negotiate(request.headers.get("accept", ""), request.query_params.get("includeObject", ""))
        objects, metadata = self._verbs.select(target, request.query_params)
        return JSONResponse(render_list(target.resource, objects, metadata, form))

    def _delete(self, request: Request, target: Target, raw: bytes) -> Response:
        body = decode(raw, request.headers.get("content-type", "")) if raw.strip() else None
        query = request.query_params
        options = parse_delete_options(body, dict(query))
        form = negotiate(request.headers.get("accept", ""), query.get("includeObject", ""))
        if not target.name:
            if target.namespace is None or target.resource.kind.key == NAMESPACE.key:
                raise method_not_allowed()
            found = self._verbs.delete_collection(target, query, options)
            metadata = {"resourceVersion": str(self._store.version)}
            return JSONResponse(render_list(target.resource, found, metadata, form))
        answer = self._verbs.delete(target, options)
        return JSONResponse(answer if answer["kind"] == "Status" else render_object(target.resource, answer, form))

    def _watch(self, request: Request, target: Target) -> Response:
        query = request.query_params
        wanted = check_version(query.get("resourceVersion", ""))
        initial = flag(query, "sendInitialEvents")
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            cause = forbidden_field("resourceVersionMatch", "sendInitialEvents requires it to be NotOlderThan")
            raise invalid(_OPTIONS, "", [cause])
        # A version of 0 means any state, so the state of now will do, and its objects come first.
        watch = WatchRequest(
            target.resource,
            self._verbs.selection(target, query),
            negotiate(request.headers.get("accept", ""), query.get("includeObject", "")),
            None if wanted == 0 or initial else wanted,
            flag(query, "allowWatchBookmarks"),
            initial,
            float(whole(query.get("timeoutSeconds", ""))) or None,
        )
        return StreamingResponse(self.watches.open(watch), media_type="application/json")

    def _log(self, request: Request, target: Target) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        log = parse_log_request(self._store.get(POD, target.namespace or "", target.name), request.query_params)
        # Also for a log to be followed: a refusal has to come before the stream begins.
        text = read_log(log, self._pod_logs)
        if not log.follow:
            return PlainTextResponse(text)
        stream = follow_log(log, self._pod_logs, self._store, self.watches.stopping)
        return StreamingResponse(stream, media_type="text/plain")


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step]


def _options(query: dict[str, str]) -> WriteOptions:
    dry_run, validation = query.get("dryRun", ""), query.get("fieldValidation") or "Warn"
    if dry_run not in ("", "All"):
        raise _bad_option("dryRun", dry_run, ["All"])
    if validation not in ("Ignore", "Warn", "Strict"):
        raise _bad_option("fieldValidation", validation, ["Ignore", "Strict", "Warn"])
    return WriteOptions(bool(dry_run), validation)


def _bad_option(name: str, value: str, allowed: list[Any]) -> ApiError:
    return invalid(_OPTIONS, "", [unsupported(name, value, allowed)])
