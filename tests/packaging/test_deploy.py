"""The manifests render, agree with each other and with the daemon, and ask for no more than they need."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.packaging.rendered import (
    EVERY,
    ONE_NAMESPACE,
    ROOT,
    WHOLE_CLUSTER,
    container,
    mounted,
    named,
    of_kind,
    only,
    parse,
    render,
    rules_of,
)
from watcher.adapters.kubernetes.connection import Connection
from watcher.api.app import create_app
from watcher.api.server import Server
from watcher.core.settings import Settings
from watcher.demo.cluster import resources
from watcher.demo.cluster.launcher import running_cluster
from watcher.demo.platform import manifests
from watcher.engine.config import read_config
from watcher.engine.daemon import Daemon

NAMESPACES = {WHOLE_CLUSTER: "bluegreen-watcher", ONE_NAMESPACE: "chatbot-platform-prod"}

JOBS = "bluegreen-watcher-jobs"
"""The right to run Jobs, apart from the others."""

everywhere = pytest.mark.parametrize("directory", EVERY)


def environment(directory: str) -> dict[str, str]:
    return {row["name"]: row["value"] for row in container(directory)["env"]}


def written(directory: str, into: Path) -> Path:
    """The mounted files, laid out as the kubelet lays out a volume: files behind a `..data` link."""
    data = into / "..2026_11_23"
    data.mkdir(parents=True)
    for name, text in mounted(directory).items():
        (data / name).write_text(text, "utf-8")
        (into / name).symlink_to(Path("..data") / name)
    (into / "..data").symlink_to(data.name)
    return into


@everywhere
def test_every_namespaced_object_lies_in_the_daemons_namespace(directory: str) -> None:
    cluster_wide = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    found = {one["metadata"].get("namespace") for one in render(directory) if one["kind"] not in cluster_wide}

    assert found == {NAMESPACES[directory]}


@everywhere
def test_the_daemon_takes_the_mounted_files_and_the_environment_as_they_are(directory: str, tmp_path: Path) -> None:
    config, problems = read_config([written(directory, tmp_path / "watcher")], environment(directory))

    assert problems == []
    assert config is not None
    assert set(config.rule_sets) == {pack.stem for pack in (ROOT / "rules").glob("*.yaml")}
    assert ("chatbot-platform-prod", "chatbot-platform") in config.applications
    assert config.settings.http.host == "0.0.0.0"  # noqa: S104 - in a pod, behind a NetworkPolicy
    assert config.settings.prometheus.url == environment(directory)["WATCHER_PROMETHEUS_URL"]
    assert config.settings.log.format == "json"


@everywhere
def test_arguments_name_the_directory_that_is_mounted(directory: str) -> None:
    (mount,) = container(directory)["volumeMounts"]

    assert container(directory)["args"] == ["run", "--config", mount["mountPath"]]
    assert mount["readOnly"] is True


@everywhere
def test_changed_files_keep_their_name_so_that_the_daemon_is_not_restarted(directory: str) -> None:
    assert {one["metadata"]["name"] for one in of_kind(directory, "ConfigMap")} == {"watcher-config", "watcher-rules"}


@everywhere
def test_selectors_of_service_and_policy_reach_the_pod(directory: str) -> None:
    deployment = only(directory, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()

    assert deployment["selector"]["matchLabels"].items() <= labels
    assert only(directory, "Service")["spec"]["selector"].items() <= labels
    assert only(directory, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels


@everywhere
def test_every_port_is_the_one_that_the_daemon_listens_on(directory: str) -> None:
    (port,) = container(directory)["ports"]
    (service,) = only(directory, "Service")["spec"]["ports"]
    (ingress,) = only(directory, "NetworkPolicy")["spec"]["ingress"]
    probed = {container(directory)[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")}

    assert port["containerPort"] == Settings().http.port
    assert probed | {service["targetPort"], ingress["ports"][0]["port"]} == {port["name"]}
    scraped = only(directory, "Service")["metadata"]["annotations"]["prometheus.io/port"]
    assert int(scraped) == service["port"] == port["containerPort"]


@everywhere
def test_two_replicas_run_without_any_privilege(directory: str) -> None:
    deployment = only(directory, "Deployment")["spec"]
    pod = deployment["template"]["spec"]

    assert deployment["replicas"] == 2, "one acts, the other waits for its Lease"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(directory)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container(directory)["resources"]["limits"]


@everywhere
def test_a_service_of_the_namespace_cannot_become_a_setting(directory: str, tmp_path: Path) -> None:
    """The kubelet would set WATCHER_HTTP_SERVICE_HOST for a Service called watcher-http, and the daemon refuses it."""
    links = {"WATCHER_HTTP_SERVICE_HOST": "10.0.0.9"}
    config, _ = read_config([written(directory, tmp_path / "watcher")], environment(directory) | links)

    assert config is None
    assert only(directory, "Deployment")["spec"]["template"]["spec"]["enableServiceLinks"] is False


@everywhere
def test_the_account_that_the_pod_uses_is_the_one_that_has_the_rights(directory: str) -> None:
    account = only(directory, "ServiceAccount")["metadata"]
    bindings = [one for one in render(directory) if one["kind"].endswith("RoleBinding")]
    roles = {(one["kind"], one["metadata"]["name"]) for one in render(directory) if one["kind"].endswith("Role")}

    assert only(directory, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]
    assert {one["metadata"]["name"] for one in bindings} - {JOBS} == {"bluegreen-watcher", "bluegreen-watcher-lease"}
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles
        assert binding["subjects"] == [{"kind": "ServiceAccount", **{k: account[k] for k in ("name", "namespace")}}]


@everywhere
def test_the_lease_that_the_role_names_is_the_one_that_the_daemon_takes(directory: str) -> None:
    role = named(directory, "Role", "bluegreen-watcher-lease")
    (name,) = {name for rule in role["rules"] for name in rule.get("resourceNames", ())}

    assert name == Settings().lease.name
    assert {verb for rule in role["rules"] if "resourceNames" not in rule for verb in rule["verbs"]} == {"create"}


@pytest.mark.parametrize("role", ["bluegreen-watcher", JOBS])
def test_both_ways_to_install_give_the_same_rights(role: str) -> None:
    whole = named(WHOLE_CLUSTER, "ClusterRole", role)

    assert rules_of(named(ONE_NAMESPACE, "Role", role)) == rules_of(whole)


def test_no_jobs_are_created_in_the_whole_cluster_by_default() -> None:
    """Whoever creates a Job runs anything, with every Secret of the namespace: that is granted one by one."""
    bound = {one["roleRef"]["name"] for one in render(WHOLE_CLUSTER) if one["kind"].endswith("RoleBinding")}

    assert JOBS not in bound
    assert "batch" not in {group for group, _, _ in rules_of(named(WHOLE_CLUSTER, "ClusterRole", "bluegreen-watcher"))}


def test_the_overlay_for_one_namespace_has_nothing_of_the_whole_cluster() -> None:
    assert not [one["kind"] for one in render(ONE_NAMESPACE) if one["kind"].startswith(("Cluster", "Custom", "Names"))]


def test_people_may_ask_for_releases_and_never_write_a_status() -> None:
    roles = [
        r for r in of_kind(WHOLE_CLUSTER, "ClusterRole") if r["metadata"]["name"] not in ("bluegreen-watcher", JOBS)
    ]
    allowed = {rule for role in roles for rule in rules_of(role)}

    assert {verb for _, _, verb in allowed} >= {"create", "get", "list", "patch"}, "watcher release needs these"
    assert {(group, resource) for group, resource, _ in allowed} == {("watcher.bluegreen.dev", "releases")}


def test_the_probes_paths_are_served(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        '{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": '
        '{"cluster": "c", "user": "u"}}], "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}], '
        '"users": [{"name": "u", "user": {}}]}',
        "utf-8",
    )
    daemon = Daemon([written(WHOLE_CLUSTER, tmp_path / "watcher")], {}, kubeconfig)
    server = Server(create_app(daemon), "127.0.0.1", 0)
    server.start()
    try:
        alive = container(WHOLE_CLUSTER)["livenessProbe"]["httpGet"]["path"]
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{alive}", timeout=5) as answer:
            assert answer.status == 200
        ready = container(WHOLE_CLUSTER)["readinessProbe"]["httpGet"]["path"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}{ready}", timeout=5)
        refused.value.close()
        assert refused.value.code == 503, "it has not started"
    finally:
        server.stop()


def test_an_api_server_takes_the_objects_that_it_knows() -> None:
    """The embedded one validates Deployments, Services, CRDs and their like; of roles and policies it has none."""
    known = {kind.kind: kind for kind in resources.BUILT_IN}
    with running_cluster(manifests.IMAGES) as cluster:
        connection = Connection(cluster.kubeconfig)
        taken = set()
        for one in sorted(render(WHOLE_CLUSTER), key=lambda o: o["kind"] != "Namespace"):
            kind = known.get(one["kind"])
            if kind is None:
                continue
            base = f"/apis/{one['apiVersion']}" if "/" in one["apiVersion"] else f"/api/{one['apiVersion']}"
            space = f"/namespaces/{one['metadata']['namespace']}" if kind.namespaced else ""
            created = connection.create(f"{base}{space}/{kind.plural}", one)
            assert created["metadata"]["uid"]
            taken.add(one["kind"])
        connection.close()

    wanted = {"Namespace", "CustomResourceDefinition", "ServiceAccount", "ConfigMap", "Service", "Deployment"}
    assert taken == wanted


def test_each_manifest_is_used_by_a_kustomization() -> None:
    used = set()
    for kustomization in [*ROOT.glob("deploy/**/kustomization.yaml")]:
        (content,) = parse(kustomization.read_text("utf-8"))
        named = [*content.get("resources", ()), *(f for g in content.get("configMapGenerator", ()) for f in g["files"])]
        named += [patch["path"] for patch in content.get("patches", ())]
        used |= {(kustomization.parent / name).resolve() for name in named} | {kustomization}
    found = {f for f in ROOT.glob("deploy/**/*.yaml") if not f.is_relative_to(ROOT / "deploy/chart")}
    found.remove(ROOT / "deploy/overlays/example/release.yaml")  # asked for by hand
    found.remove(ROOT / "deploy/components/monitoring/rules.yaml")  # for a Prometheus without the operator

    assert [str(f.relative_to(ROOT)) for f in found if f.resolve() not in used] == []


@everywhere
def test_replicas_prefer_nodes_of_their_own_and_leave_one_at_a_time(directory: str) -> None:
    deployment, budget = only(directory, "Deployment")["spec"], only(directory, "PodDisruptionBudget")["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    (apart,) = deployment["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]

    assert apart["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert apart["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels
    assert budget["selector"]["matchLabels"].items() <= labels
    assert budget["maxUnavailable"] == 1, "no node waits for a replica, not even for a single one"
