"""A real API server holds Releases to what the custom resource says: its schema, its rules in CEL, its columns."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.waiting import apply, kubectl, until
from tests.packaging.release_cases import BACK, CHANGED, CREATED, GOOD, TIMES, Case, Spec
from tests.packaging.rendered import ROOT, parse
from watcher.core.release import Command

RELEASES = "releases.watcher.bluegreen.dev"
CRD = f"crd/{RELEASES}"


@pytest.fixture(scope="module")
def namespace(custom_resource: str) -> Iterator[str]:
    """A namespace of the test's own, in a cluster that knows the custom resource as it is here."""
    name = f"chat-releases-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def release(namespace: str, spec: Spec) -> dict[str, Any]:
    return {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Release",
        "metadata": {"generateName": "shop-", "namespace": namespace},
        "spec": spec,
    }


def attempt(*arguments: str, body: dict[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """What kubectl gives, and what it says when the API server refuses."""
    command = ["kubectl", *arguments, "--output=json"]
    stdin = json.dumps(body) if body else None
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    return (json.loads(done.stdout) if done.returncode == 0 else {}), done.stderr


def create(namespace: str, spec: Spec, *, dry: bool = True) -> tuple[dict[str, Any], str]:
    options = ["--dry-run=server"] if dry else []
    return attempt("create", "--filename=-", *options, body=release(namespace, spec))


def judge(case: Case, found: dict[str, Any], said: str) -> None:
    if case.refused:
        assert found == {}, "it was taken"
        assert case.refused in said
        assert f"{case.field}: " in said
    else:
        assert said == ""
        assert found["spec"]["application"] == "shop"


@pytest.mark.parametrize("case", CREATED, ids=lambda case: case.name)
def test_a_release_is_taken_or_refused_with_the_reason(case: Case, namespace: str) -> None:
    judge(case, *create(namespace, case.spec))


@pytest.mark.parametrize("case", CHANGED, ids=lambda case: case.name)
def test_what_is_released_stays_and_commands_may_change(case: Case, namespace: str) -> None:
    made, said = create(namespace, case.spec, dry=False)
    assert said == ""
    patch = json.dumps({"spec": case.patch})
    judge(case, *attempt("patch", RELEASES, made["metadata"]["name"], "-n", namespace, "--type=merge", "-p", patch))


@pytest.mark.parametrize(("text", "good"), TIMES.items(), ids=repr)
def test_a_time_is_taken_exactly_when_it_is_one_that_the_core_reads(text: str, good: bool, namespace: str) -> None:
    found, said = create(namespace, BACK | {"rollback": {"at": text}})

    assert bool(found) == good, said
    if good:
        read = Command.model_validate_json(json.dumps({"at": text})).at
        assert read is not None
        assert read.tzinfo is not None
    else:
        assert "spec.rollback.at: Invalid value" in said


def test_a_status_has_one_condition_of_a_kind_and_colours_that_exist(namespace: str) -> None:
    made, _ = create(namespace, GOOD, dry=False)
    name = made["metadata"]["name"]

    def status(**fields: Any) -> str:
        patch = json.dumps({"status": fields})
        options = ["-n", namespace, "--subresource=status", "--type=merge", "--dry-run=server", "-p", patch]
        return attempt("patch", RELEASES, name, *options)[1]

    blind = {"type": "Blind", "status": "True"}
    assert status(conditions=[blind], colors={"from": "blue", "to": "green"}, phase="Watching") == ""
    assert "Duplicate value" in status(conditions=[blind, blind | {"status": "False"}])
    assert 'Unsupported value: "red": supported values: "blue", "green"' in status(colors={"from": "red"})
    assert "status.phase: Unsupported value" in status(phase="Nowhere")
    assert status(flips=[{"index": 1, "from": "blue", "to": "green", "reason": "switch"}]) == ""
    assert "status.flips[0].to: Unsupported value" in status(flips=[{"to": "teal"}])


@pytest.fixture
def older(namespace: str) -> Iterator[dict[str, Any]]:
    """The custom resource under a name of its own, as it was before it had rules."""
    (crd,) = parse((ROOT / "deploy/crd.yaml").read_text("utf-8"))
    crd["spec"]["group"] = f"{namespace}.example.test"
    crd["spec"]["names"] = {"kind": "OldRelease", "plural": "oldreleases"}
    crd["metadata"]["name"] = f"oldreleases.{crd['spec']['group']}"
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rules = spec.pop("x-kubernetes-validations")
    apply(crd)
    kubectl("wait", "--for=condition=Established", f"crd/{crd['metadata']['name']}", "--timeout=30s")
    spec["x-kubernetes-validations"] = rules
    yield crd
    kubectl("delete", "crd", crd["metadata"]["name"], "--wait=false")


def test_a_status_is_still_taken_of_a_release_that_is_older_than_the_rules(
    namespace: str, older: dict[str, Any]
) -> None:
    """Rules that came later than an object do not keep the daemon from writing what became of it."""
    body = release(namespace, {"application": "shop"})
    body |= {"apiVersion": f"{older['spec']['group']}/v1alpha1", "kind": "OldRelease"}
    made, said = attempt("create", "--filename=-", body=body)
    assert said == ""
    apply(older)
    until(lambda: not attempt("create", "--dry-run=server", "--filename=-", body=body)[0], "the rules to be in force")

    patch = json.dumps({"status": {"phase": "Failed", "reason": "NoImages"}})
    name = f"oldreleases/{made['metadata']['name']}"
    found, _ = attempt("patch", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
    assert found["status"]["reason"] == "NoImages"


def test_kubectl_shows_releases_in_columns_and_finds_them_by_application(namespace: str) -> None:
    made, _ = create(namespace, GOOD | {"application": "listed"}, dry=False)
    name = made["metadata"]["name"]
    status = {
        "phase": "RolledBack",
        "verdict": "rollback",
        "message": "Rolled back.",
        "colors": {"from": "blue", "to": "green"},
    }
    options = ["-n", namespace, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
    kubectl("patch", RELEASES, name, *options)

    listed = ["get", "rel", "-n", namespace, "--field-selector=spec.application=listed"]
    heading, row = kubectl(*listed).splitlines()
    assert heading.split() == ["NAME", "APPLICATION", "VERSION", "FROM", "TO", "PHASE", "VERDICT", "AGE"]
    assert row.split()[:-1] == [name, "listed", "2", "blue", "green", "RolledBack", "rollback"]
    assert "Rolled back." in kubectl(*listed, "--output=wide")
    assert "What was asked for" in kubectl("explain", "release.spec")


def test_the_schema_is_structural_and_unknown_fields_are_named(namespace: str) -> None:
    found = json.loads(kubectl("get", CRD, "--output=json"))
    conditions = {one["type"]: one for one in found["status"]["conditions"]}
    made, said = create(namespace, GOOD | {"imagse": {}})

    assert "NonStructuralSchema" not in conditions
    assert conditions["Established"]["status"] == "True"
    assert made == {}
    assert 'unknown field "spec.imagse"' in said
