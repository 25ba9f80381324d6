"""Patches: all four kinds, conditions, and refusals."""

from __future__ import annotations

import threading

import pytest

from tests.cluster_api.harness import Api, Json, config_map, deployment, pod, service

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture
def switch(api: Api, namespace: str) -> str:
    """The path of a Service that selects blue."""
    path = f"/api/v1/namespaces/{namespace}/services"
    api.post(path, service("web", app="web", color="blue"))
    return f"{path}/web"


def flip(to: str, expected: str) -> list[Json]:
    return [
        {"op": "test", "path": "/spec/selector/color", "value": expected},
        {"op": "replace", "path": "/spec/selector/color", "value": to},
    ]


def test_a_tested_flip_changes_the_one_key(api: Api, switch: str) -> None:
    before = api.get(switch)
    after = api.ok("PATCH", switch, flip("green", "blue"), type=JSON_PATCH)
    assert after["spec"]["selector"] == {"app": "web", "color": "green"}
    before["spec"]["selector"]["color"] = "green"
    assert after["spec"] == before["spec"]


def test_a_flip_whose_test_fails_is_unprocessable_and_changes_nothing(api: Api, switch: str) -> None:
    before = api.get(switch)
    status = api.refused(422, "PATCH", switch, flip("blue", "green"), type=JSON_PATCH)
    assert status["reason"] == "Invalid"
    assert status["message"] == "the server rejected our request due to an error in our request"
    assert status["details"] == {}
    assert api.get(switch) == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/nothing/here", "value": 1},
        {"op": "remove", "path": "/metadata/labels/none"},
        {"op": "add", "path": "/no/such/parent", "value": 1},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "move", "from": "/spec/none", "path": "/spec/selector/x"},
    ],
    ids=lambda operation: operation["op"],
)
def test_an_operation_that_does_not_apply_is_unprocessable(api: Api, switch: str, operation: Json) -> None:
    api.refused(422, "PATCH", switch, [operation], type=JSON_PATCH)


def test_a_json_patch_can_be_conditional_on_the_version(api: Api, switch: str) -> None:
    version = api.get(switch)["metadata"]["resourceVersion"]
    guarded = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/spec/selector/color", "value": "green"},
    ]
    api.ok("PATCH", switch, guarded, type=JSON_PATCH)
    api.refused(422, "PATCH", switch, guarded, type=JSON_PATCH)


def test_a_json_patch_escapes_slashes_in_keys(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, {"metadata": {"name": "a", "annotations": {"x.test/b": "1"}}})
    patch = [
        {"op": "test", "path": "/metadata/annotations/x.test~1b", "value": "1"},
        {"op": "copy", "from": "/metadata/annotations/x.test~1b", "path": "/metadata/annotations/c"},
        {"op": "remove", "path": "/metadata/annotations/x.test~1b"},
    ]
    assert api.ok("PATCH", f"{path}/a", patch, type=JSON_PATCH)["metadata"]["annotations"] == {"c": "1"}


def test_a_patch_that_is_not_a_patch_is_a_bad_request(api: Api, switch: str) -> None:
    api.refused(400, "PATCH", switch, {"spec": {}}, type=JSON_PATCH)
    api.refused(400, "PATCH", switch, b"{", type=MERGE)
    api.refused(415, "PATCH", switch, {"spec": {}}, type="application/json")


