"""The cluster that scripts/test-cluster brings up, the daemon in it, and a Prometheus beside it.

What always holds: the tests run in the cluster's network, one after the other; each scenario has a namespace
of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.prometheus import Prometheus
from tests.cluster.stage import DAEMON, Platform, daemon_log, deploy_daemon, start_times
from tests.cluster.waiting import kubectl
from watcher.adapters.kubernetes.connection import Connection

SCENARIOS = ("good", "errors", "crash-loop", "unknown-image", "killed")
NODE_ADDRESS = os.environ.get("CLUSTER_NODE_ADDRESS", "10.244.255.1")
"""Where pods reach what runs on the node."""


measured: list[str] = []


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The administrator's."""
    given = os.environ.get("KUBECONFIG")
    if not given:
        pytest.exit("tests/cluster needs a cluster: run scripts/test-cluster", returncode=4)
    for namespace in (DAEMON, *map(namespace_of, SCENARIOS)):
        if kubectl("get", "namespace", namespace, "--ignore-not-found"):
            pytest.exit(f"the cluster has a namespace {namespace} already: these tests change only what is theirs", 4)
    return Path(given)


@pytest.fixture(scope="session")
def connection(kubeconfig: Path) -> Iterator[Connection]:
    found = Connection(kubeconfig)
    yield found
    found.close()


@pytest.fixture(scope="session")
def prometheus(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("prometheus")
    found = Prometheus(directory, kubeconfig, [namespace_of(name) for name in SCENARIOS], f"{NODE_ADDRESS}:9090")
    yield found.start()
    found.close()


@pytest.fixture(scope="session")
def daemon(kubeconfig: Path, prometheus: Prometheus) -> Iterator[None]:
    """The image that was built, with the manifests that are shipped."""
    deploy_daemon([namespace_of(name) for name in SCENARIOS], prometheus.url)
    measured.extend(f"{name}: ready {seconds:.0f} s after its container started" for name, seconds in start_times())
    yield
    kubectl("delete", "-k", "deploy", "--wait=false", "--ignore-not-found")


@pytest.fixture
def platform(request: pytest.FixtureRequest, connection: Connection, daemon: None) -> Iterator[Platform]:
    """The example platform in the namespace of the test's scenario. All that the daemon did there was allowed."""
    found = Platform(connection, namespace_of(request.param))
    found.create()
    yield found
    found.remove()
    refused = [line for line in daemon_log().splitlines() if "cannot" in line and "forbidden" in line.lower()]
    assert refused == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long the image needs to start: no test, as it depends on the machine."""
    for line in measured:
        terminalreporter.write_line(line)


def namespace_of(scenario: str) -> str:
    return f"chat-{scenario}"
