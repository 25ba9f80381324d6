"""The embedded API server holds Releases to the same as a real one, for which tests/cluster/test_crd.py asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from tests.packaging.release_cases import BACK, CHANGED, CREATED, GOOD, TIMES, Case, Spec
from tests.packaging.rendered import ROOT, parse
from tests.support.api import api_server
from watcher.adapters.errors import Fatal
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import MERGE_PATCH, Connection
from watcher.core.release import Command, Phase, Status
from watcher.core.release import Spec as CoreSpec

RELEASES = paths.releases("default")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with api_server(tmp_path_factory.mktemp("api")) as connection:
        yield connection


def create(api: Connection, spec: Spec) -> str:
    """Its path."""
    body = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Release",
        "metadata": {"generateName": "shop-"},
        "spec": spec,
    }
    return f"{RELEASES}/{api.create(RELEASES, body)['metadata']['name']}"


@pytest.mark.parametrize("case", CREATED, ids=lambda case: case.name)
def test_a_release_is_taken_or_refused_with_the_reason(case: Case, api: Connection) -> None:
    if not case.refused:
        assert create(api, case.spec)
        return
    with pytest.raises(Fatal) as refused:
        create(api, case.spec)
    assert case.refused in str(refused.value)
    assert f"{case.field}: " in str(refused.value)


@pytest.mark.parametrize("case", CHANGED, ids=lambda case: case.name)
def test_what_is_released_stays_and_commands_may_change(case: Case, api: Connection) -> None:
    path, patch = create(api, case.spec), {"spec": case.patch}
    if not case.refused:
        assert api.patch(path, patch, MERGE_PATCH)["spec"]["application"] == "shop"
        return
    before = api.get(path)
    with pytest.raises(Fatal) as refused:
        api.patch(path, patch, MERGE_PATCH)
    assert case.refused in str(refused.value)
    assert f"{case.field}: " in str(refused.value)
    assert api.get(path) == before


@pytest.mark.parametrize(("text", "good"), TIMES.items(), ids=repr)
def test_a_time_is_taken_exactly_when_it_is_one_that_the_core_reads(text: str, good: bool, api: Connection) -> None:
    spec = BACK | {"rollback": {"at": text}}
    if not good:
        with pytest.raises(Fatal, match=r"spec\.rollback\.at: Invalid value"):
            create(api, spec)
        return
    assert create(api, spec)
    read = Command.model_validate_json(json.dumps({"at": text})).at
    assert read is not None
    assert read.tzinfo is not None


def test_a_status_is_still_taken_of_a_release_that_is_older_than_the_rules(api: Connection) -> None:
    (crd,) = parse((ROOT / "deploy/crd.yaml").read_text("utf-8"))
    crd["spec"]["group"] = "old.example.com"
    crd["metadata"]["name"] = "releases.old.example.com"
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rules = spec.pop("x-kubernetes-validations")
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.create(definitions, crd)
    releases = "/apis/old.example.com/v1alpha1/namespaces/default/releases"
    body = {"apiVersion": "old.example.com/v1alpha1", "kind": "Release", "metadata": {"name": "a"}}
    api.create(releases, body | {"spec": {"application": "shop"}})
    spec["x-kubernetes-validations"] = rules
    api.patch(f"{definitions}/releases.old.example.com", {"spec": crd["spec"]}, MERGE_PATCH)

    with pytest.raises(Fatal, match="only a rollback by hand has no images"):
        api.create(releases, body | {"metadata": {"name": "b"}, "spec": {"application": "shop"}})
    found = api.patch(f"{releases}/a/status", {"status": {"reason": "NoImages"}}, MERGE_PATCH)
    assert found["status"]["reason"] == "NoImages"


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field holds, one or several of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def differences(schema: dict[str, Any], model: type[BaseModel], path: str) -> Iterator[str]:
    """Fields that one has and the other has not: the API server would take out what only the core knows."""
    known = schema["properties"]
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    yield from (f"{path}.{name}" for name in set(known) ^ set(fields))
    for name in set(known) & set(fields):
        inner = known[name].get("items", known[name])
        for found in models_in(fields[name].annotation):
            if not inner.get("x-kubernetes-preserve-unknown-fields"):
                yield from differences(inner, found, f"{path}.{name}")


def test_the_schema_has_exactly_the_fields_that_the_core_keeps() -> None:
    (crd,) = parse((ROOT / "deploy/crd.yaml").read_text("utf-8"))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]

    assert [*differences(schema["spec"], CoreSpec, "spec"), *differences(schema["status"], Status, "status")] == []
    assert schema["status"]["properties"]["phase"]["enum"] == [phase.value for phase in Phase]


def test_what_needs_no_images_is_what_the_core_takes_for_a_rollback_only(api: Connection) -> None:
    assert CoreSpec.model_validate_json(json.dumps(BACK)).images == {}
    assert create(api, BACK)
    assert create(api, GOOD | {"rollback": {}}), "with images it is a release that is told to end"
