"""What only the embedded API server does, or does in a way that one can wait for."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.cluster_api.harness import (
    DEADLINE,
    Api,
    config_map,
    deployment,
    embedded,
    lease,
    pod,
    service,
    unique,
    until,
    widget_crd,
)
from watcher.demo.cluster.resources import CONFIG_MAP, POD
from watcher.demo.cluster.store import HISTORY, Store


def _change_often(store: Store) -> None:
    """So many changes in one breath that the history forgets what was before."""
    for number in range(HISTORY + 1):
        body = store.get(CONFIG_MAP, "default", "a")
        store.replace(CONFIG_MAP, {**body, "data": {"n": str(number)}})


def test_without_the_token_nothing_is_told_but_health_and_version() -> None:
    token = unique("token")
    with embedded(token=token) as running, requests.Session() as session:
        stranger = Api(running.url, session=session)
        status = stranger.refused(401, "GET", "/api/v1/pods")
        assert (status["reason"], status["message"]) == ("Unauthorized", "Unauthorized")
        stranger.refused(401, "GET", "/api/v1/pods", headers={"Authorization": "Bearer other"})
        assert stranger.call("GET", "/readyz").text == "ok"
        friend = Api(running.url, token=token, session=session)
        assert friend.get("/api/v1/pods")["items"] == []


def test_a_service_gets_its_address_from_the_hook_unless_it_is_headless() -> None:
    with embedded(cluster_ip=lambda: "10.96.0.9") as running, requests.Session() as session:
        api = Api(running.url, session=session)
        path = "/api/v1/namespaces/default/services"
        spec = api.post(path, service("web"))["spec"]
        assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.96.0.9", ["10.96.0.9"])
        headless = service("quiet")
        headless["spec"]["clusterIP"] = "None"
        assert api.post(path, headless)["spec"]["clusterIP"] == "None"
        moved = api.get(f"{path}/web")
        moved["spec"]["clusterIP"] = moved["spec"]["clusterIPs"][0] = "10.96.0.10"
        assert "field is immutable" in api.refused(422, "PUT", f"{path}/web", moved)["message"]


def test_a_watch_from_a_forgotten_version_is_gone() -> None:
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        path = "/api/v1/namespaces/default/configmaps"
        version = api.post(path, config_map("a"))["metadata"]["resourceVersion"]
        running.inside(lambda: _change_often(running.store))
        status = api.refused(410, "GET", path, params={"watch": "true", "resourceVersion": version})
        assert status["reason"] == "Expired"
        # So is one from a version that is yet to come: it belongs to another life of this server.
        api.refused(410, "GET", path, params={"watch": "true", "resourceVersion": "99999999"})


def test_a_running_watch_that_falls_too_far_behind_ends_with_an_error() -> None:
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        path = "/api/v1/namespaces/default/configmaps"
        version = api.post(path, config_map("a"))["metadata"]["resourceVersion"]
        with api.watch(path, resourceVersion=version) as watch:
            running.inside(lambda: _change_often(running.store))
            event = next(watch)
        assert event["type"] == "ERROR"
        assert (event["object"]["kind"], event["object"]["code"]) == ("Status", 410)


def test_watches_end_when_the_server_stops() -> None:
    ended = threading.Event()
    with requests.Session() as session:
        with embedded() as running:
            api = Api(running.url, session=session)

            def follow() -> None:
                with api.watch("/api/v1/pods", resourceVersion="0", timeoutSeconds="60") as watch:
                    assert list(watch) == []
                ended.set()

            thread = threading.Thread(target=follow)
            thread.start()
            until(lambda: running.inside(lambda: len(running.server.server_state.tasks)) == 1)
        assert ended.wait(DEADLINE)
        thread.join()


def test_a_pod_on_a_node_is_marked_and_left_to_its_kubelet() -> None:
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        path = "/api/v1/namespaces/default/pods"
        api.post(path, pod("one"))
        running.inside(
            lambda: running.store.update(POD, "default", "one", lambda found: found["spec"].update(nodeName="here"))
        )
        going = api.ok("DELETE", f"{path}/one")["metadata"]
        assert going["deletionGracePeriodSeconds"] == 30
        assert going["deletionTimestamp"] > going["creationTimestamp"]
        # What the kubelet still has to say does not end the pod early.
        api.ok("PATCH", f"{path}/one/status", {"status": {"phase": "Running"}}, type="application/merge-patch+json")
        sooner = api.ok("DELETE", f"{path}/one", params={"gracePeriodSeconds": 5})["metadata"]
        assert sooner["deletionGracePeriodSeconds"] == 5
        assert sooner["deletionTimestamp"] < going["deletionTimestamp"]
        api.ok("DELETE", f"{path}/one", {"kind": "DeleteOptions", "gracePeriodSeconds": 0})
        api.refused(404, "GET", f"{path}/one")


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_foreground_and_orphan_deletion_wait_for_the_collector(policy: str, finalizer: str) -> None:
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        path = "/api/v1/namespaces/default/configmaps"
        api.post(path, config_map("a"))
        going = api.ok("DELETE", f"{path}/a", params={"propagationPolicy": policy})
        assert going["metadata"]["finalizers"] == [finalizer]
        assert going["metadata"]["deletionTimestamp"]


def test_a_log_is_followed_until_the_pod_has_ended() -> None:
    written = ["one\n"]
    with (
        embedded(pod_logs=lambda _namespace, _name, _container, _previous: "".join(written)) as running,
        requests.Session() as session,
    ):
        api = Api(running.url, session=session)
        path = "/api/v1/namespaces/default/pods"
        api.post(path, pod("one"))
        url = f"{running.url}{path}/one/log"
        with session.get(url, params={"follow": "true"}, stream=True, timeout=DEADLINE) as answer:
            lines = answer.iter_lines(chunk_size=1)
            assert next(lines) == b"one"
            written.append("two\n")
            assert next(lines) == b"two"
            api.ok("PATCH", f"{path}/one/status", {"status": {"phase": "Failed"}}, type="application/merge-patch+json")
            assert list(lines) == []


def test_a_pod_without_logs_says_what_it_waits_for() -> None:
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        api.post("/api/v1/namespaces/default/pods", pod("one"))
        status = api.refused(400, "GET", "/api/v1/namespaces/default/pods/one/log")
        assert status["message"] == 'container "web" in pod "one" is waiting to start: ContainerCreating'


def test_a_body_that_is_too_large_is_refused() -> None:
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        body = config_map("a", x="x" * (3 * 1024 * 1024))
        status = api.refused(413, "POST", "/api/v1/namespaces/default/configmaps", body)
        assert status["reason"] == "RequestEntityTooLarge"


def test_protobuf_bodies_are_refused_in_words() -> None:
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        kind = "application/vnd.kubernetes.protobuf"
        status = api.refused(415, "POST", "/api/v1/namespaces", b"k8s\0", type=kind)
        assert "application/json" in status["message"]


_ODD: list[Any] = [None, 0, -1, 1.5, "", True, "x", [], {}, [None], [{}], {"a": None}, "x" * 300]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from _places(part, (*path, name))


def _spoil(value: Any, dice: random.Random) -> Any:
    """The same with something odd in one place."""
    spoiled = copy.deepcopy(value)
    path = dice.choice(list(_places(spoiled))[1:])
    part = spoiled
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = copy.deepcopy(dice.choice(_ODD))
    return spoiled


@pytest.mark.parametrize("seed", range(3))
def test_no_body_however_odd_makes_the_server_fail(seed: int) -> None:
    dice = random.Random(seed)
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "web", "restartCount": 1, "state": {"terminated": {"exitCode": 1}}}],
    }
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    kinds = [
        ("/apis/apps/v1/namespaces/default/deployments", deployment("web", replicas=1)),
        ("/api/v1/namespaces/default/services", service("web")),
        ("/api/v1/namespaces/default/pods", pod("web")),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases", lease("web", "me")),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget_crd("odd.example.test")),
    ]
    patches = ("merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
    with embedded() as running, requests.Session() as session:
        api = Api(running.url, session=session)
        for _ in range(120):
            path, body = dice.choice(kinds)
            own = f"{path}/{body['metadata']['name']}"
            kind = f"application/{dice.choice(patches)}"
            answers = [
                api.call("POST", path, _spoil(body, dice)),
                api.call("POST", path, body),
                api.call("PATCH", own, _spoil(body, dice), type=kind),
                api.call("PATCH", f"{own}/status", {"status": _spoil(status, dice)}, type=kind),
                api.call("GET", path, headers=table),
                api.call("DELETE", own),
            ]
            # A 500 that was meant to be one, as the real server gives it, has no reason.
            assert [answer.text for answer in answers if answer.status_code >= 500 and "reason" in answer.json()] == []
