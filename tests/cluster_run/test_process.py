"""The cluster as a process of its own: how it starts, whom it lets in, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from tests.cluster_run.stage import NAMESPACE, PORT, alive, http_probe, images, pod_spec
from watcher.demo.cluster.launcher import ClusterFailed, RunningCluster, running_cluster
from watcher.demo.cluster.server import EmbeddedCluster

T = TypeVar("T")
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"


def test_a_platform_comes_up_through_the_api_and_answers_on_its_service(tmp_path: Path) -> None:
    """What is posted over HTTP runs: the Service's address answers with the pod's body."""
    with running_cluster(images(tmp_path)) as cluster:
        address = deploy(cluster, "web", "web:1.2")
        assert get(address) == "1.2"


def test_kubectl_works_with_the_kubeconfig(tmp_path: Path) -> None:
    """apply, rollout status, get, logs and delete, as a person would use them."""
    manifest = tmp_path / "web.json"
    manifest.write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment("web", "web:1"), service("web")]})
    )
    with running_cluster(images(tmp_path)) as cluster:
        kubectl = Kubectl(cluster.kubeconfig)
        assert "deployment.apps/web created" in kubectl("apply", "-f", str(manifest))
        assert "successfully rolled out" in kubectl("rollout", "status", "deploy/web", "--timeout=20s")
        table = kubectl("get", "deploy,pods,svc")
        assert all(word in table for word in ("deployment.apps/web", "1/1", "Running", "service/web"))
        assert "listening on" in kubectl("logs", "deploy/web")
        (name,) = kubectl("get", "pods", "-o", "name").split()
        kubectl("delete", name)
        assert name not in kubectl("get", "pods", "-o", "name").split()


def test_the_kubeconfig_is_its_owners_alone_and_the_python_client_takes_it(tmp_path: Path) -> None:
    """Mode 0600, and good for the official client."""
    from kubernetes import client, config

    with running_cluster(images(tmp_path), kubeconfig=tmp_path / "config", namespaces=["shop"]) as cluster:
        assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
        api: Any = client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
        names = {row.metadata.name for row in api.list_namespace(_request_timeout=10).items}
        assert names == {"default", "kube-system", "shop"}
        accounts = until(lambda: api.list_namespaced_service_account("shop", _request_timeout=10).items, "the account")
        assert [row.metadata.name for row in accounts] == ["default"]
        (node,) = api.list_node(_request_timeout=10).items
        assert {row.type: row.status for row in node.status.conditions}["Ready"] == "True"


def test_nobody_gets_in_without_the_token(tmp_path: Path) -> None:
    """Neither without one nor with a wrong one, in the header or in the path."""
    with running_cluster(images(tmp_path)) as cluster:
        wrong = cluster.token[::-1]
        assert call(cluster, "GET", PODS)[0] == 200
        assert call(cluster, "GET", f"/{cluster.token}{PODS}", token="")[0] == 200
        assert call(cluster, "GET", PODS, token="")[0] == 401
        assert call(cluster, "GET", PODS, token=wrong)[0] == 401
        assert call(cluster, "GET", f"/{wrong}{PODS}", token="")[0] in (401, 404)
        assert call(cluster, "GET", f"/{cluster.token}{PODS}/none", token=wrong)[0] == 404


def test_a_cluster_inside_this_process_stops_in_spite_of_open_watches(tmp_path: Path) -> None:
    """Watches never end by themselves; a stop ends them, and the port is free again."""

    async def play() -> None:
        cluster = EmbeddedCluster(images(tmp_path), state_dir=tmp_path)
        await cluster.start()
        where = urlsplit(cluster.server)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(f"GET /{cluster.token}{PODS}?watch=1 HTTP/1.1\r\nHost: cluster\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        await asyncio.wait_for(cluster.stop(), 5)
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(where.hostname, where.port)

    asyncio.run(play())


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    """Pods and their children are gone, and so are their files."""
    state = tmp_path / "state"
    with running_cluster(images(tmp_path), state_dir=state) as cluster:
        pids = family(cluster)
        assert all(alive(pid) for pid in pids)
        assert list(state.iterdir())
    assert [pid for pid in pids if alive(pid)] == []
    assert list(state.iterdir()) == []


def test_nothing_is_left_after_the_cluster_was_killed(tmp_path: Path) -> None:
    """SIGKILL gives it no chance to clean up; its pods and their children end all the same."""
    with running_cluster(images(tmp_path)) as cluster:
        pids = family(cluster)
        cluster.process.kill()
        until(lambda: not any(alive(pid) for pid in pids), "all processes are gone")


def test_the_cluster_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    """A killed test run leaves no cluster behind."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from watcher.demo.cluster.launcher import running_cluster\n"
        "with running_cluster(Path(sys.argv[1])) as cluster:\n"
        "    print(cluster.process.pid, cluster.server, cluster.token, flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(images(tmp_path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, server, token = parent.stdout.readline().split()
        pids = [int(pid), *family(RunningCluster(server, tmp_path, token, parent))]  # type: ignore[arg-type]
        parent.kill()
        until(lambda: not any(alive(pid) for pid in pids), "the cluster and its pods are gone")


