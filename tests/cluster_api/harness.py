"""An API server to talk to: the embedded one, started here, or any other that the environment names.

The contract tests know nothing but a base URL and credentials. WATCHER_TEST_API (with WATCHER_TEST_API_TOKEN and
WATCHER_TEST_API_CA, where needed) points them at a real kube-apiserver, and the same cases must hold there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests
import uvicorn

from watcher.demo.cluster.api import create_app
from watcher.demo.cluster.logs_api import PodLogs
from watcher.demo.cluster.resources import NAMESPACE
from watcher.demo.cluster.store import Store

Json = dict[str, Any]
Found = TypeVar("Found")
DEADLINE = 10.0
"""Seconds that any single request or wait of a test may take."""


@dataclass
class Api:
    """HTTP against one API server. Paths start with a slash; bodies and answers are JSON."""

    url: str
    token: str | None = None
    ca: str | None = None
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False
        if self.token:
            self.session.headers["Authorization"] = f"Bearer {self.token}"
        self.session.verify = self.ca or True

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """Any request. `body` goes out as JSON unless it is bytes; `type` is its content type."""
        headers = dict(options.pop("headers", {}))
        media_type = options.pop("type", "application/json")
        if body is not None:
            headers["Content-Type"] = media_type
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        return self.session.request(method, self.url + path, data=data, headers=headers, timeout=DEADLINE, **options)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Json:
        """A request that must succeed."""
        answer = self.call(method, path, body, **options)
        assert answer.ok, answer.text
        found: Json = answer.json()
        return found

    def get(self, path: str, **params: Any) -> Json:
        return self.ok("GET", path, params=params)

    def post(self, path: str, body: Any, **params: Any) -> Json:
        return self.ok("POST", path, body, params=params)

    def edit(self, path: str, change: Callable[[Json], None], to: str = "") -> Json:
        """Read, change and replace, again when a controller was faster. `to` names another path to write to."""

        for _ in range(10):
            body = self.get(path)
            change(body)
            answer = self.call("PUT", to or path, body)
            if answer.status_code != 409:
                break
        assert answer.ok, answer.text
        written: Json = answer.json()
        return written

    def refused(self, code: int, method: str, path: str, body: Any = None, **options: Any) -> Json:
        """A request that must be refused with this code; the Status that says so."""
        answer = self.call(method, path, body, **options)
        assert answer.status_code == code, answer.text
        status: Json = answer.json()
        assert status["kind"] == "Status"
        assert status["apiVersion"] == "v1"
        assert status["status"] == "Failure"
        assert status["metadata"] == {}
        assert status["code"] == code
        return status

    @contextmanager
    def watch(self, path: str, **params: Any) -> Iterator[Watch]:
        params = {"watch": "true", "timeoutSeconds": "8", **params}
        headers = params.pop("headers", {})
        with self.session.get(self.url + path, params=params, headers=headers, stream=True, timeout=DEADLINE) as answer:
            yield Watch(answer)


class Watch:
    """The events of one watch, in order."""

    def __init__(self, answer: requests.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines(chunk_size=1)

    def __iter__(self) -> Iterator[Json]:
        return self

    def __next__(self) -> Json:
        line = next(self._lines)
        event: Json = json.loads(line)
        return event

    def brief(self, count: int) -> list[tuple[str, str]]:
        """The next events, each as its type and the name of its object."""
        return [(event["type"], event["object"]["metadata"]["name"]) for event in itertools.islice(self, count)]


@dataclass
class Embedded:
    """A running embedded API server and the store behind it, which only its own loop may touch."""

    url: str
    store: Store
    loop: asyncio.AbstractEventLoop
    server: uvicorn.Server
    stop_watches: Callable[[], None]

    def inside(self, action: Callable[[], Found]) -> Found:
        """Do something with the store, where it lives."""
        done: concurrent.futures.Future[Found] = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(lambda: done.set_result(action()))
        return done.result(DEADLINE)


@contextmanager
def embedded(
    *, pod_logs: PodLogs | None = None, token: str | None = None, cluster_ip: Callable[[], str] | None = None
) -> Iterator[Embedded]:
    """An embedded API server on a free port, in a thread of its own."""
    store = Store()
    store.register(NAMESPACE)
    store.create(NAMESPACE, {"metadata": {"name": "default"}, "status": {"phase": "Active"}})
    app = create_app(store, pod_logs=pod_logs, token=token, cluster_ip=cluster_ip)
    # asyncio turns Nagle's algorithm off only for sockets that say they are TCP; left on, it adds 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=5))
    loop = asyncio.new_event_loop()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(server.serve(sockets=[listener]))
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Embedded(url, store, loop, server, app.state.stop_watches)
    finally:
        loop.call_soon_threadsafe(app.state.stop_watches)
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive()


def until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Wait for a condition, at most so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)


def outside() -> Api | None:
    """The API server that the environment names."""
    url = os.environ.get("WATCHER_TEST_API")
    if not url:
        return None
    return Api(url, os.environ.get("WATCHER_TEST_API_TOKEN"), os.environ.get("WATCHER_TEST_API_CA"))


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def deployment(name: str, *, replicas: int | None = None, image: str = "registry.invalid/web:1") -> Json:
    body: Json = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    }
    if replicas is not None:
        body["spec"]["replicas"] = replicas
    return body


def service(name: str, **selector: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector or {"app": name}, "ports": [{"port": 80}]},
    }


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def pod(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            # No scheduler takes it, so it never runs, on a real cluster either.
            "schedulerName": "nobody",
            "containers": [{"name": "web", "image": "registry.invalid/web:1"}],
        },
    }


def lease(name: str, holder: str) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
    }


def widget_crd(group: str, **version: Any) -> Json:
    """A small CRD: size (1 to 10) is required, colour has a default, free takes anything."""
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 10},
                    "colour": {"type": "string", "enum": ["blue", "green"], "default": "blue"},
                    "code": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5},
                    "parts": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {
                "type": "object",
                "properties": {"phase": {"type": "string"}, "seen": {"type": "integer"}},
            },
        },
    }
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    **version,
                }
            ],
        },
    }
