"""The Python client that the daemon uses, against any API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, watch

from tests.cluster_api.harness import DEADLINE, Api, deployment, lease, pod, service


@pytest.fixture
def connection(api: Api) -> Iterator[client.ApiClient]:
    config = client.Configuration()
    config.host = api.url
    config.retries = False
    if api.token:
        config.api_key = {"authorization": f"Bearer {api.token}"}
    if api.ca:
        config.ssl_ca_cert = api.ca
    with client.ApiClient(config) as found:
        yield found


def test_a_deployment_is_created_read_scaled_and_deleted(connection: client.ApiClient, namespace: str) -> None:
    apps: Any = client.AppsV1Api(connection)
    apps.create_namespaced_deployment(namespace, deployment("web", replicas=0), _request_timeout=DEADLINE)
    found = apps.read_namespaced_deployment("web", namespace, _request_timeout=DEADLINE)
    assert found.spec.template.spec.containers[0].image == "registry.invalid/web:1"
    scale = {"spec": {"replicas": 2}}
    apps.patch_namespaced_deployment_scale("web", namespace, scale, _request_timeout=DEADLINE)
    listed = apps.list_namespaced_deployment(namespace, _request_timeout=DEADLINE)
    assert [(item.metadata.name, item.spec.replicas) for item in listed.items] == [("web", 2)]
    apps.delete_namespaced_deployment("web", namespace, _request_timeout=DEADLINE)
    with pytest.raises(client.ApiException) as refusal:
        apps.read_namespaced_deployment("web", namespace, _request_timeout=DEADLINE)
    assert refusal.value.status == 404


def test_a_list_as_body_is_a_json_patch_and_its_failing_test_is_422(
    connection: client.ApiClient, namespace: str
) -> None:
    core: Any = client.CoreV1Api(connection)
    core.create_namespaced_service(namespace, service("web", color="blue"), _request_timeout=DEADLINE)
    flip = [
        {"op": "test", "path": "/spec/selector/color", "value": "blue"},
        {"op": "replace", "path": "/spec/selector/color", "value": "green"},
    ]
    flipped = core.patch_namespaced_service("web", namespace, flip, field_manager="test", _request_timeout=DEADLINE)
    assert flipped.spec.selector == {"color": "green"}
    with pytest.raises(client.ApiException) as refusal:
        core.patch_namespaced_service("web", namespace, flip, field_manager="test", _request_timeout=DEADLINE)
    assert refusal.value.status == 422


def test_a_custom_resource_is_merged(connection: client.ApiClient, group: str, namespace: str) -> None:
    custom: Any = client.CustomObjectsApi(connection)
    body = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "one"},
        "spec": {"size": 3},
    }
    where = (group, "v1", namespace, "widgets")
    custom.create_namespaced_custom_object(*where, body, _request_timeout=DEADLINE)
    custom.patch_namespaced_custom_object_status(
        *where,
        "one",
        {"status": {"phase": "Ready"}},
        _content_type="application/merge-patch+json",
        _request_timeout=DEADLINE,
    )
    found = custom.get_namespaced_custom_object(*where, "one", _request_timeout=DEADLINE)
    assert found["status"] == {"phase": "Ready"}


def test_a_watch_brings_typed_objects(connection: client.ApiClient, namespace: str) -> None:
    core: Any = client.CoreV1Api(connection)
    version = core.list_namespaced_pod(namespace, _request_timeout=DEADLINE).metadata.resource_version
    core.create_namespaced_pod(namespace, pod("one"), _request_timeout=DEADLINE)
    core.delete_namespaced_pod("one", namespace, _request_timeout=DEADLINE)
    watcher = watch.Watch()
    seen = []
    for event in watcher.stream(
        core.list_namespaced_pod,
        namespace,
        resource_version=version,
        timeout_seconds=5,
        _request_timeout=DEADLINE,
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
    assert seen[0] == ("ADDED", "one")
    assert seen[-1] == ("DELETED", "one")


def test_a_lease_is_taken_by_one_of_two(connection: client.ApiClient, namespace: str) -> None:
    coordination: Any = client.CoordinationV1Api(connection)
    coordination.create_namespaced_lease(namespace, lease("lead", "nobody"), _request_timeout=DEADLINE)
    one = coordination.read_namespaced_lease("lead", namespace, _request_timeout=DEADLINE)
    two = coordination.read_namespaced_lease("lead", namespace, _request_timeout=DEADLINE)
    one.spec.holder_identity, two.spec.holder_identity = "one", "two"
    coordination.replace_namespaced_lease("lead", namespace, one, _request_timeout=DEADLINE)
    with pytest.raises(client.ApiException) as refusal:
        coordination.replace_namespaced_lease("lead", namespace, two, _request_timeout=DEADLINE)
    assert refusal.value.status == 409
    held = coordination.read_namespaced_lease("lead", namespace, _request_timeout=DEADLINE)
    assert held.spec.holder_identity == "one"
