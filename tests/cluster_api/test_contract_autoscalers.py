"""HorizontalPodAutoscalers: their defaults, what is refused, and a minimum that is changed by compare-and-swap."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster_api.harness import Api, Json

MERGE = "application/merge-patch+json"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def autoscaler(name: str, **spec: Any) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body: Json = {"metadata": {"name": name}, "spec": {"scaleTargetRef": target, "maxReplicas": 5, **spec}}
    return body


@pytest.fixture
def path(namespace: str) -> str:
    return f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"


def test_an_autoscaler_gets_a_minimum_and_something_to_aim_at(api: Api, path: str) -> None:
    made = api.post(path, autoscaler("web"))
    assert (made["kind"], made["apiVersion"]) == ("HorizontalPodAutoscaler", "autoscaling/v2")
    assert made["spec"]["minReplicas"] == 1
    target = {"type": "Utilization", "averageUtilization": 80}
    assert made["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert api.get(f"{path}/web")["spec"] == made["spec"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"maxReplicas": 0}, "spec.maxReplicas: Required value: must be set and greater than 0"),
        ({"maxReplicas": -1}, "spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1"),
        ({"minReplicas": -1}, "spec.minReplicas: Invalid value: -1: must be greater than or equal to 1"),
        ({"minReplicas": 6}, "spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`"),
        ({"scaleTargetRef": {"kind": "Deployment"}}, "spec.scaleTargetRef.name: Required value"),
        ({"scaleTargetRef": {"name": "web"}}, "spec.scaleTargetRef.kind: Required value"),
    ],
)
def test_an_autoscaler_that_makes_no_sense_is_refused(api: Api, path: str, spec: Json, said: str) -> None:
    status = api.refused(422, "POST", path, autoscaler("web", **spec))
    assert said in status["message"]
    assert (status["reason"], status["details"]["group"]) == ("Invalid", "autoscaling")


def test_a_minimum_and_a_note_beside_it_are_changed_in_one_request_at_the_version_that_was_read(
    api: Api, path: str
) -> None:
    made = api.post(path, autoscaler("web"))
    change = {
        "metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "annotations": {"a/b": "1"}},
        "spec": {"minReplicas": 3},
    }
    changed = api.ok("PATCH", f"{path}/web", change, type=MERGE)
    assert (changed["spec"]["minReplicas"], changed["metadata"]["annotations"]) == (3, {"a/b": "1"})
    assert changed["spec"]["maxReplicas"] == 5
    status = api.refused(409, "PATCH", f"{path}/web", change, type=MERGE)
    assert status["reason"] == "Conflict"
    back = {"metadata": {"annotations": {"a/b": None}}, "spec": {"minReplicas": 1}}
    given_back = api.ok("PATCH", f"{path}/web", back, type=MERGE)
    assert given_back["spec"] == made["spec"]
    assert not given_back["metadata"].get("annotations")


def test_a_minimum_above_the_maximum_is_refused_and_changes_nothing(api: Api, path: str) -> None:
    api.post(path, autoscaler("web"))
    api.refused(422, "PATCH", f"{path}/web", {"spec": {"minReplicas": 6}}, type=MERGE)
    assert api.get(f"{path}/web")["spec"]["minReplicas"] == 1


def test_status_is_a_part_of_its_own(api: Api, path: str) -> None:
    api.post(path, {**autoscaler("web"), "status": {"currentReplicas": 4, "desiredReplicas": 4}})
    said = {"status": {"currentReplicas": 2, "desiredReplicas": 3}, "spec": {"minReplicas": 4}}
    written = api.ok("PATCH", f"{path}/web/status", said, type=MERGE)
    assert (written["status"]["desiredReplicas"], written["spec"]["minReplicas"]) == (3, 1)


def test_a_watch_tells_of_a_changed_minimum(api: Api, path: str) -> None:
    made = api.post(path, autoscaler("web"))
    with api.watch(path, resourceVersion=made["metadata"]["resourceVersion"]) as events:
        api.ok("PATCH", f"{path}/web", {"spec": {"minReplicas": 2}}, type=MERGE)
        told = next(e for e in events if e["object"]["spec"]["minReplicas"] == 2)
        assert told["type"] == "MODIFIED"
        api.ok("DELETE", f"{path}/web")
        assert any(e["type"] == "DELETED" for e in events)


def test_a_table_shows_its_target_and_its_bounds(api: Api, path: str) -> None:
    api.post(path, autoscaler("web", minReplicas=2))
    table = api.ok("GET", path, headers=TABLE)
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns == ["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"]
    assert table["rows"][0]["cells"][:6] == ["web", "Deployment/web", "cpu: <unknown>/80%", "2", 5, 0]


def test_an_unknown_group_version_of_autoscalers_is_not_found(api: Api, namespace: str) -> None:
    old = f"/apis/autoscaling/v2beta2/namespaces/{namespace}/horizontalpodautoscalers"
    assert api.call("GET", old).status_code == 404