def test_two_clusters_run_at_once_without_touching_each_other(tmp_path: Path) -> None:
    """Same names, same ports, different addresses; one may end without the other noticing."""
    path = images(tmp_path)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running_cluster(path))
        second = stack.enter_context(running_cluster(path))
        one, two = deploy(first, "web", "web:one"), deploy(second, "web", "web:two")
        assert one.split(".")[1] != two.split(".")[1]
        assert (get(one), get(two)) == ("one", "two")
        first.stop()
        assert get(two) == "two"
        with pytest.raises(ConnectionRefusedError):
            get(one)


def test_a_broken_images_file_is_reported(tmp_path: Path) -> None:
    """The launcher says why there is no cluster."""
    broken = tmp_path / "images.yaml"
    broken.write_text("- just a list\n")
    with pytest.raises(ClusterFailed, match="expected a mapping of image references"), running_cluster(broken):
        pass


# -- helpers ----------------------------------------------------------------------------------------------------------


class Kubectl:
    """kubectl with one kubeconfig and no cache of anybody else's."""

    def __init__(self, kubeconfig: Path) -> None:
        self._options = ["--kubeconfig", str(kubeconfig), f"--cache-dir={kubeconfig.parent / 'cache'}"]

    def __call__(self, *arguments: str) -> str:
        command = ["kubectl", *self._options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout


def until(look: Callable[[], T], what: str, within: float = 20.0) -> T:
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)
    return seen


def call(
    cluster: RunningCluster, method: str, path: str, body: Any = None, token: str | None = None
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(cluster.server).netloc, timeout=10)
    bearer = cluster.token if token is None else token
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def deployment(name: str, image: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": pod_spec(image, container={"readinessProbe": {**http_probe("/readyz"), "periodSeconds": 1}}),
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def deploy(cluster: RunningCluster, name: str, image: str) -> str:
    """Post a Deployment and its Service; the Service's address, once somebody is ready behind it."""
    assert call(cluster, "POST", DEPLOYMENTS, deployment(name, image))[0] == 201
    code, posted = call(cluster, "POST", SERVICES, service(name))
    assert code == 201

    def available() -> bool:
        status = call(cluster, "GET", f"{DEPLOYMENTS}/{name}")[1].get("status") or {}
        return bool(status.get("availableReplicas") == 1)

    until(available, f"{name} is available")
    return str(posted["spec"]["clusterIP"])


def get(address: str) -> str:
    connection = http.client.HTTPConnection(address, PORT, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def family(cluster: RunningCluster) -> list[int]:
    """A pod whose process has a child: the ids of both."""
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "parent"}, "spec": pod_spec("parent:1")}
    assert call(cluster, "POST", PODS, body)[0] == 201

    def printed() -> str:
        connection = http.client.HTTPConnection(urlsplit(cluster.server).netloc, timeout=10)
        try:
            connection.request("GET", f"/{cluster.token}{PODS}/parent/log")
            answer = connection.getresponse()
            text = answer.read().decode()
            return text if answer.status == 200 else ""
        finally:
            connection.close()

    child = int(until(printed, "the child has started"))
    return [child, os.getpgid(child)]
