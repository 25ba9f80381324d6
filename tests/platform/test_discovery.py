"""Pods of the embedded cluster as targets of Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.platform.running import until
from watcher.demo.cluster.launcher import RunningCluster, running_cluster
from watcher.demo.platform import manifests
from watcher.demo.platform.discovery import KubernetesTargets, PodDiscovery, target
from watcher.demo.platform.prometheus import PrometheusServer

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{manifests.NAMESPACE}/deployments"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Service": f"/api/v1/namespaces/{manifests.NAMESPACE}/services",
    "Deployment": DEPLOYMENTS,
}


@pytest.fixture
def cluster() -> Iterator[RunningCluster]:
    """An embedded cluster with the example platform applied."""
    with running_cluster(manifests.IMAGES) as running:
        for item in manifests.objects():
            ask(running, "POST", PATHS[item["kind"]], item)
        yield running


def ask(cluster: RunningCluster, method: str, path: str, body: object = None) -> Any:
    """One request to the API server."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {cluster.token}", "Content-Type": kind}
    answer = requests.request(method, cluster.server + path, json=body, headers=headers, timeout=10)
    answer.raise_for_status()
    return answer.json()


def scale(cluster: RunningCluster, color: str, replicas: int) -> None:
    ask(cluster, "PATCH", f"{DEPLOYMENTS}/{manifests.DEPLOYMENTS[color]}", {"spec": {"replicas": replicas}})


def found(file: Path) -> list[str]:
    """The colours of the targets in the file."""
    return sorted(entry["labels"]["color"] for entry in json.loads(file.read_text())) if file.exists() else []


def test_targets_follow_the_pods_and_stay_when_the_api_server_has_gone(cluster: RunningCluster, tmp_path: Path) -> None:
    file = tmp_path / "pods.json"
    discovery = PodDiscovery(KubernetesTargets(cluster.server, [manifests.NAMESPACE], cluster.token), file)
    discovery.start()
    try:
        until(lambda: found(file) == ["blue", "blue"], "both live pods are targets")
        scale(cluster, "green", 1)
        until(lambda: found(file) == ["blue", "blue", "green"], "the new pod is a target")
        scale(cluster, "blue", 0)
        until(lambda: found(file) == ["green"], "the pods that ended are none")
        cluster.process.kill()
        cluster.process.wait()
    finally:
        discovery.stop()

    assert found(file) == ["green"]


def test_prometheus_scrapes_pods_with_the_labels_that_rules_select_by(cluster: RunningCluster, tmp_path: Path) -> None:
    targets = KubernetesTargets.from_kubeconfig(cluster.kubeconfig, [manifests.NAMESPACE])
    with PrometheusServer(targets, directory=tmp_path / "prometheus", scrape_interval=0.5) as server:

        def live() -> list[dict[str, str]]:
            asked = {"query": 'chat_conversations_total{namespace="chatbot-platform-prod",color="blue"}'}
            answer = requests.get(f"{server.url}/api/v1/query", params=asked, timeout=5).json()
            return [row["metric"] for row in answer["data"]["result"]]

        series = until(lambda: rows if len(rows := live()) == 2 else None, "both pods are scraped")

    assert series
    assert {row["app"] for row in series} == {"chatbot-platform"}
    assert all(row["pod"].startswith("chatbot-platform-blue-") for row in series)


POD: dict[str, Any] = {
    "metadata": {
        "name": "chat-1",
        "namespace": "prod",
        "labels": {"app": "chat", "color": "blue", "pod-template-hash": "abc"},
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9100"},
    },
    "status": {"phase": "Running", "podIP": "10.0.0.7"},
}


def test_a_target_has_the_pods_address_port_path_and_labels() -> None:
    labels = {"namespace": "prod", "pod": "chat-1", "app": "chat", "color": "blue", "__metrics_path__": "/metrics"}
    assert target(POD) == {"targets": ["10.0.0.7:9100"], "labels": labels}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {**POD["metadata"], "annotations": {}}},
        {"metadata": {**POD["metadata"], "annotations": {"prometheus.io/scrape": "false"}}},
        {"status": {"phase": "Pending"}},
        {"status": {"phase": "Succeeded", "podIP": "10.0.0.7"}},
    ],
    ids=["not annotated", "annotated not to be", "no address yet", "ended"],
)
def test_a_pod_that_is_not_to_be_scraped_is_no_target(change: dict[str, Any]) -> None:
    assert target({**POD, **change}) is None


def test_a_kubeconfig_says_where_the_server_is_and_how_to_ask_it(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(
        "current-context: here\n"
        "contexts: [{name: here, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443', certificate-authority: ca.crt}}]\n"
        "users: [{name: other, user: {}}, {name: u, user: {token: t-1}}]\n"
    )
    where = KubernetesTargets.from_kubeconfig(tmp_path / "kubeconfig", ["prod"])
    assert where == KubernetesTargets("https://127.0.0.1:6443", ["prod"], "t-1", tmp_path / "ca.crt")
