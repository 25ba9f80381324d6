"""An embedded API server that knows Releases, for tests that need no pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from tests.cluster_api.harness import embedded
from watcher.adapters.kubernetes.connection import Connection
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


def teach(connection: Connection) -> None:
    """Make the server know Releases."""
    connection.create(CRDS, YAML(typ="safe", pure=True).load(shipped("deploy/crd.yaml").read_text("utf-8")))


@contextmanager
def api_server(directory: Path) -> Iterator[Connection]:
    """A connection to a fresh embedded API server."""
    with embedded() as server:
        connection = Connection(kubeconfig(directory / "kubeconfig", server.url))
        teach(connection)
        yield connection
        connection.close()
