"""The real kubectl against the embedded API: every command that the guide uses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_api.harness import DEADLINE, Api, Json, deployment, embedded, pod, service, unique, widget_crd

GROUP = "kubectl.example.test"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    def logs(_namespace: str, name: str, _container: str, previous: bool) -> str | None:
        return None if previous and name == "fresh" else f"{'old' if previous else 'one'}\ntwo\nthree\n"

    with embedded(pod_logs=logs, cluster_ip=lambda: "10.96.0.7") as running:
        found = Api(running.url)
        with found.session:
            found.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget_crd(GROUP))
            yield found


@dataclass
class Kubectl:
    """kubectl with a home, a cache and a namespace of its own."""

    program: str
    url: str
    home: Path
    namespace: str

    def command(self, *arguments: str) -> list[str]:
        return [self.program, "--server", self.url, "--namespace", self.namespace, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "KUBECONFIG": str(self.home / "config"), "PATH": os.environ["PATH"]}

    def run(self, *arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=6 * DEADLINE,
            check=False,
        )

    def __call__(self, *arguments: str, given: object = None) -> str:
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *arguments: str, given: object = None) -> str:
        done = self.run(*arguments, given=given)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture
def kubectl(api: Api, tmp_path: Path) -> Kubectl:
    program = shutil.which("kubectl")
    assert program, "kubectl is missing: the set-up installs it"
    name = unique("kubectl")
    api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    (tmp_path / "config").touch()
    return Kubectl(program, api.url, tmp_path, name)


def widget(**spec: Any) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Widget",
        "metadata": {"name": "one"},
        "spec": {"size": 3, **spec},
    }


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_apply_creates_then_leaves_alone_then_changes(kubectl: Kubectl, api: Api) -> None:
    body = deployment("web", replicas=2)
    body["metadata"]["labels"] = {"keep": "1", "drop": "1"}
    assert kubectl("apply", "-f", "-", given=body) == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", given=body) == "deployment.apps/web unchanged\n"
    del body["metadata"]["labels"]["drop"]
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/web:2"
    assert kubectl("apply", "-f", "-", given=body) == "deployment.apps/web configured\n"
    found = api.get(f"/apis/apps/v1/namespaces/{kubectl.namespace}/deployments/web")
    assert found["metadata"]["labels"] == {"keep": "1"}
    assert [c["image"] for c in found["spec"]["template"]["spec"]["containers"]] == ["registry.invalid/web:2"]


def test_apply_works_for_custom_resources_and_shows_what_is_wrong_with_them(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", given=widget()).endswith("created\n")
    assert kubectl("apply", "-f", "-", given=widget(colour="green")).endswith("configured\n")
    error = kubectl.fails("apply", "-f", "-", given=widget(size=11, colour="red"))
    assert "spec.size" in error
    assert "spec.colour" in error


def test_server_side_apply_works(kubectl: Kubectl) -> None:
    for body in (deployment("web", replicas=1), deployment("web", replicas=2), widget()):
        assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", given=body)
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"


def test_a_dry_run_on_the_server_changes_nothing(kubectl: Kubectl) -> None:
    for body in (deployment("web"), widget()):
        assert "created (server dry run)" in kubectl("apply", "--dry-run=server", "-f", "-", given=body)
    assert "NotFound" in kubectl.fails("get", "deploy", "web")


def test_get_prints_the_columns_that_people_know(kubectl: Kubectl) -> None:
    for body in (deployment("web", replicas=2), service("web", app="web", color="blue"), pod("one"), widget()):
        kubectl("apply", "-f", "-", given=body)
    head, row = rows(kubectl("get", "deployments"))
    assert head == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row[:4] == ["web", "0/2", "0", "0"]
    head, row = rows(kubectl("get", "svc", "-o", "wide"))
    assert head == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert row[:5] == ["web", "ClusterIP", "10.96.0.7", "<none>", "80/TCP"]
    assert row[6] == "app=web,color=blue"
    head, row = rows(kubectl("get", "pods"))
    assert (head, row[:4]) == (["NAME", "READY", "STATUS", "RESTARTS", "AGE"], ["one", "0/1", "Pending", "0"])
    head, row = rows(kubectl("get", "wd"))
    assert head == ["NAME", "SIZE", "PHASE", "AGE"]
    assert row[:2] == ["one", "3"]
    everything = kubectl("get", "all")
    assert all(name in everything for name in ("pod/one", "service/web", "deployment.apps/web"))


def test_get_selects_and_says_when_there_is_nothing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=pod("one"))
    assert kubectl("get", "pods", "-l", "app=one", "-o", "name") == "pod/one\n"
    assert kubectl("get", "pods", "--field-selector", "status.phase=Running", "-o", "name") == ""
    assert 'pods "two" not found' in kubectl.fails("get", "pod", "two")
    assert "doesn't have a resource type" in kubectl.fails("get", "nonsense")


def test_a_watch_prints_changes_as_they_come(kubectl: Kubectl, api: Api) -> None:
    path = f"/api/v1/namespaces/{kubectl.namespace}/services"
    command = kubectl.command("get", "svc", "--watch", "--output-watch-events", "-o", "wide", "--no-headers")
    api.post(path, service("web", color="blue"))
    with subprocess.Popen(command, env=kubectl.environment, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline().split()[:2] == ["ADDED", "web"]
            api.ok("PATCH", f"{path}/web", {"spec": {"selector": {"color": "green"}}}, type=MERGE)
            line = watching.stdout.readline().split()
            assert (line[0], line[-1]) == ("MODIFIED", "color=green")
        finally:
            watching.kill()


def test_patch_flips_a_selector_in_three_dialects(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=service("web", app="web", color="blue"))
    color = ("get", "svc", "web", "-o", "jsonpath={.spec.selector.color}")
    kubectl("patch", "svc", "web", "-p", '{"spec":{"selector":{"color":"green"}}}')
    assert kubectl(*color) == "green"
    kubectl("patch", "svc", "web", "--type", "merge", "-p", '{"spec":{"selector":{"color":"blue"}}}')
    assert kubectl(*color) == "blue"
    test = '[{"op":"test","path":"/spec/selector/color","value":"%s"},'
    put = '{"op":"replace","path":"/spec/selector/color","value":"green"}]'
    kubectl("patch", "svc", "web", "--type", "json", "-p", test % "blue" + put)
    assert kubectl(*color) == "green"
    assert "The request is invalid" in kubectl.fails("patch", "svc", "web", "--type", "json", "-p", test % "blue" + put)


def test_scale_label_annotate_and_set_image(kubectl: Kubectl, api: Api) -> None:
    kubectl("apply", "-f", "-", given=deployment("web", replicas=1))
    assert kubectl("scale", "deploy/web", "--replicas=3") == "deployment.apps/web scaled\n"
    kubectl("label", "deploy/web", "a=b")
    kubectl("annotate", "deploy/web", "c=d")
    kubectl("set", "image", "deploy/web", "web=registry.invalid/web:9")
    found = api.get(f"/apis/apps/v1/namespaces/{kubectl.namespace}/deployments/web")
    assert found["spec"]["replicas"] == 3
    assert found["metadata"]["labels"] == {"a": "b"}
    assert found["metadata"]["annotations"]["c"] == "d"
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.invalid/web:9"


def test_rollout_status_and_wait_follow_the_status(kubectl: Kubectl, api: Api) -> None:
    kubectl("apply", "-f", "-", given=deployment("web", replicas=1))
    path = f"/apis/apps/v1/namespaces/{kubectl.namespace}/deployments/web"
    follow = kubectl.command("rollout", "status", "deploy/web", "--timeout=20s")
    with subprocess.Popen(follow, env=kubectl.environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert "Waiting for deployment" in following.stdout.readline()
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {
            **dict.fromkeys(counts, 1),
            "observedGeneration": 1,
            "conditions": [{"type": "Available", "status": "True"}],
        }
        api.ok("PATCH", f"{path}/status", {"status": status}, type=MERGE)
        assert "successfully rolled out" in following.stdout.read()
    assert "condition met" in kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=10s")
    assert "condition met" in kubectl("wait", "--for=condition=Established", f"crd/widgets.{GROUP}", "--timeout=10s")


def test_logs_are_cut_and_the_previous_ones_found(kubectl: Kubectl) -> None:
    for name in ("old", "fresh"):
        kubectl("apply", "-f", "-", given=pod(name))
    assert kubectl("logs", "old") == "one\ntwo\nthree\n"
    assert kubectl("logs", "old", "--tail=1") == "three\n"
    assert kubectl("logs", "old", "--previous", "-c", "web") == "old\ntwo\nthree\n"
    assert "previous terminated container" in kubectl.fails("logs", "fresh", "--previous")
    assert "container other is not valid" in kubectl.fails("logs", "old", "-c", "other")


def test_describe_tells_about_everything(kubectl: Kubectl, api: Api) -> None:
    for body in (deployment("web", replicas=2), service("web", color="blue"), pod("one"), widget()):
        kubectl("apply", "-f", "-", given=body)
    uid = api.get(f"/apis/{GROUP}/v1/namespaces/{kubectl.namespace}/widgets/one")["metadata"]["uid"]
    event = {
        "metadata": {"name": "one.1"},
        "involvedObject": {"kind": "Widget", "namespace": kubectl.namespace, "name": "one", "uid": uid},
        "reason": "Flipped",
        "type": "Normal",
        "message": "went green",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    api.post(f"/api/v1/namespaces/{kubectl.namespace}/events", event)
    told = kubectl("describe", "widget", "one")
    assert "Flipped" in told
    assert "went green" in told
    assert "2 desired" in kubectl("describe", "deployment", "web")
    assert "color=blue" in kubectl("describe", "service", "web")
    assert "registry.invalid/web:1" in kubectl("describe", "pod", "one")
    events = kubectl("get", "events")
    assert rows(events)[0] == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert "widget/one" in events


def _delete_by_name(kubectl: Kubectl, body: Json) -> str:
    return kubectl("delete", body["kind"], body["metadata"]["name"])


def _delete_by_file(kubectl: Kubectl, body: Json) -> str:
    return kubectl("delete", "-f", "-", given=body)


@pytest.mark.parametrize("delete", [_delete_by_name, _delete_by_file])
def test_delete_waits_until_the_object_is_gone(kubectl: Kubectl, delete: Callable[[Kubectl, Json], str]) -> None:
    for body in (deployment("web"), service("web"), widget()):
        kubectl("apply", "-f", "-", given=body)
        assert "deleted" in delete(kubectl, body)
        assert "NotFound" in kubectl.fails("get", body["kind"], body["metadata"]["name"])


def test_replace_and_edit_conflicts_are_told(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=service("web", color="blue"))
    stale = json.loads(kubectl("get", "svc", "web", "-o", "json"))
    kubectl("patch", "svc", "web", "-p", '{"spec":{"selector":{"color":"green"}}}')
    assert "the object has been modified" in kubectl.fails("replace", "-f", "-", given=stale)
    del stale["metadata"]["resourceVersion"]
    assert kubectl("replace", "-f", "-", given=stale) == "service/web replaced\n"


def test_api_resources_and_version(kubectl: Kubectl) -> None:
    text = kubectl("api-resources")
    assert ["widgets", "wd", f"{GROUP}/v1", "true", "Widget"] in rows(text) or "widgets" in text
    assert "-embedded" in kubectl("version")
