"""The example of deploy/overlays/example fits together: what scrapes, what is scraped, what is released, who may."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.packaging.rendered import ONE_NAMESPACE, ROOT, Manifest, mounted_by, named, of_kind, parse, render, rules_of
from watcher.core.application import COLORS
from watcher.demo.platform import manifests
from watcher.engine.config import read_config

EXAMPLE = "deploy/overlays/example"
NAMESPACE = "chatbot-platform-prod"
FOLDER = ROOT / EXAMPLE


def deployment(name: str) -> Manifest:
    return named(EXAMPLE, "Deployment", name)


def container(name: str) -> Manifest:
    (found,) = deployment(name)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def pod_labels(name: str) -> dict[str, str]:
    found: dict[str, str] = deployment(name)["spec"]["template"]["metadata"]["labels"]
    return found


def scrape_configs() -> dict[str, Any]:
    (config,) = parse((FOLDER / "prometheus.yml").read_text("utf-8"))
    return {one["job_name"]: one for one in config["scrape_configs"]}


def test_everything_lies_in_the_one_namespace_and_brings_nothing_of_the_whole_cluster() -> None:
    found = {one["metadata"].get("namespace", one["metadata"]["name"]) for one in render(EXAMPLE)}

    assert found == {NAMESPACE}
    assert not [one for one in render(EXAMPLE) if one["kind"].startswith(("Cluster", "Custom"))]


def test_the_daemon_has_no_other_rights_than_beside_any_application() -> None:
    assert [one for one in of_kind(EXAMPLE, "Role") if one["metadata"]["name"] != "prometheus"] == of_kind(
        ONE_NAMESPACE, "Role"
    )
    assert named(EXAMPLE, "ServiceAccount", "bluegreen-watcher") == named(
        ONE_NAMESPACE, "ServiceAccount", "bluegreen-watcher"
    )


def test_the_application_names_what_the_platform_has(tmp_path: Path) -> None:
    for name, text in mounted_by(deployment("bluegreen-watcher"), EXAMPLE).items():
        (tmp_path / name).write_text(text, "utf-8")
    variables = {row["name"]: row["value"] for row in container("bluegreen-watcher")["env"]}
    config, problems = read_config([tmp_path], variables)
    assert problems == []
    assert config is not None
    spec = config.applications[NAMESPACE, manifests.APPLICATION].spec

    assert {spec.service, spec.preview.service if spec.preview else ""} <= {
        one["metadata"]["name"] for one in of_kind(EXAMPLE, "Service")
    }
    for color in COLORS:
        name = getattr(spec.colors, color).deployment
        assert pod_labels(name)[spec.selector_key] == color
        assert container(name)["name"] == manifests.CONTAINER
    address = urlsplit(config.settings.prometheus.url)
    service = named(EXAMPLE, "Service", "prometheus")
    assert address.hostname == f"prometheus.{NAMESPACE}.svc"
    assert address.port == service["spec"]["ports"][0]["port"]
    assert service["spec"]["selector"].items() <= pod_labels("prometheus").items()


def test_the_clients_talk_to_the_live_service() -> None:
    arguments = container("clients")["args"]
    address = urlsplit(arguments[arguments.index("--url") + 1])

    assert address.hostname == manifests.APPLICATION
    assert address.port == named(EXAMPLE, "Service", manifests.APPLICATION)["spec"]["ports"][0]["port"]


@pytest.mark.parametrize("name", ["clients", "prometheus"])
def test_what_stands_beside_the_platform_has_no_privilege(name: str) -> None:
    pod = deployment(name)["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_prometheus_sees_the_pods_of_its_namespace_and_nothing_else() -> None:
    assert rules_of(named(EXAMPLE, "Role", "prometheus")) == {("", "pods", "list"), ("", "pods", "watch")}
    (binding,) = [one for one in of_kind(EXAMPLE, "RoleBinding") if one["metadata"]["name"] == "prometheus"]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "prometheus"}
    for job in scrape_configs().values():
        (found,) = job["kubernetes_sd_configs"]
        assert (found["role"], found["namespaces"]) == ("pod", {"own_namespace": True})


def test_series_get_the_labels_that_the_rule_packs_select_by() -> None:
    given = {row.get("target_label") for row in scrape_configs()["pods"]["relabel_configs"]}
    packs = [named(EXAMPLE, "ConfigMap", "watcher-rules")["data"][f"{name}.yaml"] for name in ("http", "resources")]
    asked = {label for text in packs for label in re.findall(r'(\w+)="\{\{', text)}

    assert asked
    assert asked <= given
    for color in COLORS:
        labels = pod_labels(f"{manifests.APPLICATION}-{color}")
        assert (labels["app"], labels["color"]) == (manifests.APPLICATION, color)


def test_the_daemon_is_scraped_and_its_policy_lets_prometheus_in() -> None:
    (found,) = scrape_configs()["bluegreen-watcher"]["kubernetes_sd_configs"]
    (selector,) = found["selectors"]
    key, _, value = selector["label"].partition("=")
    (ingress,) = named(EXAMPLE, "NetworkPolicy", "bluegreen-watcher")["spec"]["ingress"]

    assert pod_labels("bluegreen-watcher")[key] == value
    assert ingress["from"][0]["podSelector"]["matchLabels"].items() <= pod_labels("prometheus").items()


def test_the_images_recipe_runs_what_the_embedded_cluster_runs() -> None:
    (images,) = parse(manifests.IMAGES.read_text("utf-8"))
    recipe = (FOLDER / "Dockerfile").read_text("utf-8")
    (command,) = re.findall(r"^ENTRYPOINT \[(.*)\]$", recipe, re.MULTILINE)

    assert [word.strip('" ') for word in command.split(",")] == ["python3", *images["chat:*"]["command"][1:]]
    document = (ROOT / "docs/install.md").read_text("utf-8")
    built = re.findall(r"--tag chat:(\S+) --build-arg VERSION=(\S+)(?: --build-arg FAULTS=(\S+))?", document + recipe)
    assert len(built) > 3
    for tag, version, faults in built:
        assert tag == version
        wanted = images.get(f"chat:{tag}", {}).get("env", {})
        assert wanted == ({"FAULTS": faults} if faults else {})
    assert {container(f"{manifests.APPLICATION}-{color}")["image"] for color in COLORS} == {"chat:2.3.0"}
    assert "2.3.0" in {tag for tag, _, _ in built}


def test_the_release_to_try_is_of_an_image_that_the_document_builds() -> None:
    (release,) = parse((FOLDER / "release.yaml").read_text("utf-8"))
    (image,) = release["spec"]["images"].values()

    assert release["metadata"]["namespace"] == NAMESPACE
    assert image == f"chat:{release['spec']['version']}"
    assert f"--tag {image} " in (ROOT / "docs/install.md").read_text("utf-8")


def test_each_pod_that_asks_for_it_is_one_target_with_its_labels(tmp_path: Path) -> None:
    """As Prometheus itself relabels them; Debian's has no discovery by Kubernetes, so what that finds is given here."""
    found = "__meta_kubernetes_"
    asks = {
        f"{found}pod_annotation_prometheus_io_scrape": "true",
        f"{found}pod_annotation_prometheus_io_port": "8080",
        f"{found}pod_annotation_prometheus_io_path": "/figures",
        f"{found}pod_phase": "Running",
        f"{found}namespace": "prod",
        f"{found}pod_name": "chat-1",
        f"{found}pod_label_app": "chat",
        f"{found}pod_label_color": "blue",
    }
    job = scrape_configs()["pods"]
    del job["kubernetes_sd_configs"]
    job["static_configs"] = [
        {"targets": ["10.0.0.1:8080", "10.0.0.1:9999", "10.0.0.1"], "labels": asks},
        {"targets": ["[fd00::1]:8080"], "labels": asks},
        {"targets": ["10.0.0.2:8080"], "labels": asks | {f"{found}pod_annotation_prometheus_io_scrape": ""}},
        {"targets": ["10.0.0.3:8080"], "labels": asks | {f"{found}pod_phase": "Succeeded"}},
    ]
    file = tmp_path / "prometheus.json"
    file.write_text(json.dumps({"scrape_configs": [job]}), "utf-8")
    command = ["promtool", "check", "service-discovery", "--timeout=1s", str(file), "pods"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr

    kept = [one["labels"] for one in json.loads(done.stdout) if one["labels"]]
    assert {one["__address__"] for one in kept} == {"10.0.0.1:8080", "[fd00::1]:8080"}
    for one in kept:
        assert one["__metrics_path__"] == "/figures"
        assert {name: one[name] for name in ("namespace", "pod", "app", "color")} == {
            "namespace": "prod",
            "pod": "chat-1",
            "app": "chat",
            "color": "blue",
        }
