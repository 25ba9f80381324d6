"""Jobs that run: how they end, what their pods show, and what goes when they do. The same on every cluster.

Put to an embedded cluster with its controllers and processes, or to the one that the environment names (see
tests/cluster_api/harness.py), which has the images of the example platform.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster_api.harness import Api, Json, config_map, outside, unique, until
from watcher.demo.cluster.launcher import running_cluster
from watcher.demo.platform import manifests

IMAGE = manifests.image(manifests.LIVE_VERSION)
LONG = 60.0
"""Seconds that a pod may take on a machine with other work to do."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    other = outside()
    if other is not None:
        with other.session:
            yield other
        return
    images = tmp_path_factory.mktemp("jobs") / "images.json"
    images.write_text(json.dumps({"chat:*": {"command": ["python3"]}}), "utf-8")
    with running_cluster(images) as cluster:
        found = Api(cluster.server, cluster.token)
        with found.session:
            yield found


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    name = unique("contract")
    api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    until(lambda: api.call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").ok)
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}")


class Work:
    """The Jobs of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    def start(self, program: str, *, image: str = IMAGE, init: str = "", owner: Json | None = None, **spec: Any) -> str:
        """A Job named verify that runs a Python program."""
        pod: Json = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
        pod["containers"] = [{"name": "check", "image": image, "command": ["python3", "-c", program]}]
        if init:
            pod["initContainers"] = [{"name": "first", "image": image, "command": ["python3", "-c", init]}]
        meta: Json = {"name": "verify", "ownerReferences": [owner] if owner else []}
        self.api.post(self.jobs, {"metadata": meta, "spec": {"backoffLimit": 0, "template": {"spec": pod}, **spec}})
        return f"{self.jobs}/verify"

    def conditions(self) -> dict[str, str]:
        rows = self.status().get("conditions") or ()
        return {row["type"]: row["reason"] for row in rows if row["status"] == "True"}

    def status(self) -> Json:
        found: Json = self.api.get(f"{self.jobs}/verify").get("status") or {}
        return found

    def ended(self) -> dict[str, str]:
        until(lambda: self.conditions().keys() & {"Complete", "Failed"}, LONG)
        return self.conditions()

    def pods(self) -> list[Json]:
        found: list[Json] = self.api.get(self._pods, labelSelector="batch.kubernetes.io/job-name=verify")["items"]
        return found

    def log(self, pod: Json, **query: str) -> Any:
        return self.api.call("GET", f"{self._pods}/{pod['metadata']['name']}/log", params=query)

    def gone(self) -> bool:
        return self.api.call("GET", f"{self.jobs}/verify").status_code == 404


@pytest.fixture
def work(api: Api, namespace: str) -> Work:
    return Work(api, namespace)


def test_a_job_that_ends_well_is_complete_and_its_log_can_be_read(work: Work) -> None:
    work.start("print('one'); print('two'); print('three')")
    assert work.ended() == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    status = work.status()
    assert (status["succeeded"], status["ready"], status["terminating"]) == (1, 0, 0)
    assert not {"active", "failed"} & status.keys()
    assert status["startTime"] <= status["completionTime"]
    (pod,) = work.pods()
    assert pod["status"]["phase"] == "Succeeded"
    assert work.log(pod, container="check", tailLines="2").text == "two\nthree\n"


def test_a_job_that_fails_shows_its_exit_code_and_its_last_lines(work: Work) -> None:
    work.start("import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)")
    assert work.ended() == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    status = work.status()
    assert (status["failed"], status["ready"]) == (1, 0)
    assert not {"active", "succeeded", "completionTime"} & status.keys()
    (pod,) = work.pods()
    (container,) = pod["status"]["containerStatuses"]
    assert pod["status"]["phase"] == "Failed"
    assert (container["state"]["terminated"]["exitCode"], container["state"]["terminated"]["reason"]) == (3, "Error")
    assert sorted(work.log(pod, tailLines="2").text.split()) == ["a", "b"]


def test_a_job_is_tried_again_as_often_as_asked(work: Work) -> None:
    work.start("raise SystemExit(1)", backoffLimit=1)
    assert work.ended()["Failed"] == "BackoffLimitExceeded"
    assert work.status()["failed"] == len(work.pods()) == 2


def test_an_init_container_that_fails_fails_the_job(work: Work) -> None:
    work.start("print('never')", init="print('no database'); raise SystemExit(4)")
    assert "Failed" in work.ended()
    (pod,) = work.pods()
    (first,) = pod["status"]["initContainerStatuses"]
    assert first["state"]["terminated"]["exitCode"] == 4
    assert work.log(pod, container="first").text == "no database\n"


def test_a_job_that_takes_too_long_has_ended_when_its_pod_has(work: Work) -> None:
    path = work.start("import time; print('waiting', flush=True); time.sleep(600)")
    until(lambda: work.status().get("ready") == 1, LONG)
    assert work.status()["active"] == 1
    until(lambda: work.log(work.pods()[0]).text == "waiting\n", LONG)
    work.api.ok("PATCH", path, {"spec": {"activeDeadlineSeconds": 1}}, type="application/merge-patch+json")
    until(lambda: work.conditions().get("FailureTarget") == "DeadlineExceeded", LONG)
    assert work.ended() == {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"}
    status = work.status()
    assert (status["failed"], status["ready"]) == (1, 0)
    assert "active" not in status
    until(lambda: not work.pods(), LONG)


def test_a_job_whose_image_does_not_exist_waits_and_says_so_in_its_pod(work: Work) -> None:
    path = work.start("print(1)", image="images.invalid/check:1")

    def waits() -> bool:
        rows = [row for pod in work.pods() for row in pod["status"].get("containerStatuses") or ()]
        reasons = {(row["state"].get("waiting") or {}).get("reason") for row in rows}
        return bool(reasons & {"ErrImagePull", "ImagePullBackOff"})

    until(waits, LONG)
    assert (work.status()["active"], work.status()["ready"], work.conditions()) == (1, 0, {})
    refused = work.log(work.pods()[0])
    assert refused.status_code == 400
    assert refused.json()["message"].partition("is waiting to start: ")[2] in (
        "image can't be pulled",
        "trying and failing to pull image",
    )
    work.api.ok("DELETE", path, params={"propagationPolicy": "Background"})
    assert work.gone()
    until(lambda: not work.pods(), LONG)


@pytest.mark.parametrize(
    ("query", "code"), [({"tailLines": "x"}, 400), ({"tailLines": "-1"}, 422), ({"limitBytes": "0"}, 422)]
)
def test_a_log_is_not_read_by_measures_that_make_no_sense(work: Work, query: dict[str, str], code: int) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": IMAGE}], "schedulerName": "nobody"}
    path = work.jobs.replace("/apis/batch/v1", "/api/v1").replace("/jobs", "/pods")
    work.api.post(path, {"metadata": {"name": "a"}, "spec": pod})
    assert work.api.refused(code, "GET", f"{path}/a/log", params=query)["reason"] in ("BadRequest", "Invalid")


def test_a_suspended_job_waits_and_then_starts(work: Work) -> None:
    path = work.start("print(1)", suspend=True)
    until(lambda: work.conditions() == {"Suspended": "JobSuspended"}, LONG)
    assert "startTime" not in work.status()
    assert work.pods() == []
    work.api.ok("PATCH", path, {"spec": {"suspend": False}}, type="application/merge-patch+json")
    assert "Complete" in work.ended()
    assert "Suspended" not in work.conditions()


def test_a_finished_job_goes_with_its_pods_when_its_time_is_up(work: Work) -> None:
    work.start("print(1)", ttlSecondsAfterFinished=1)
    until(work.gone, LONG)
    until(lambda: not work.pods(), LONG)


def test_a_job_and_its_pods_go_with_what_owns_the_job(work: Work, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = work.api.post(maps, config_map("release"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "release", "uid": owner["metadata"]["uid"]}
    work.start("print(1)", owner=reference)
    assert "Complete" in work.ended()
    work.api.ok("DELETE", f"{maps}/release")
    until(work.gone, LONG)
    until(lambda: not work.pods(), LONG)


def test_pods_stay_behind_and_belong_to_nobody_when_a_job_is_deleted_without_a_word(work: Work) -> None:
    path = work.start("print(1)")
    assert "Complete" in work.ended()
    work.api.ok("DELETE", path)
    until(work.gone, LONG)
    (pod,) = work.pods()
    assert "ownerReferences" not in pod["metadata"]