def test_a_merge_patch_takes_away_what_is_null(api: Api, switch: str) -> None:
    patch = {"metadata": {"labels": {"a": "b"}}, "spec": {"selector": {"color": None, "app": "other"}}}
    after = api.ok("PATCH", switch, patch, type=MERGE)
    assert after["spec"]["selector"] == {"app": "other"}
    assert after["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize("kind", [MERGE, STRATEGIC])
def test_a_patch_with_a_stale_version_is_a_conflict(api: Api, switch: str, kind: str) -> None:
    version = api.get(switch)["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "spec": {"selector": {"color": "green"}}}
    api.ok("PATCH", switch, patch, type=kind)
    patch["spec"] = {"selector": {"color": "blue"}}
    status = api.refused(409, "PATCH", switch, patch, type=kind)
    assert status["reason"] == "Conflict"
    assert api.get(switch)["spec"]["selector"]["color"] == "green"


def test_a_stale_patch_is_a_conflict_even_when_it_asks_for_what_is_there(api: Api, switch: str) -> None:
    version = api.get(switch)["metadata"]["resourceVersion"]
    api.ok("PATCH", switch, flip("green", "blue"), type=JSON_PATCH)
    patch = {"metadata": {"resourceVersion": version}, "spec": {"selector": {"color": "green"}}}
    api.refused(409, "PATCH", switch, patch, type=MERGE)


def test_patches_without_a_version_never_conflict(api: Api, namespace: str) -> None:
    """The server retries on its own: ten writers at once each get their key in."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, config_map("shared"))
    codes: list[int] = []

    def write(number: int) -> None:
        with Api(api.url, api.token, api.ca).session as session:
            own = Api(api.url, api.token, api.ca, session)
            answer = own.call("PATCH", f"{path}/shared", {"data": {f"k{number}": "x"}}, type=MERGE)
            codes.append(answer.status_code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 10
    assert len(api.get(f"{path}/shared")["data"]) == 10


def test_of_two_flips_at_once_one_wins(api: Api, switch: str) -> None:
    codes: list[int] = []

    def write() -> None:
        with Api(api.url, api.token, api.ca).session as session:
            own = Api(api.url, api.token, api.ca, session)
            codes.append(own.call("PATCH", switch, flip("green", "blue"), type=JSON_PATCH).status_code)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 422, 422, 422, 422, 422]


def test_a_strategic_patch_merges_containers_by_name_and_variables_too(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"] = [
        {"name": "web", "image": "registry.invalid/web:1", "env": [{"name": "A", "value": "1"}]},
        {"name": "side", "image": "registry.invalid/side:1"},
    ]
    api.post(path, body)
    containers = [{"name": "web", "image": "registry.invalid/web:2", "env": [{"name": "B", "value": "2"}]}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    after = api.ok("PATCH", f"{path}/web", patch, type=STRATEGIC)["spec"]["template"]["spec"]["containers"]
    assert {c["name"]: c["image"] for c in after} == {
        "web": "registry.invalid/web:2",
        "side": "registry.invalid/side:1",
    }
    web = next(c for c in after if c["name"] == "web")
    assert {v["name"]: v["value"] for v in web["env"]} == {"A": "1", "B": "2"}


def test_a_strategic_patch_deletes_and_replaces_by_directive(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "registry.invalid/side:1"})
    api.post(path, body)
    gone = {"spec": {"template": {"spec": {"containers": [{"$patch": "delete", "name": "side"}]}}}}
    after = api.ok("PATCH", f"{path}/web", gone, type=STRATEGIC)["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in after] == ["web"]
    recreate = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    after = api.ok("PATCH", f"{path}/web", recreate, type=STRATEGIC)
    assert after["spec"]["strategy"] == {"type": "Recreate"}
    only = {"metadata": {"labels": {"$patch": "replace", "b": "2"}}}
    # There is nothing yet that it could replace.
    assert "labels" not in api.ok("PATCH", f"{path}/web", only, type=STRATEGIC)["metadata"]
    api.ok("PATCH", f"{path}/web", {"metadata": {"labels": {"a": "1"}}}, type=STRATEGIC)
    assert api.ok("PATCH", f"{path}/web", only, type=STRATEGIC)["metadata"]["labels"] == {"b": "2"}


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"spec": {"template": {"spec": {"containers": [{"image": "registry.invalid/web:2"}]}}}}, 500),
        ({"spec": {"strategy": {"$patch": "nonsense"}}}, 500),
        ({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}, 400),
    ],
    ids=["a container without a name", "an unknown directive", "a key that is not to be retained"],
)
def test_a_strategic_patch_that_cannot_be_carried_out_is_refused(
    api: Api, namespace: str, patch: Json, code: int
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("web", replicas=0))
    status = api.refused(code, "PATCH", f"{path}/web", patch, type=STRATEGIC)
    assert status.get("reason", "") == ("BadRequest" if code == 400 else "")


def test_a_strategic_patch_merges_ports_of_a_service_by_number(api: Api, switch: str) -> None:
    patch = {"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 81, "name": "admin"}]}}
    after = api.ok("PATCH", switch, patch, type=STRATEGIC)
    assert {p["port"]: p["name"] for p in after["spec"]["ports"]} == {80: "http", 81: "admin"}


def test_a_strategic_patch_of_status_merges_conditions_by_type(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, pod("one"))
    for type_ in ("Ready", "Initialized"):
        patch = {"status": {"conditions": [{"type": type_, "status": "False"}]}}
        api.ok("PATCH", f"{path}/one/status", patch, type=STRATEGIC)
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    after = api.ok("PATCH", f"{path}/one/status", patch, type=STRATEGIC)["status"]["conditions"]
    found = {c["type"]: c["status"] for c in after}
    assert (found["Ready"], found["Initialized"]) == ("True", "False")


def test_a_patch_is_validated_like_a_replacement(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("web"))
    status = api.refused(422, "PATCH", f"{path}/web", {"spec": {"replicas": -1}}, type=MERGE)
    assert status["details"]["causes"][0]["field"] == "spec.replicas"


def test_nothing_is_patched_that_is_not_there(api: Api, namespace: str) -> None:
    api.refused(404, "PATCH", f"/api/v1/namespaces/{namespace}/services/none", {"spec": {}}, type=MERGE)


def test_a_dry_run_of_a_patch_changes_nothing(api: Api, switch: str) -> None:
    before = api.get(switch)
    tried = api.ok("PATCH", switch, flip("green", "blue"), type=JSON_PATCH, params={"dryRun": "All"})
    assert tried["spec"]["selector"]["color"] == "green"
    assert api.get(switch) == before


def test_an_applied_configuration_creates_and_then_merges(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    params = {"fieldManager": "test", "force": "true"}
    body = deployment("web", replicas=1)
    first = api.call("PATCH", path, body, type=APPLY, params=params)
    assert first.status_code == 201
    body["spec"]["replicas"] = 2
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/web:2"
    second = api.call("PATCH", path, body, type=APPLY, params=params)
    assert second.status_code == 200
    spec = second.json()["spec"]
    assert spec["replicas"] == 2
    assert [c["image"] for c in spec["template"]["spec"]["containers"]] == ["registry.invalid/web:2"]
    assert spec["strategy"]["type"] == "RollingUpdate"
