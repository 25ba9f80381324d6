"""Custom resources: what a CustomResourceDefinition makes of the API, while it is there and after."""

from __future__ import annotations

import pytest

from tests.cluster_api.harness import Api, Json, unique, until, widget_crd

MERGE = "application/merge-patch+json"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def widget(name: str, **spec: object) -> Json:
    return {"kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3, **spec}}


@pytest.fixture
def widgets(group: str, namespace: str) -> str:
    return f"/apis/{group}/v1/namespaces/{namespace}/widgets"


@pytest.fixture
def typed(group: str) -> Json:
    return {"apiVersion": f"{group}/v1"}


def test_an_established_definition_says_so_and_is_discovered(api: Api, group: str) -> None:
    status = api.get(f"{CRDS}/widgets.{group}")["status"]
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert (conditions["Established"], conditions["NamesAccepted"]) == ("True", "True")
    assert status["storedVersions"] == ["v1"]
    assert status["acceptedNames"]["listKind"] == "WidgetList"
    until(lambda: api.call("GET", f"/apis/{group}/v1").ok)
    resources = {entry["name"]: entry for entry in api.get(f"/apis/{group}/v1")["resources"]}
    assert resources["widgets"]["shortNames"] == ["wd"]
    assert resources["widgets/status"]["kind"] == "Widget"


def test_defaults_are_filled_in_and_unknown_fields_taken_out(api: Api, widgets: str, typed: Json) -> None:
    body = {**typed, **widget("one", nonsense=1, free={"any": {"thing": 1}}, parts=[{"n": 1, "m": 2}])}
    answer = api.call("POST", widgets, body)
    spec = answer.json()["spec"]
    assert spec == {"size": 3, "colour": "blue", "free": {"any": {"thing": 1}}, "parts": [{"n": 1}]}
    assert 'unknown field \\"spec.nonsense\\"' in answer.headers["Warning"]


def test_strict_validation_refuses_unknown_fields(api: Api, widgets: str, typed: Json) -> None:
    body = {**typed, **widget("one", nonsense=1)}
    status = api.refused(400, "POST", widgets, body, params={"fieldValidation": "Strict"})
    assert 'strict decoding error: unknown field "spec.nonsense"' in status["message"]
    api.refused(404, "GET", f"{widgets}/one")


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"size": None}, "spec.size", "FieldValueRequired"),
        ({"size": "3"}, "spec.size", "FieldValueTypeInvalid"),
        ({"size": 0}, "spec.size", "FieldValueInvalid"),
        ({"size": 11}, "spec.size", "FieldValueInvalid"),
        ({"colour": "red"}, "spec.colour", "FieldValueNotSupported"),
        ({"code": "A1"}, "spec.code", "FieldValueInvalid"),
        ({"code": "a"}, "spec.code", "FieldValueInvalid"),
        ({"code": "abcdef"}, "spec.code", "FieldValueTooLong"),
    ],
)
def test_what_breaks_the_schema_is_refused_with_the_field(
    api: Api, widgets: str, typed: Json, spec: Json, field: str, reason: str
) -> None:
    status = api.refused(422, "POST", widgets, {**typed, **widget("one", **spec)})
    assert status["reason"] == "Invalid"
    assert status["details"]["kind"] == "Widget"
    assert (field, reason) in [(cause["field"], cause["reason"]) for cause in status["details"]["causes"]]


def test_status_is_a_door_of_its_own(api: Api, widgets: str, typed: Json) -> None:
    made = api.post(widgets, {**typed, **widget("one"), "status": {"phase": "Sneaky"}})
    assert "status" not in made
    path = f"{widgets}/one"
    written = api.ok("PATCH", f"{path}/status", {"status": {"phase": "Ready"}, "spec": {"size": 9}}, type=MERGE)
    assert written["status"] == {"phase": "Ready"}
    assert written["spec"]["size"] == 3
    assert written["metadata"]["generation"] == 1
    after = api.ok("PATCH", path, {"status": {"phase": "Other"}, "spec": {"size": 4}}, type=MERGE)
    assert after["status"] == {"phase": "Ready"}
    assert (after["spec"]["size"], after["metadata"]["generation"]) == (4, 2)
    api.refused(422, "PATCH", f"{path}/status", {"status": {"seen": "often"}}, type=MERGE)


