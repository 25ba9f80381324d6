"""The chart gives the objects that the kustomizations give, refuses what it does not know, and an API server takes it.

Helm is built by cluster/build. Rendering needs no cluster, so `pytest tests/cluster/test_chart.py -k "not server"` runs
anywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.layout import binaries, kubernetes_version
from tests.cluster.waiting import kubectl
from tests.packaging.chart import CHART
from tests.packaging.rendered import ONE_NAMESPACE, ROOT, WHOLE_CLUSTER, Manifest, parse, render

Values = dict[str, Any]
Helm = Callable[..., str]
Key = tuple[str, str, str]

(EXAMPLE,) = parse((ROOT / "deploy/base/config/chatbot-platform.yaml").read_text("utf-8"))
FILES: Values = {"files": {"chatbot-platform.yaml": EXAMPLE}}
"""What the kustomizations have for an example, and the chart leaves to its user."""

WITH_COMPONENTS = """
namespace: bluegreen-watcher
resources: [it/deploy]
components: [%s]
"""

ONLY_HELM = {"helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by"}
"""Labels and annotations by which Helm knows its own."""


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    """Runs Helm, away from the files of whoever runs the tests; gives what it prints, and fails with its complaint."""
    found = shutil.which("helm") or str(binaries() / "helm")
    assert Path(found).exists(), "Helm is not built yet: cluster/build helm"
    homes = {f"HELM_{name}_HOME": str(tmp_path / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}

    def run(*arguments: str, values: Values | None = None) -> str:
        file = tmp_path / "values.json"
        file.write_text(json.dumps(values or {}), "utf-8")
        given = ["--values", str(file)] if values is not None else []
        done = subprocess.run(
            [found, *arguments, *given], capture_output=True, text=True, timeout=60, check=False, env=os.environ | homes
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout

    return run


@pytest.fixture
def chart(helm: Helm) -> Callable[..., dict[Key, Manifest]]:
    """The chart's objects."""

    def template(namespace: str, values: Values | None = None, *, source: Path = CHART) -> dict[Key, Manifest]:
        for_ = ("--namespace", namespace, "--kube-version", kubernetes_version())
        text = helm("template", "bluegreen-watcher", str(source), *for_, values=values or {})
        found = {key(one): plain(one) for one in parse(text) if one}
        assert len(found) == sum(1 for one in parse(text) if one), "an object is there twice"
        return found

    return template


def key(one: Manifest) -> Key:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def plain(one: Manifest) -> Manifest:
    """An object without what only Helm has, and with its files read, as comments in them do not count."""
    meta = one["metadata"]
    for part in ("labels", "annotations"):
        kept = {name: value for name, value in (meta.get(part) or {}).items() if name not in ONLY_HELM}
        meta = {name: value for name, value in meta.items() if name != part} | ({part: kept} if kept else {})
    one = one | {"metadata": meta}
    if one["kind"] == "ConfigMap" and meta["name"] == "watcher-config":
        one["data"] = {name: list(parse(text)) for name, text in one["data"].items()}
    return one


def kustomized(directory: str) -> dict[Key, Manifest]:
    """A kustomization's objects, all but the Namespace: Helm's own is there before the chart is."""
    return {key(one): plain(one) for one in render(directory) if one["kind"] != "Namespace"}


def assert_same(ours: dict[Key, Manifest], theirs: dict[Key, Manifest]) -> None:
    assert set(ours) == set(theirs)
    for name, one in theirs.items():
        assert ours[name] == one, name


# -- the same objects -------------------------------------------------------------------------------------------------


def test_the_whole_cluster_is_served_by_the_same_objects(chart: Callable[..., dict[Key, Manifest]]) -> None:
    assert_same(chart("bluegreen-watcher", FILES), kustomized(WHOLE_CLUSTER))


def test_one_namespace_is_served_by_the_same_objects(chart: Callable[..., dict[Key, Manifest]]) -> None:
    namespace = "chatbot-platform-prod"
    values = FILES | {"scope": "namespace", "jobNamespaces": [namespace]}

    assert_same(chart(namespace, values), kustomized(ONE_NAMESPACE))


MONITORING = {"monitoring": {"enabled": True}}


