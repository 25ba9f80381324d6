"""Watches: every change once, in order, as the selection sees it."""

from __future__ import annotations

import time

from tests.cluster_api.harness import Api, config_map, deployment, service

MERGE = "application/merge-patch+json"


def test_a_watch_from_a_list_sees_what_comes_after_it(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    version = api.get(path)["metadata"]["resourceVersion"]
    body = {"metadata": {"name": "web"}, "spec": {"selector": {"color": "blue"}, "ports": [{"port": 80}]}}
    with api.watch(path, resourceVersion=version) as watch:
        made = api.post(path, body)
        patched = api.ok("PATCH", f"{path}/web", {"spec": {"selector": {"color": "green"}}}, type=MERGE)
        api.ok("DELETE", f"{path}/web")
        events = [next(watch) for _ in range(3)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[0]["object"] == made
    assert events[1]["object"] == patched
    assert (events[2]["object"]["kind"], events[2]["object"]["apiVersion"]) == ("Service", "v1")
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


def test_a_watch_from_nowhere_starts_with_what_is_there(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    for name in ("a", "b"):
        api.post(path, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
    for version in ("", "0"):
        with api.watch(path, resourceVersion=version) as watch:
            assert sorted(watch.brief(2)) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_watch_goes_on_where_an_earlier_one_ended(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    first = api.post(path, service("a"))["metadata"]["resourceVersion"]
    for name in ("b", "c"):
        api.post(path, service(name))
    with api.watch(path, resourceVersion=first) as watch:
        assert watch.brief(2) == [("ADDED", "b"), ("ADDED", "c")]


def test_objects_enter_and_leave_a_selection(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    version = api.post(path, config_map("a", {"color": "green"}))["metadata"]["resourceVersion"]
    with api.watch(path, resourceVersion=version, labelSelector="color=blue") as watch:
        for color in ("blue", "blue", "green", "blue"):
            patch = {"metadata": {"labels": {"color": color}}, "data": {"at": str(time.monotonic())}}
            last = api.ok("PATCH", f"{path}/a", patch, type=MERGE)
        api.ok("DELETE", f"{path}/a")
        events = [next(watch) for _ in range(5)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    # What left is shown as it last was in the selection.
    assert events[2]["object"]["metadata"]["labels"] == {"color": "blue"}
    assert events[3]["object"] == last


def test_a_field_selector_watches_one_object(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    version = api.get(path)["metadata"]["resourceVersion"]
    with api.watch(path, resourceVersion=version, fieldSelector="metadata.name=b") as watch:
        api.post(path, deployment("a", replicas=0))
        api.post(path, deployment("b", replicas=0))
        assert watch.brief(1) == [("ADDED", "b")]


def test_a_watch_ends_at_its_timeout(api: Api, namespace: str) -> None:
    started = time.monotonic()
    with api.watch(f"/api/v1/namespaces/{namespace}/services", timeoutSeconds="1") as watch:
        assert list(watch) == []
    assert 0.5 < time.monotonic() - started < 5


def test_a_streamed_list_ends_with_a_bookmark(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    api.post(path, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
    params = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    with api.watch(path, **params) as watch:
        first, mark = next(watch), next(watch)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["kind"] == "Service"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["object"]["metadata"]["resourceVersion"]) >= int(first["object"]["metadata"]["resourceVersion"])


def test_a_version_that_is_no_number_is_refused(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    query = {"resourceVersion": "yesterday"}
    assert api.refused(400, "GET", path, params=query)["reason"] == "BadRequest"
    # It is the server's fault there, it says, and gives no reason: clients that tell faults apart by code try again.
    for answer in (
        api.refused(500, "GET", path, params={"watch": "true", **query}),
        api.refused(500, "GET", f"{path}/none", params=query),
    ):
        assert "reason" not in answer
        assert 'Invalid value: "yesterday"' in answer["message"]


def test_a_timeout_or_a_limit_that_is_no_number_is_a_bad_request(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    api.refused(400, "GET", path, params={"watch": "true", "timeoutSeconds": "soon"})
    api.refused(400, "GET", path, params={"limit": "few"})


def test_initial_events_are_asked_for_in_full_or_not_at_all(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    api.refused(422, "GET", path, params={"watch": "true", "sendInitialEvents": "true"})


def test_a_watch_can_speak_tables(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    version = api.get(path)["metadata"]["resourceVersion"]
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    with api.watch(path, resourceVersion=version, headers=headers) as watch:
        for name in ("a", "b"):
            api.post(path, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
        events = [next(watch) for _ in range(2)]
    assert [event["object"]["kind"] for event in events] == ["Table", "Table"]
    assert [event["object"]["rows"][0]["cells"][0] for event in events] == ["a", "b"]
    assert events[0]["object"]["columnDefinitions"][0]["name"] == "Name"


def test_closing_a_watch_leaves_the_server_well(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    for _ in range(5):
        with api.watch(path, resourceVersion="0"):
            pass
    assert api.get(path)["items"] == []
