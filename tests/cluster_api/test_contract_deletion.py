"""Deletion: at once, with preconditions, by finalizer, and of many."""

from __future__ import annotations

from tests.cluster_api.harness import Api, config_map, deployment, pod, unique

MERGE = "application/merge-patch+json"


def test_a_deleted_object_is_gone_and_named_in_the_answer(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = api.post(path, config_map("a"))
    status = api.ok("DELETE", f"{path}/a")
    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert status["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    api.refused(404, "GET", f"{path}/a")
    api.refused(404, "DELETE", f"{path}/a")


def test_a_precondition_that_fails_is_a_conflict(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = api.post(path, config_map("a"))["metadata"]
    for wrong in ({"uid": "not-it"}, {"resourceVersion": "1"}):
        status = api.refused(409, "DELETE", f"{path}/a", {"kind": "DeleteOptions", "preconditions": wrong})
        assert status["reason"] == "Conflict"
    right = {"uid": made["uid"], "resourceVersion": made["resourceVersion"]}
    api.ok("DELETE", f"{path}/a", {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": right})
    api.refused(404, "GET", f"{path}/a")


def test_an_object_with_a_finalizer_waits_for_it(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.test/hold"]
    api.post(path, body)
    going = api.ok("DELETE", f"{path}/a")
    assert going["kind"] == "ConfigMap"
    assert going["metadata"]["deletionTimestamp"]
    assert api.get(f"{path}/a")["metadata"]["deletionTimestamp"] == going["metadata"]["deletionTimestamp"]
    api.ok("PATCH", f"{path}/a", {"metadata": {"finalizers": None}}, type=MERGE)
    api.refused(404, "GET", f"{path}/a")


def test_a_pod_that_no_node_has_goes_at_once(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, pod("one"))
    assert api.ok("DELETE", f"{path}/one")["kind"] == "Pod"
    api.refused(404, "GET", f"{path}/one")


def test_many_are_deleted_by_selector(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name, color in (("a", "blue"), ("b", "blue"), ("c", "green")):
        api.post(path, config_map(name, {"color": color}))
    api.ok("DELETE", path, params={"labelSelector": "color=blue"})
    left = api.get(path, labelSelector="color")
    assert [item["metadata"]["name"] for item in left["items"]] == ["c"]


def test_an_unknown_propagation_is_refused(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("web", replicas=0))
    api.refused(422, "DELETE", f"{path}/web", params={"propagationPolicy": "Sideways"})
    assert api.ok("DELETE", f"{path}/web", params={"propagationPolicy": "Background"})["status"] == "Success"


def test_a_namespace_that_is_going_takes_nothing_new(api: Api) -> None:
    name = unique("going")
    api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    # This keeps it from being gone before the question is asked.
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.test/hold"]
    api.post(f"/api/v1/namespaces/{name}/configmaps", held)
    going = api.ok("DELETE", f"/api/v1/namespaces/{name}")
    assert going["status"]["phase"] == "Terminating"
    status = api.refused(403, "POST", f"/api/v1/namespaces/{name}/configmaps", config_map("b"))
    assert status["reason"] == "Forbidden"
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    api.ok("PATCH", f"/api/v1/namespaces/{name}/configmaps/held", {"metadata": {"finalizers": None}}, type=MERGE)