@pytest.mark.parametrize(
    ("components", "values", "kinds"),
    [
        pytest.param(["monitoring"], MONITORING, {"ServiceMonitor", "PrometheusRule"}, id="monitoring"),
        pytest.param(["api"], {"api": {"enabled": True}}, {"ClusterRole", "ClusterRoleBinding"}, id="api"),
        pytest.param(["tls"], {"api": {"tls": "bluegreen-watcher-tls"}}, {"Deployment"}, id="tls"),
        pytest.param(
            ["monitoring", "api", "tls"],
            MONITORING | {"api": {"enabled": True, "tls": "bluegreen-watcher-tls"}},
            {"ServiceMonitor", "ClusterRoleBinding"},
            id="all",
        ),
    ],
)
def test_components_add_the_same_objects(
    chart: Callable[..., dict[Key, Manifest]], tmp_path: Path, components: list[str], values: Values, kinds: set[str]
) -> None:
    (tmp_path / "it").mkdir()
    for name in ("deploy", "rules"):
        shutil.copytree(ROOT / name, tmp_path / "it" / name, symlinks=True)
    named = ", ".join(f"it/deploy/components/{name}" for name in components)
    (tmp_path / "kustomization.yaml").write_text(WITH_COMPONENTS % named, "utf-8")
    theirs = kustomized(str(tmp_path))

    assert_same(chart("bluegreen-watcher", FILES | values), theirs)
    assert {kind for kind, _, _ in theirs} >= kinds
    assert ("HTTPS" in json.dumps([*theirs.values()])) is ("tls" in components)


