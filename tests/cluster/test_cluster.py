"""The cluster is a real one, and the daemon has the rights in it that it needs, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.daemon import DAEMON, Daemon
from tests.cluster.waiting import fetch, kubectl, read, until


@pytest.mark.usefixtures("kubeconfig")
def test_every_node_is_ready() -> None:
    nodes = read("nodes")["items"]

    assert nodes
    for node in nodes:
        (ready,) = (one for one in node["status"]["conditions"] if one["type"] == "Ready")
        assert ready["status"] == "True", node["metadata"]["name"]


def test_the_daemon_runs_as_deploy_describes_it_and_never_restarted(
    daemon: Daemon, record_property: Callable[[str, object], None]
) -> None:
    (wanted,) = read("deployments", "-n", DAEMON)["items"]
    pods = daemon.pods()

    assert len(pods) == wanted["spec"]["replicas"]
    for name, pod in pods.items():
        (status,) = pod["status"]["containerStatuses"]
        assert status["ready"], name
        assert status["restartCount"] == 0, name
    for name, seconds in daemon.start_times():
        record_property("figure", f"{name}: ready {seconds:.0f} s after its container started")


def test_its_service_answers_with_its_metrics(daemon: Daemon) -> None:
    service = read(f"service/{DAEMON}", "-n", DAEMON)["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"

    until(
        lambda: "watcher_" in (fetch(f"{url}/metrics") or ""), f"{url}/metrics to answer", last=lambda: daemon.log(10)
    )


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("verb", "what", "answer"),
    [
        ("patch", "services", "yes"),
        ("patch", "deployments.apps", "yes"),
        ("patch", "releases.watcher.bluegreen.dev/status", "yes"),
        ("get", "secrets", "no"),
        ("delete", "pods", "no"),
        ("create", "pods", "no"),
        ("create", "pods/exec", "no"),
        ("patch", "releases.watcher.bluegreen.dev", "no"),
    ],
)
def test_the_real_authorizer_grants_what_is_needed_and_nothing_more(verb: str, what: str, answer: str) -> None:
    account = f"--as=system:serviceaccount:{DAEMON}:{DAEMON}"
    resource, _, sub = what.partition("/")
    told = kubectl("auth", "can-i", verb, resource, f"--subresource={sub}", account, "-n", "default", check=False)

    assert told.strip() == answer
