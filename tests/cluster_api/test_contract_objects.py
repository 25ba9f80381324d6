"""Objects, one at a time: create, read, replace, and every way in which that is refused."""

from __future__ import annotations

import pytest

from tests.cluster_api.harness import Api, Json, config_map, deployment, lease, pod, service, unique


def test_a_created_object_comes_back_with_what_the_server_adds(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    answer = api.call("POST", path, deployment("web"))
    assert answer.status_code == 201
    made: Json = answer.json()
    assert (made["kind"], made["apiVersion"]) == ("Deployment", "apps/v1")
    assert made["metadata"]["namespace"] == namespace
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    read = api.get(f"{path}/web")
    assert read["metadata"]["uid"] == made["metadata"]["uid"]


def test_a_deployment_gets_the_defaults_that_clients_rely_on(api: Api, namespace: str) -> None:
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 80}}
    spec = api.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    pod_spec = spec["template"]["spec"]
    assert pod_spec["restartPolicy"] == "Always"
    assert pod_spec["terminationGracePeriodSeconds"] == 30
    assert pod_spec["dnsPolicy"] == "ClusterFirst"
    container = pod_spec["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    probe = container["readinessProbe"]
    assert probe["httpGet"] == {"path": "/", "port": 80, "scheme": "HTTP"}
    assert [probe[name] for name in ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")] == [
        1,
        10,
        1,
        3,
    ]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("registry.invalid/web", "Always"),
        ("registry.invalid/web:latest", "Always"),
        ("registry.invalid:5000/web", "Always"),
        ("registry.invalid:5000/web:1", "IfNotPresent"),
        ("registry.invalid/web@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_from_the_tag(api: Api, namespace: str, image: str, policy: str) -> None:
    made = api.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web", image=image))
    assert made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_service_gets_its_defaults(api: Api, namespace: str) -> None:
    spec = api.post(f"/api/v1/namespaces/{namespace}/services", service("web"))["spec"]
    assert (spec["type"], spec["sessionAffinity"]) == ("ClusterIP", "None")
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_a_pod_starts_pending_with_its_quality_of_service(api: Api, namespace: str) -> None:
    made = api.post(f"/api/v1/namespaces/{namespace}/pods", pod("one"))
    assert made["status"]["phase"] == "Pending"
    assert made["status"]["qosClass"] == "BestEffort"


def test_a_secret_takes_plain_strings_and_keeps_them_encoded(api: Api, namespace: str) -> None:
    body = {"metadata": {"name": "key"}, "stringData": {"password": "hush"}}
    made = api.post(f"/api/v1/namespaces/{namespace}/secrets", body)
    assert made["type"] == "Opaque"
    assert made["data"] == {"password": "aHVzaA=="}
    assert "stringData" not in made


def test_a_generated_name_starts_with_what_was_asked_for(api: Api, namespace: str) -> None:
    body = {"metadata": {"generateName": "run-"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    names = {api.post(path, body)["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("run-") and len(name) == len("run-") + 5 for name in names)


def test_a_second_object_of_the_same_name_is_refused(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("web"))
    status = api.refused(409, "POST", path, deployment("web"))
    assert status["reason"] == "AlreadyExists"
    assert status["message"] == 'deployments.apps "web" already exists'
    assert status["details"] == {"name": "web", "group": "apps", "kind": "deployments"}


def test_an_object_that_is_not_there_is_named_in_the_refusal(api: Api, namespace: str) -> None:
    status = api.refused(404, "GET", f"/api/v1/namespaces/{namespace}/services/nothing")
    assert status["reason"] == "NotFound"
    assert status["message"] == 'services "nothing" not found'
    assert status["details"] == {"name": "nothing", "kind": "services"}


def test_nothing_is_created_in_a_namespace_that_is_not_there(api: Api) -> None:
    name = unique("nowhere")
    status = api.refused(404, "POST", f"/api/v1/namespaces/{name}/configmaps", config_map("a"))
    assert status["message"] == f'namespaces "{name}" not found'


def test_a_replacement_at_the_current_version_is_taken(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    made = api.post(path, deployment("web"))
    written = api.edit(f"{path}/web", lambda body: body["spec"].update(replicas=3))
    assert written["spec"]["replicas"] == 3
    assert written["metadata"]["generation"] == 2
    assert written["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]


def test_a_stale_replacement_is_a_conflict(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    stale = api.post(path, service("web"))
    newer = {**stale, "metadata": {**stale["metadata"], "labels": {"a": "b"}}}
    api.ok("PUT", f"{path}/web", newer)
    status = api.refused(409, "PUT", f"{path}/web", stale)
    assert status["reason"] == "Conflict"
    assert status["message"] == (
        'Operation cannot be fulfilled on services "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert status["details"] == {"name": "web", "kind": "services"}


def test_a_replacement_without_a_version_is_unconditional(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, config_map("a", x="1"))
    assert api.ok("PUT", f"{path}/a", config_map("a", x="2"))["data"] == {"x": "2"}


def test_a_lease_is_never_replaced_without_a_version(api: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    api.post(path, lease("lead", "one"))
    status = api.refused(422, "PUT", f"{path}/lead", lease("lead", "two"))
    assert "metadata.resourceVersion" in status["message"]
    assert api.get(f"{path}/lead")["spec"]["holderIdentity"] == "one"


@pytest.mark.parametrize("time", ["yesterday", "2026-11-23T14:00:00Z", "2026-11-23T14:00:00.5Z"])
def test_a_lease_is_renewed_at_a_time_with_microseconds_or_not_at_all(api: Api, namespace: str, time: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    body = lease("lead", "one")
    body["spec"]["renewTime"] = time
    assert api.refused(400, "POST", path, body)["reason"] == "BadRequest"
    body["spec"]["renewTime"] = "2026-11-23T14:00:00.000000Z"
    assert api.post(path, body)["spec"]["renewTime"] == "2026-11-23T14:00:00.000000Z"
    patch = {"spec": {"renewTime": time}}
    status = api.refused(422, "PATCH", f"{path}/lead", patch, type="application/merge-patch+json")
    assert [cause["field"] for cause in status["details"]["causes"]] == ["patch"]


def test_an_unchanged_replacement_keeps_the_version(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = api.post(path, config_map("a", x="1"))
    again = api.ok("PUT", f"{path}/a", made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_identity_cannot_be_rewritten(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = api.post(path, config_map("a"))
    older = {**made, "metadata": {**made["metadata"], "creationTimestamp": "2001-01-01T00:00:00Z"}}
    assert api.ok("PUT", f"{path}/a", older)["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    going = {**made, "metadata": {**made["metadata"], "deletionTimestamp": "2001-01-01T00:00:00Z"}}
    status = api.refused(422, "PUT", f"{path}/a", going)
    assert status["details"]["causes"][0]["field"] == "metadata.deletionTimestamp"
    other = {**made, "metadata": {**made["metadata"], "uid": "11111111-2222-3333-4444-555555555555"}}
    assert api.refused(409, "PUT", f"{path}/a", other)["reason"] == "Conflict"


def test_status_and_spec_are_written_through_different_doors(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    made = api.post(path, {**deployment("web"), "status": {"observedGeneration": 7}})
    assert made["status"].get("observedGeneration") != 7
    through_spec = api.edit(f"{path}/web", lambda body: body["status"].update(observedGeneration=5))
    assert through_spec["status"].get("observedGeneration") != 5

    def change_both(body: Json) -> None:
        body["status"] = {"observedGeneration": 1, "replicas": 1}
        body["spec"]["replicas"] = 9

    written = api.edit(f"{path}/web", change_both, to=f"{path}/web/status")
    assert written["status"]["observedGeneration"] == 1
    assert written["spec"]["replicas"] == 1
    assert written["metadata"]["generation"] == 1


def test_a_dry_run_answers_and_changes_nothing(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert api.call("POST", path, config_map("a"), params={"dryRun": "All"}).status_code == 201
    api.refused(404, "GET", f"{path}/a")
    made = api.post(path, config_map("a", x="1"))
    tried = api.ok("PUT", f"{path}/a", {**made, "data": {"x": "2"}}, params={"dryRun": "All"})
    assert tried["data"] == {"x": "2"}
    api.ok("DELETE", f"{path}/a", params={"dryRun": "All"})
    assert api.get(f"{path}/a")["data"] == {"x": "1"}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"metadata": {}}, 422, "metadata.name"),
        ({"metadata": {"name": "Not_A_Name"}}, 422, "metadata.name"),
        ({"metadata": {"name": "a", "labels": {"bad key": "x"}}}, 422, "metadata.labels"),
        ({"metadata": {"name": "a", "labels": {"k": "not a value"}}}, 422, "metadata.labels"),
    ],
)
def test_bad_metadata_is_refused_with_the_field(api: Api, namespace: str, change: Json, code: int, field: str) -> None:
    status = api.refused(code, "POST", f"/api/v1/namespaces/{namespace}/configmaps", change)
    assert status["reason"] == "Invalid"
    assert field in [cause["field"] for cause in status["details"]["causes"]]


def _without_selector(body: Json) -> None:
    del body["spec"]["selector"]


def _with_other_labels(body: Json) -> None:
    body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}


def _without_containers(body: Json) -> None:
    body["spec"]["template"]["spec"]["containers"] = []


def _without_image(body: Json) -> None:
    del body["spec"]["template"]["spec"]["containers"][0]["image"]


def _with_negative_size(body: Json) -> None:
    body["spec"]["replicas"] = -1


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (_without_selector, "spec.selector"),
        (_with_other_labels, "spec.template.metadata.labels"),
        (_without_containers, "spec.template.spec.containers"),
        (_without_image, "spec.template.spec.containers[0].image"),
        (_with_negative_size, "spec.replicas"),
    ],
)
def test_a_deployment_that_cannot_work_is_refused_with_the_field(
    api: Api, namespace: str, spoil: object, field: str
) -> None:
    body = deployment("web")
    assert callable(spoil)
    spoil(body)
    status = api.refused(422, "POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    assert status["reason"] == "Invalid"
    assert status["details"]["kind"] == "Deployment"
    assert field in [cause["field"] for cause in status["details"]["causes"]]


def test_a_value_of_the_wrong_type_is_a_bad_request(api: Api, namespace: str) -> None:
    body = deployment("web")
    body["spec"]["replicas"] = "three"
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert api.refused(400, "POST", path, body)["reason"] == "BadRequest"
    api.post(path, deployment("web", replicas=0))
    # In a patch it is the patch that is wrong.
    for kind in ("merge-patch", "strategic-merge-patch"):
        patch = {"spec": {"replicas": "three"}}
        status = api.refused(422, "PATCH", f"{path}/web", patch, type=f"application/{kind}+json")
        assert [cause["field"] for cause in status["details"]["causes"]] == ["patch"]


def test_what_is_immutable_stays(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    made = api.post(path, deployment("web"))
    del made["metadata"]["resourceVersion"]
    made["spec"]["selector"]["matchLabels"] = {"app": "other"}
    made["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    status = api.refused(422, "PUT", f"{path}/web", made)
    assert "spec.selector" in [cause["field"] for cause in status["details"]["causes"]]
    assert "field is immutable" in status["message"]


def test_of_a_pod_only_the_image_changes(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    made = api.post(path, pod("one"))
    made["spec"]["containers"][0]["image"] = "registry.invalid/web:2"
    made = api.ok("PUT", f"{path}/one", made)
    made["spec"]["containers"][0]["command"] = ["sh"]
    status = api.refused(422, "PUT", f"{path}/one", made)
    assert "pod updates may not change fields other than" in status["message"]


def test_a_service_keeps_its_address_when_a_replacement_leaves_it_out(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    made = api.post(path, service("web"))
    replaced = api.ok("PUT", f"{path}/web", service("web", color="green"))
    assert replaced["spec"].get("clusterIP") == made["spec"].get("clusterIP")
    assert replaced["spec"]["selector"] == {"color": "green"}


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{not json", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}', "application/json", 400),
        (b'{"kind": "ConfigMap", "apiVersion": "v7", "metadata": {"name": "a"}}', "application/json", 400),
        (b'{"metadata": {"name": "a", "namespace": "elsewhere"}}', "application/json", 400),
        (b"<a/>", "application/xml", 415),
    ],
    ids=["not JSON", "a list", "another kind", "another version", "another namespace", "another format"],
)
def test_a_body_that_does_not_belong_here_is_refused(
    api: Api, namespace: str, body: bytes, kind: str, code: int
) -> None:
    api.refused(code, "POST", f"/api/v1/namespaces/{namespace}/configmaps", body, type=kind)


def test_a_body_may_be_yaml(api: Api, namespace: str) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: 'y'\n"
    made = api.ok("POST", f"/api/v1/namespaces/{namespace}/configmaps", text, type="application/yaml")
    assert made["data"] == {"x": "y"}


def test_a_name_that_is_not_the_one_in_the_path_is_refused(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, config_map("a"))
    status = api.refused(400, "PUT", f"{path}/a", config_map("b"))
    assert status["message"] == "the name of the object (b) does not match the name on the URL (a)"


@pytest.mark.parametrize("path", ["/api/v1/nonsense", "/apis/apps/v1/nonsense", "/apis/no.such.group/v1/things"])
def test_a_resource_that_is_not_served_is_not_found(api: Api, path: str) -> None:
    assert api.call("GET", path).status_code == 404


def test_a_method_that_makes_no_sense_is_not_allowed(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert api.call("PUT", path, config_map("a")).status_code == 405
    assert api.call("POST", f"{path}/a", config_map("a")).status_code == 405


def test_an_answer_nobody_here_can_give_is_not_acceptable(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert api.call("GET", path, headers={"Accept": "image/png"}).status_code == 406


def test_a_client_that_prefers_protobuf_and_takes_json_is_served(api: Api, namespace: str) -> None:
    headers = {"Accept": "application/vnd.kubernetes.protobuf,application/json"}
    answer = api.call("GET", f"/api/v1/namespaces/{namespace}", headers=headers)
    assert answer.ok
    assert answer.headers["Content-Type"] in ("application/json", "application/vnd.kubernetes.protobuf")


def test_scale_reads_and_writes_the_size(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("web", replicas=2))
    scale = api.get(f"{path}/web/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"]["selector"] == "app=web"
    written = api.edit(f"{path}/web/scale", lambda found: found["spec"].update(replicas=4))
    assert written["spec"] == {"replicas": 4}
    assert api.get(f"{path}/web")["spec"]["replicas"] == 4
    assert api.refused(409, "PUT", f"{path}/web/scale", scale)["reason"] == "Conflict"
    patch = {"spec": {"replicas": 0}}
    patched = api.ok("PATCH", f"{path}/web/scale", patch, type="application/merge-patch+json")
    assert patched["spec"].get("replicas", 0) == 0
    assert api.get(f"{path}/web")["spec"]["replicas"] == 0
