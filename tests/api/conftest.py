"""A daemon over an embedded API server, and its HTTP side on a free port of loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.acting import application, until, write
from tests.support.api import api_server
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.api.app import api_routes, create_app
from watcher.api.limits import Limits
from watcher.api.server import Certificates, Server
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE
from watcher.engine.daemon import Daemon

RELEASER, READER, APPROVER, ELSEWHERE = (f"{name}-0123456789abcdef" for name in ("releaser", "reader", "approver", "e"))
PLENTY = Limits(rate=100_000, burst=100_000, at_once=1000)
ONE_RELEASE = {"namespace": NAMESPACE, "application": APPLICATION, "version": "2.5.0", "images": {"chat": "chat:2.5.0"}}


@dataclass
class Site:
    """A daemon that is asked over HTTP."""

    daemon: Daemon
    server: Server
    connection: Connection
    hands: Hands
    directory: Path
    authority: Path | None = None
    """What has signed its certificate, where it has one."""

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.server.port}"

    def ask(
        self, method: str, path: str, token: str = "", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Ask with a token; with none as loopback."""
        given = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return requests.request(
            method,
            self.url + path,
            json=body,
            headers=given,
            timeout=20,
            allow_redirects=False,
            verify=str(self.authority) if self.authority else True,
        )

    def create(self, token: str = RELEASER, key: str = "", **changes: Any) -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.ask("POST", "/api/v1/releases", token, ONE_RELEASE | changes, headers)


def entry(directory: Path, name: str, token: str, *roles: str, applications: str = f"{NAMESPACE}/*") -> dict[str, Any]:
    """An entry of the settings, and its file."""
    file = directory / f"{name}.token"
    file.write_text(token + "\n", "utf-8")
    return {"name": name, "file": str(file), "roles": list(roles), "applications": [applications]}


def lease() -> dict[str, Any]:
    """The Lease of a leader that is somewhere else."""
    spec = {
        "holderIdentity": "another",
        "leaseDurationSeconds": 3600,
        "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    metadata = {"name": "bluegreen-watcher", "namespace": NAMESPACE}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


@contextmanager
def opened(
    directory: Path,
    api: Mapping[str, Any],
    limits: Limits = PLENTY,
    http: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Iterator[Site]:
    """A site with these settings of `api` and `http`, and others."""
    head = {"apiVersion": "watcher.bluegreen.dev/v1alpha1", "kind": "Settings"}
    http = dict(http or {})
    files = write(directory / "config", application(**spec), head | {"api": api, "http": http} | dict(settings or {}))
    with ExitStack() as stack:
        connection: Connection = stack.enter_context(api_server(directory))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        connection.create("/api/v1/namespaces", namespace)
        # Another replica leads, so that Releases stay as they are: whatever is asked here is answered by any replica.
        connection.create(paths.leases(NAMESPACE), lease())
        daemon = Daemon(list(files), {"WATCHER_LEASE_NAMESPACE": NAMESPACE}, directory / "kubeconfig")
        daemon.start()
        stack.callback(daemon.stop)
        certificates = Certificates(Path(http["certFile"]), Path(http["keyFile"])) if http else None
        server = Server(create_app(daemon, api_routes(daemon, limits)), "127.0.0.1", 0, certificates)
        server.start()
        stack.callback(server.stop)
        until(lambda: not daemon.ready(), "the daemon to be ready", 20)
        yield Site(daemon, server, connection, Hands(connection), directory, Path(http["certFile"]) if http else None)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with one caller of each role, and one for Applications elsewhere."""
    callers = [
        entry(tmp_path, "pipeline", RELEASER, "releaser"),
        entry(tmp_path, "screen", READER, "reader"),
        entry(tmp_path, "boss", APPROVER, "approver"),
        entry(tmp_path, "others", ELSEWHERE, "releaser", "approver", applications="elsewhere/*"),
    ]
    with opened(tmp_path, {"tokens": callers}, approval="beforeSwitch") as found:
        yield found


def problem(answer: requests.Response, status: int) -> str:
    """What a problem says; it must be one in form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.text)
    assert body["status"] == status
    assert body["title"]
    assert body["type"] == "about:blank"
    return str(body["detail"])