def test_a_package_holds_what_the_links_lead_to(
    helm: Helm, chart: Callable[..., dict[Key, Manifest]], tmp_path: Path
) -> None:
    helm("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("bluegreen-watcher-*.tgz")
    with tarfile.open(package) as archive:
        held = {entry.name: entry for entry in archive.getmembers()}

    assert all(entry.isfile() for entry in held.values())
    assert "bluegreen-watcher/files/rules/http.yaml" in held
    assert_same(chart("a", FILES, source=package), chart("a", FILES))


# -- values -----------------------------------------------------------------------------------------------------------


def test_rights_can_be_limited_to_namespaces(chart: Callable[..., dict[Key, Manifest]]) -> None:
    found = chart("bluegreen-watcher", {"namespaces": ["a", "b"], "jobNamespaces": ["b"]})
    bindings = {name: one for name, one in found.items() if name[0].endswith("RoleBinding")}

    assert set(bindings) == {
        ("RoleBinding", "a", "bluegreen-watcher"),
        ("RoleBinding", "b", "bluegreen-watcher"),
        ("RoleBinding", "b", "bluegreen-watcher-jobs"),
        ("RoleBinding", "bluegreen-watcher", "bluegreen-watcher-lease"),
    }
    for name, one in bindings.items():
        assert one["subjects"] == [
            {"kind": "ServiceAccount", "name": "bluegreen-watcher", "namespace": "bluegreen-watcher"}
        ]
        assert one["roleRef"]["name"] == name[2]


def test_every_other_value_lands_where_it_should(chart: Callable[..., dict[Key, Manifest]]) -> None:
    values: Values = {
        "crd": False,
        "image": {"repository": "registry.example/watcher", "tag": "0.2.0", "pullSecrets": ["registry"]},
        "replicas": 1,
        "prometheus": {"url": ""},
        "settings": {"namespaces": ["staging"], "log": {"level": "debug"}},
        "files": {"shop.yaml": "kind: Application # as text\n"},
        "rulePacks": ["http"],
        "secrets": ["team-chat"],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "networkPolicy": {"fromNamespaces": ["observability", "monitoring"]},
        "monitoring": {"enabled": True, "labels": {"release": "stack"}},
        "resources": {"limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "priorityClassName": "high",
    }
    found = chart("w", values)
    deployment = found["Deployment", "w", "bluegreen-watcher"]["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    variables = {row["name"]: row["value"] for row in container["env"]}

    assert not [name for name in found if name[0] == "CustomResourceDefinition"]
    assert (container["image"], deployment["replicas"]) == ("registry.example/watcher:0.2.0", 1)
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert (variables["WATCHER_PROMETHEUS_URL"], variables["HTTPS_PROXY"]) == ("", "http://proxy:3128")
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/etc/watcher", "/var/run/secrets/team-chat"}
    assert {"name": "secret-team-chat", "secret": {"secretName": "team-chat"}} in pod["volumes"]
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    assert (pod["nodeSelector"], pod["tolerations"]) == (values["nodeSelector"], values["tolerations"])
    assert pod["priorityClassName"] == "high"
    config = found["ConfigMap", "w", "watcher-config"]["data"]
    (settings,) = config["watcher.yaml"]
    assert settings["kind"] == "Settings"
    assert settings["log"] == {"format": "json", "level": "debug"}
    assert config["shop.yaml"] == [{"kind": "Application"}]
    assert set(found["ConfigMap", "w", "watcher-rules"]["data"]) == {"http.yaml"}
    (ingress,) = found["NetworkPolicy", "w", "bluegreen-watcher"]["spec"]["ingress"]
    assert len(ingress["from"]) == 2
    assert found["PrometheusRule", "w", "bluegreen-watcher"]["metadata"]["labels"]["release"] == "stack"


def test_without_its_policy_anybody_reaches_it_and_with_no_namespace_nobody_does(
    chart: Callable[..., dict[Key, Manifest]],
) -> None:
    policy = ("NetworkPolicy", "w", "bluegreen-watcher")

    assert policy not in chart("w", {"networkPolicy": {"enabled": False}})
    closed = chart("w", {"networkPolicy": {"fromNamespaces": []}})[policy]["spec"]
    assert closed["policyTypes"] == ["Ingress"]
    assert "ingress" not in closed


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 3}, "at '': additional properties 'replica' not allowed"),
        ({"monitoring": {"enable": True}}, "at '/monitoring': additional properties 'enable' not allowed"),
        ({"scope": "clustre"}, "at '/scope': value must be one of 'cluster', 'namespace'"),
        ({"replicas": "two"}, "at '/replicas': got string, want integer"),
        ({"prometheus": {"url": "prometheus:9090"}}, "at '/prometheus/url': 'prometheus:9090' does not match"),
        ({"namespaces": ["Shop"]}, "at '/namespaces/0': 'Shop' does not match"),
        ({"files": {"shop": {}}}, "at '/files': additional properties 'shop' not allowed"),
        ({"files": {"watcher.yaml": {"kind": "Settings"}}}, "files: watcher.yaml is made of settings; say it there"),
        ({"files": {"http.yaml": {"kind": "RuleSet"}}}, "files: http.yaml is the name of a rule pack"),
        ({"rulePacks": ["htpp"]}, "rulePacks: there is no pack htpp in rules/"),
        ({"settings": {"kind": "Settings"}}, "settings.kind: the chart writes it itself; leave it out"),
        (
            {"settings": {"http": {"port": 9}}},
            "settings.http: probes, Service and NetworkPolicy are made for port 8080",
        ),
        ({"settings": {"prometheus": {"url": "http://p"}}}, "settings.prometheus.url: say it in prometheus.url"),
        ({"scope": "namespace", "namespaces": ["a"]}, 'namespaces: goes with scope "cluster" only'),
        ({"scope": "namespace", "jobNamespaces": ["a"]}, "jobNamespaces: with scope"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_with_its_name(
    chart: Callable[..., dict[Key, Manifest]], values: Values, said: str
) -> None:
    with pytest.raises(AssertionError) as refused:
        chart("w", values)
    assert said in str(refused.value)


def test_the_values_that_the_document_shows_are_taken(chart: Callable[..., dict[Key, Manifest]]) -> None:
    text = (ROOT / "docs/install.md").read_text("utf-8")
    (shown,) = parse(text.partition("```yaml values\n")[2].partition("```")[0])
    found = chart("bluegreen-watcher", shown)

    assert "shop.yaml" in found["ConfigMap", "bluegreen-watcher", "watcher-config"]["data"]


def test_another_chart_may_depend_on_it(chart: Callable[..., dict[Key, Manifest]]) -> None:
    assert chart("w", {"global": {"anything": "of others"}})


def test_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", str(CHART), "--strict")


# -- a real API server ------------------------------------------------------------------------------------------------


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"chat-chart-{uuid.uuid4().hex[:8]}"
    kubectl("apply", "--filename", str(ROOT / "deploy/crd.yaml"))
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_a_real_api_server_takes_what_helm_would_install(helm: Helm, namespace: str, scope: str) -> None:
    values = FILES | {"scope": scope, "crd": False}
    # Other tests may have installed the kustomization's ClusterRoles, which have the same names.
    how = ("--namespace", namespace, "--dry-run=server", "--take-ownership")
    told = helm("install", namespace, str(CHART), *how, values=values)

    assert "rollout status deployment/bluegreen-watcher" in told


def test_a_real_api_server_takes_every_object_of_the_chart(helm: Helm, namespace: str) -> None:
    for_ = ("--namespace", namespace, "--kube-version", kubernetes_version())
    text = helm("template", "bluegreen-watcher", str(CHART), *for_, values=FILES)
    told = kubectl("apply", "--dry-run=server", "--filename=-", stdin=text).splitlines()

    assert len(told) == sum(1 for one in parse(text) if one)
    assert all(line.endswith("(server dry run)") for line in told), told


def test_a_real_api_server_installs_upgrades_and_removes_it(helm: Helm, namespace: str) -> None:
    """Without its pods, which need the image."""
    values = FILES | {"scope": "namespace", "replicas": 0}
    helm("install", "it", str(CHART), "--namespace", namespace, values=values)
    assert kubectl("get", "deployment/bluegreen-watcher", "-n", namespace, "--output=jsonpath={.spec.replicas}") == "0"
    helm("upgrade", "it", str(CHART), "--namespace", namespace, values=values | {"rulePacks": ["http"]})
    packs = json.loads(kubectl("get", "configmap/watcher-rules", "-n", namespace, "--output=json"))["data"]
    assert set(packs) == {"http.yaml"}
    helm("uninstall", "it", "--namespace", namespace)
    left = kubectl("get", "all,cm,role,rolebinding,pdb,netpol,sa", "-n", namespace, "--output=name").split()
    assert set(left) == {"configmap/kube-root-ca.crt", "serviceaccount/default"}
