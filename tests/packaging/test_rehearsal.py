"""The rehearsal that docs/demo.md shows: its images run in the embedded cluster, several pods of them at once."""

from __future__ import annotations

from pathlib import Path

from tests.packaging.rendered import ROOT
from tests.packaging.test_docs import blocks
from tests.support.acting import until
from watcher.adapters.kubernetes.connection import Connection
from watcher.demo.cluster.images import Images
from watcher.demo.cluster.launcher import running_cluster

SHOP = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop", "namespace": "demo"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "shop:1",
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    }
                ]
            },
        },
    },
}


def test_the_images_of_the_example_run_side_by_side(tmp_path: Path) -> None:
    (text,) = [b.text for b in blocks(ROOT / "docs/demo.md") if b.info == "yaml" and "command:" in b.text]
    file = tmp_path / "images.yaml"
    file.write_text(text, "utf-8")
    assert Images(file).pull("shop:broken").command[-1] == "raise SystemExit(1)"
    kubeconfig = tmp_path / "kubeconfig"
    with running_cluster(file, kubeconfig=kubeconfig, state_dir=tmp_path / "state", log_file=tmp_path / "log"):
        connection = Connection(kubeconfig)
        connection.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
        deployments = "/apis/apps/v1/namespaces/demo/deployments"
        connection.create(deployments, SHOP)

        def ready() -> bool:
            found = connection.get(f"{deployments}/shop")
            return bool(found["status"].get("readyReplicas") == 2)

        until(ready, "both pods to be ready", 40)
        connection.close()