def test_json_patch_and_conflicts_work_as_for_any_object(api: Api, widgets: str, typed: Json) -> None:
    stale = api.post(widgets, {**typed, **widget("one")})
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": stale["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/status", "value": {"phase": "Ready"}},
    ]
    api.ok("PATCH", f"{widgets}/one/status", patch, type="application/json-patch+json")
    api.refused(422, "PATCH", f"{widgets}/one/status", patch, type="application/json-patch+json")
    assert api.refused(409, "PUT", f"{widgets}/one", stale)["reason"] == "Conflict"
    del stale["metadata"]["resourceVersion"]
    api.refused(422, "PUT", f"{widgets}/one", stale)


def test_a_strategic_patch_is_for_built_in_kinds_only(api: Api, widgets: str, typed: Json) -> None:
    api.post(widgets, {**typed, **widget("one")})
    kind = "application/strategic-merge-patch+json"
    assert api.refused(415, "PATCH", f"{widgets}/one", {"spec": {"size": 4}}, type=kind)["code"] == 415


def test_a_list_repeats_the_type_of_each_item(api: Api, widgets: str, typed: Json) -> None:
    api.post(widgets, {**typed, **widget("one")})
    found = api.get(widgets)
    assert (found["kind"], found["apiVersion"]) == ("WidgetList", typed["apiVersion"])
    assert [(item["kind"], item["apiVersion"]) for item in found["items"]] == [("Widget", typed["apiVersion"])]


def test_printer_columns_make_the_table(api: Api, widgets: str, typed: Json) -> None:
    api.post(widgets, {**typed, **widget("one")})
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    found = api.ok("GET", widgets, headers=headers)
    assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "Size", "Phase", "Age"]
    cells = found["rows"][0]["cells"]
    assert cells[:3] == ["one", 3, None]
    assert str(cells[3]).endswith("s")


def test_an_applied_widget_is_created_and_merged(api: Api, widgets: str, typed: Json) -> None:
    params = {"fieldManager": "test", "force": "true"}
    path, kind = f"{widgets}/one", "application/apply-patch+yaml"
    assert api.call("PATCH", path, {**typed, **widget("one")}, type=kind, params=params).status_code == 201
    after = api.ok("PATCH", path, {**typed, **widget("one", colour="green")}, type=kind, params=params)
    assert after["spec"] == {"size": 3, "colour": "green"}


def test_with_its_definition_a_resource_goes(api: Api, namespace: str) -> None:
    group = f"{unique('g')}.example.test"
    api.post(CRDS, widget_crd(group))
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    until(lambda: api.call("POST", path, {"apiVersion": f"{group}/v1", **widget("one")}).status_code in (201, 409))
    with api.watch(path, resourceVersion="0") as watch:
        assert watch.brief(1) == [("ADDED", "one")]
        api.ok("DELETE", f"{CRDS}/widgets.{group}")
        assert watch.brief(1) == [("DELETED", "one")]
    until(lambda: api.call("GET", path).status_code == 404)
    until(lambda: api.call("GET", f"{CRDS}/widgets.{group}").status_code == 404)


def _wrong_name(crd: Json) -> None:
    crd["metadata"]["name"] = "gadgets.example.test"


def _no_schema(crd: Json) -> None:
    del crd["spec"]["versions"][0]["schema"]


def _no_storage(crd: Json) -> None:
    crd["spec"]["versions"][0]["storage"] = False


def _untyped(crd: Json) -> None:
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["loose"] = {"description": "no type"}


@pytest.mark.parametrize("spoil", [_wrong_name, _no_schema, _no_storage, _untyped])
def test_a_definition_that_cannot_work_is_refused(api: Api, spoil: object) -> None:
    crd = widget_crd(f"{unique('g')}.example.test")
    assert callable(spoil)
    spoil(crd)
    assert api.refused(422, "POST", CRDS, crd)["reason"] == "Invalid"
