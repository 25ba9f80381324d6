"""docs/install.md says what is so: each of its files exists, and each of its examples renders to what it promises."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.packaging.chart import CHART, at, defaults
from tests.packaging.guard import right_for
from tests.packaging.rendered import ROOT, container, mounted, named, of_kind, parse, render, rules_of
from tests.packaging.test_monitoring import ALERTS
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.reviews import ACCESS_REVIEWS, TOKEN_REVIEWS
from watcher.core.settings import Settings
from watcher.engine.config import with_environment

TEXT = (ROOT / "docs/install.md").read_text("utf-8")


def example(part: str) -> dict[str, Any]:
    """The one YAML block that has this text in it."""
    (found,) = [text for text in re.findall(r"```yaml[^\n]*\n(.*?)```", TEXT, re.DOTALL) if part in text]
    (content,) = parse(found)
    assert isinstance(content, dict)
    return content


def kustomization(into: Path, content: dict[str, Any]) -> str:
    """A folder with a kustomization beside a checkout, as a user has it."""
    for name in ("deploy", "rules"):
        shutil.copytree(ROOT / name, into / "bluegreen-watcher" / name, symlinks=True)
    for name in ("watcher.yaml", "my-application.yaml"):
        (into / name).write_text("kind: Settings\n", "utf-8")
    with (into / "kustomization.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({"resources": ["bluegreen-watcher/deploy"]} | content, file)
    return str(into)


def test_every_file_that_a_command_names_is_there() -> None:
    named_files = re.findall(r"(?:-[fk] |--values |docker build .* |install \S+ )((?:deploy|scripts)[\w./-]*)", TEXT)

    assert len(set(named_files)) > 5
    assert [name for name in named_files if not (ROOT / name).exists()] == []


def test_the_kustomization_sets_image_files_and_the_address_of_prometheus(tmp_path: Path) -> None:
    directory = kustomization(tmp_path, example("newName"))
    variables = {row["name"]: row["value"] for row in container(directory)["env"]}

    assert container(directory)["image"] == "registry.example/bluegreen-watcher:0.1.0"
    assert variables["WATCHER_PROMETHEUS_URL"] == "http://prometheus.observability.svc:9090"
    assert {"watcher.yaml", "my-application.yaml", "http.yaml"} <= set(mounted(directory))
    assert "chatbot-platform.yaml" not in mounted(directory)


def test_the_rights_in_the_whole_cluster_can_be_left_out(tmp_path: Path) -> None:
    directory = kustomization(tmp_path, example("$patch: delete"))

    assert of_kind(directory, "ClusterRoleBinding") == []
    assert named(directory, "ClusterRole", "bluegreen-watcher")


def test_the_rights_for_the_api_are_those_of_the_requests_that_it_makes(tmp_path: Path) -> None:
    directory = kustomization(tmp_path, example("components/api"))
    base = {(one["kind"], one["metadata"]["name"]) for one in render("deploy")}
    added = [one for one in render(directory) if (one["kind"], one["metadata"]["name"]) not in base]

    assert {right for one in added if one["kind"] == "ClusterRole" for right in rules_of(one)} == {
        right_for("POST", paths.releases("shop")),
        right_for("PATCH", paths.releases("shop", "one")),
        *((path.split("/")[2], path.split("/")[4], "create") for path in (TOKEN_REVIEWS, ACCESS_REVIEWS)),
    }
    bound = {one["roleRef"]["name"]: one["subjects"] for one in added if one["kind"] == "ClusterRoleBinding"}
    account = {"kind": "ServiceAccount", "name": "bluegreen-watcher", "namespace": "bluegreen-watcher"}
    assert bound == {"bluegreen-watcher-api": [account], "bluegreen-watcher-reviews": [account]}


def test_with_a_certificate_all_that_asks_the_port_asks_by_tls(tmp_path: Path) -> None:
    components = [f"bluegreen-watcher/deploy/components/{name}" for name in ("monitoring", "tls")]
    directory = kustomization(tmp_path, {"namespace": "shop", "components": components})
    pod = of_kind(directory, "Deployment")[0]["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    variables = {row["name"]: row["value"] for row in found["env"]}
    http = with_environment(Settings(), variables).http
    mounts = {one["name"]: one["mountPath"] for one in found["volumeMounts"]}

    assert (http.cert_file, http.key_file) == (f"{mounts['tls']}/tls.crt", f"{mounts['tls']}/tls.key")
    assert [one["secret"]["secretName"] for one in pod["volumes"] if one["name"] == "tls"] == ["bluegreen-watcher-tls"]
    assert {found[probe]["httpGet"]["scheme"] for probe in ("livenessProbe", "readinessProbe")} == {"HTTPS"}
    assert of_kind(directory, "Service")[0]["metadata"]["annotations"]["prometheus.io/scheme"] == "https"
    (endpoint,) = of_kind(directory, "ServiceMonitor")[0]["spec"]["endpoints"]
    assert (endpoint["scheme"], endpoint["tlsConfig"]["serverName"]) == ("https", "bluegreen-watcher")


def test_monitoring_is_added_in_the_daemons_namespace(tmp_path: Path) -> None:
    directory = kustomization(tmp_path, example("components/monitoring"))
    added = [one for one in render(directory) if one["kind"] in ("ServiceMonitor", "PrometheusRule")]
    added += [one for one in render(directory) if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]

    assert [one["metadata"]["namespace"] for one in added] == ["bluegreen-watcher"] * 3


def test_the_overlay_for_one_namespace_can_be_moved_to_another(tmp_path: Path) -> None:
    (resource,) = re.findall(r"resources: \[(\S+one-namespace)\]", TEXT)
    directory = kustomization(tmp_path, {"resources": [resource], "namespace": "shop-prod"})

    assert {one["metadata"]["namespace"] for one in render(directory)} == {"shop-prod"}
    for binding in of_kind(directory, "RoleBinding"):
        assert [one["namespace"] for one in binding["subjects"]] == ["shop-prod"]


def test_the_table_of_objects_has_every_kind() -> None:
    table = TEXT.partition("| object | |")[2].partition("\n\n")[0]

    for kind in {one["kind"] for one in render("deploy")} - {"Namespace", "ServiceAccount"}:
        assert kind in table, kind


def test_the_table_of_alerts_has_every_alert() -> None:
    assert re.findall(r"^\| `(Bluegreen\w+)` \|", TEXT, re.MULTILINE) == ALERTS


@pytest.mark.parametrize("path", sorted(set(re.findall(r"--set(?:-file)? '?([\w.]+)", TEXT))))
def test_every_value_that_a_command_sets_is_there(path: str) -> None:
    keys = tuple(path.partition("\\")[0].split("."))

    assert at(defaults(), keys[:1]) is not None
    assert keys[0] == "files" or len(keys) == 1


def test_the_values_shown_are_values_of_the_chart() -> None:
    shown = example("repository: registry.example")

    assert set(shown) <= set(defaults())
    for key, value in shown.items():
        if isinstance(value, dict) and key not in ("files", "settings"):
            assert set(value) <= set(defaults()[key]), key
    assert (CHART / "README.md").exists()
