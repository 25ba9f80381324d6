"""An API server for the adapter: the embedded one, or (CONTRACT_KUBECONFIG) any other; the same cases must hold there.

What a server that misbehaves does to the adapter is tested against servers that misbehave on purpose, always here.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cluster_api.harness import embedded
from watcher.adapters.errors import Conflict
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.demo.files import shipped

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def kubeconfig(path: Path, server: str) -> Path:
    """Credentials for a server that asks for none."""
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    path.write_text(json.dumps(body), "utf-8")
    return path


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
            connection.create(CRDS, YAML(typ="safe", pure=True).load(shipped("deploy/crd.yaml").read_text("utf-8")))
        yield path


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
