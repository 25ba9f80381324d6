"""Lists: selectors, pages, and the tables that kubectl prints."""

from __future__ import annotations

import re

import pytest

from tests.cluster_api.harness import Api, Json, config_map, deployment, pod, service

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


@pytest.fixture
def maps(api: Api, namespace: str) -> str:
    """The path of four ConfigMaps: a and b blue, c green, d without a colour."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name, labels in {
        "a": {"color": "blue", "rank": "1"},
        "b": {"color": "blue", "rank": "7"},
        "c": {"color": "green"},
        "d": {},
    }.items():
        api.post(path, config_map(name, labels))
    return path


def names(found: Json) -> list[str]:
    # A real cluster puts a ConfigMap of its own into every namespace.
    return [item["metadata"]["name"] for item in found["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("", "abcd"),
        ("color=blue", "ab"),
        ("color==blue", "ab"),
        ("color!=blue", "cd"),
        ("color", "abc"),
        ("!color", "d"),
        ("color in (green, red)", "c"),
        ("color in (green,blue),rank", "ab"),
        ("color notin (blue)", "cd"),
        ("rank>3", "b"),
        ("rank<3", "a"),
        ("color=blue,rank=7", "b"),
        ("color=", ""),
    ],
)
def test_a_label_selector_selects(api: Api, maps: str, selector: str, wanted: str) -> None:
    assert "".join(names(api.get(maps, labelSelector=selector))) == wanted


@pytest.mark.parametrize("selector", ["color in", "a=b=c", "!", "-x=1", "color=a b"])
def test_a_label_selector_that_makes_no_sense_is_refused(api: Api, maps: str, selector: str) -> None:
    assert api.refused(400, "GET", maps, params={"labelSelector": selector})["reason"] == "BadRequest"


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [("metadata.name=a", "a"), ("metadata.name!=a,metadata.name!=b", "cd"), ("metadata.namespace=nowhere", "")],
)
def test_a_field_selector_selects(api: Api, maps: str, selector: str, wanted: str) -> None:
    assert "".join(names(api.get(maps, fieldSelector=selector))) == wanted


def test_a_field_that_cannot_be_selected_on_is_refused(api: Api, maps: str) -> None:
    api.refused(400, "GET", maps, params={"fieldSelector": "data.x=1"})


def test_pods_are_selected_by_phase_and_node(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, pod("one"))
    assert names(api.get(path, fieldSelector="status.phase=Pending,spec.nodeName=")) == ["one"]
    assert names(api.get(path, fieldSelector="status.phase=Running")) == []
    assert names(api.get(path, fieldSelector="status.phase!=Running")) == ["one"]


def test_events_are_selected_by_what_they_are_about(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/events"
    for name, reason in (("one", "Started"), ("two", "Killing")):
        body = {
            "metadata": {"name": f"{name}.1"},
            "involvedObject": {"kind": "Pod", "namespace": namespace, "name": name, "uid": "u-1"},
            "reason": reason,
            "type": "Normal",
            "message": "m",
        }
        api.post(path, body)
    assert names(api.get(path, fieldSelector="involvedObject.name=one,involvedObject.kind=Pod")) == ["one.1"]
    assert names(api.get(path, fieldSelector="reason=Killing")) == ["two.1"]
    assert names(api.get(path, fieldSelector="type!=Normal")) == []


def test_a_list_says_what_it_is_and_at_which_version(api: Api, maps: str) -> None:
    found = api.get(maps)
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert int(found["metadata"]["resourceVersion"]) > 0
    assert "kind" not in found["items"][0]
    assert api.get(maps, resourceVersion="0")["kind"] == "ConfigMapList"


def test_a_list_comes_in_pages(api: Api, maps: str) -> None:
    first = api.get(maps, limit=2, labelSelector="color")
    assert names(first) == ["a", "b"]
    rest = api.get(maps, limit=2, labelSelector="color", **{"continue": first["metadata"]["continue"]})
    assert names(rest) == ["c"]
    assert not rest["metadata"].get("continue")
    api.refused(400, "GET", maps, params={"limit": 2, "continue": "nonsense"})


def test_all_namespaces_are_listed_together(api: Api, maps: str, namespace: str) -> None:
    found = api.get("/api/v1/configmaps", labelSelector="color=green")
    assert namespace in [item["metadata"]["namespace"] for item in found["items"]]


def table(api: Api, path: str) -> tuple[list[str], list[list[object]]]:
    found = api.ok("GET", path, headers=TABLE)
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert all(row["object"]["kind"] == "PartialObjectMetadata" for row in found["rows"])
    return [column["name"] for column in found["columnDefinitions"]], [row["cells"] for row in found["rows"]]


def test_the_table_of_deployments(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("web", replicas=0))
    columns, [cells] = table(api, path)
    assert columns == ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    assert cells[:4] == ["web", "0/0", 0, 0]
    assert re.fullmatch(r"\d+s", str(cells[4]))
    assert cells[5:] == ["web", "registry.invalid/web:1", "app=web"]


def test_the_table_of_pods(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, pod("one"))
    columns, [cells] = table(api, path)
    assert columns[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert cells[:3] == ["one", "0/1", "Pending"]
    assert str(cells[3]) == "0"


def test_the_table_of_services(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    api.post(path, service("web", app="web", color="blue"))
    columns, [cells] = table(api, path)
    assert columns == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]
    assert (cells[0], cells[1], cells[3], cells[4], cells[6]) == (
        "web",
        "ClusterIP",
        "<none>",
        "80/TCP",
        "app=web,color=blue",
    )


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("/apis/apps/v1/namespaces/{}/replicasets", ["Name", "Desired", "Current", "Ready", "Age"]),
        ("/apis/batch/v1/namespaces/{}/jobs", ["Name", "Status", "Completions", "Duration", "Age"]),
        (
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
            ["Name", "AddressType", "Ports", "Endpoints", "Age"],
        ),
        ("/apis/coordination.k8s.io/v1/namespaces/{}/leases", ["Name", "Holder", "Age"]),
        ("/api/v1/namespaces/{}/configmaps", ["Name", "Data", "Age"]),
        ("/api/v1/namespaces/{}/secrets", ["Name", "Type", "Data", "Age"]),
        ("/api/v1/namespaces/{}/events", ["Last Seen", "Type", "Reason", "Object", "Message"]),
        ("/api/v1/namespaces", ["Name", "Status", "Age"]),
        ("/api/v1/nodes", ["Name", "Status", "Roles", "Age", "Version"]),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", ["Name", "Created At"]),
    ],
)
def test_the_columns_of_every_other_table(api: Api, namespace: str, path: str, columns: list[str]) -> None:
    found = api.ok("GET", path.format(namespace), headers=TABLE)
    assert [c["name"] for c in found["columnDefinitions"] if c["priority"] == 0] == columns


def test_one_object_is_a_table_of_one_row(api: Api, maps: str) -> None:
    _, rows = table(api, f"{maps}/a")
    assert [cells[:2] for cells in rows] == [["a", 0]]


def test_metadata_alone_can_be_had(api: Api, maps: str) -> None:
    headers = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    found = api.ok("GET", maps, headers=headers, params={"labelSelector": "color=green"})
    assert found["kind"] == "PartialObjectMetadataList"
    assert [set(item) for item in found["items"]] == [{"kind", "apiVersion", "metadata"}]


def test_discovery_names_what_is_served(api: Api) -> None:
    assert "v1" in api.get("/api")["versions"]
    groups = {group["name"]: group for group in api.get("/apis")["groups"]}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    resources = {entry["name"]: entry for entry in api.get("/apis/apps/v1")["resources"]}
    assert resources["deployments"]["kind"] == "Deployment"
    assert resources["deployments"]["shortNames"] == ["deploy"]
    assert resources["deployments"]["namespaced"] is True
    assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(resources["deployments"]["verbs"])
    assert resources["deployments/scale"]["kind"] == "Scale"
    assert "pods/log" in [entry["name"] for entry in api.get("/api/v1")["resources"]]
    assert api.get("/version")["gitVersion"].startswith("v1.")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_is_ok(api: Api, path: str) -> None:
    assert api.call("GET", path).text == "ok"
