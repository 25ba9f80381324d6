"""An API server for the adapter: the embedded one, or (CONTRACT_KUBECONFIG) any other; the same cases must hold there.

What a server that misbehaves does to the adapter is tested against servers that misbehave on purpose, always here.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_api.harness import embedded, until
from tests.support.api import CRDS, kubeconfig, teach
from watcher.adapters.errors import AdapterError, Conflict
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kubeconfig for an API server that knows Releases."""
    with ExitStack() as stack:
        given = os.environ.get("CONTRACT_KUBECONFIG")
        if given:
            path = Path(given)
        else:
            server = stack.enter_context(embedded())
            path = kubeconfig(tmp_path_factory.mktemp("contract") / "kubeconfig", server.url)
        connection = Connection(path)
        stack.callback(connection.close)
        with suppress(Conflict):
            teach(connection)
        until(lambda: knows_releases(connection))
        yield path


def knows_releases(connection: Connection) -> bool:
    """A real server serves a new kind a moment after it has accepted its definition, and refuses or is busy before."""
    with suppress(AdapterError):
        status = connection.get(f"{CRDS}/releases.watcher.bluegreen.dev").get("status") or {}
        conditions = {row["type"]: row["status"] for row in status.get("conditions") or ()}
        established = conditions.get("Established") == "True"
        return established and bool(connection.get(paths.releases("default")))
    return False


@pytest.fixture
def connection(cluster: Path) -> Iterator[Connection]:
    found = Connection(cluster)
    yield found
    found.close()


@pytest.fixture
def hands(connection: Connection) -> Hands:
    return Hands(connection)


@pytest.fixture
def namespace(connection: Connection) -> Iterator[str]:
    name = f"adapter-{uuid.uuid4().hex[:8]}"
    connection.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    connection.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def service(connection: Connection, namespace: str) -> Callable[..., str]:
    """Create a Service that selects blue; returns its name."""

    def create(name: str = "shop", **meta: Any) -> str:
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, **meta},
            "spec": {"selector": {"app": "shop", "color": "blue"}, "ports": [{"port": 80, "targetPort": "http"}]},
        }
        connection.create(paths.services(namespace), body)
        return name

    return create


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., Connection]]:
    """Connect to a server that misbehaves."""
    with ExitStack() as stack:

        def to(url: str, deadline: float = 0.6) -> Connection:
            found = Connection(kubeconfig(tmp_path / f"kubeconfig-{uuid.uuid4().hex}", url), deadline=deadline)
            stack.callback(found.close)
            return found

        yield to
