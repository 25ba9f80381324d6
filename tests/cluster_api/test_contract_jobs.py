"""Jobs as the API keeps them: what it adds, what it refuses. Nothing runs here; see tests/cluster_run for that."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster_api.harness import Api, Json

MERGE = "application/merge-patch+json"
OWN = ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name")


def job(name: str, *, policy: str | None = "Never", labels: dict[str, str] | None = None, **spec: Any) -> Json:
    """A Job that is suspended, so that no controller starts it."""
    pod = {"containers": [{"name": "check", "image": "registry.invalid/check:1"}]}
    template = {"metadata": {"labels": labels or {}}, "spec": pod | ({"restartPolicy": policy} if policy else {})}
    body = {"metadata": {"name": name}, "spec": {"suspend": True, "template": template, **spec}}
    return {"apiVersion": "batch/v1", "kind": "Job", **body}


@pytest.fixture
def jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def test_a_job_gets_the_defaults_that_clients_rely_on(api: Api, jobs: str) -> None:
    spec = api.post(jobs, job("verify"))["spec"]
    names = ("parallelism", "completions", "backoffLimit", "completionMode", "manualSelector", "podReplacementPolicy")
    assert [spec[name] for name in names] == [1, 1, 6, "NonIndexed", False, "TerminatingOrFailed"]


def test_a_jobs_pods_are_told_from_others_by_its_uid_and_found_by_its_name(api: Api, jobs: str) -> None:
    made = api.post(jobs, job("verify", labels={"tier": "check"}))
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels == {"tier": "check"} | dict(zip(OWN, [made["metadata"]["uid"], "verify"] * 2, strict=True))
    assert made["spec"]["selector"] == {"matchLabels": {OWN[0]: made["metadata"]["uid"]}}


def test_a_job_without_labels_takes_those_of_its_pods(api: Api, jobs: str) -> None:
    made = api.post(jobs, job("verify", labels={"tier": "check"}))
    assert made["metadata"]["labels"]["tier"] == "check"
    body = job("labelled")
    body["metadata"]["labels"] = {"mine": "1"}
    assert api.post(jobs, body)["metadata"]["labels"] == {"mine": "1"}


def test_a_generated_name_is_in_the_labels_too(api: Api, jobs: str) -> None:
    body = job("")
    body["metadata"] = {"generateName": "verify-"}
    made = api.post(jobs, body)
    assert made["metadata"]["name"].startswith("verify-")
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == made["metadata"]["name"]


def test_a_second_job_of_the_same_name_is_refused(api: Api, jobs: str) -> None:
    api.post(jobs, job("verify"))
    status = api.refused(409, "POST", jobs, job("verify"))
    assert (status["reason"], status["message"]) == ("AlreadyExists", 'jobs.batch "verify" already exists')


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (job("a", policy="Always"), "spec.template.spec.restartPolicy", "FieldValueRequired"),
        (job("a", policy=None), "spec.template.spec.restartPolicy", "FieldValueRequired"),
        (job("a", backoffLimit=-1), "spec.backoffLimit", "FieldValueInvalid"),
        (job("a", activeDeadlineSeconds=-1), "spec.activeDeadlineSeconds", "FieldValueInvalid"),
        (job("a", ttlSecondsAfterFinished=-1), "spec.ttlSecondsAfterFinished", "FieldValueInvalid"),
        (job("a", selector={"matchLabels": {"a": "b"}}), "spec.selector", "FieldValueInvalid"),
        (job("a", labels={"job-name": "b"}), "spec.template.metadata.labels[job-name]", "FieldValueInvalid"),
        (job("a" * 64), "spec.template.labels", "FieldValueInvalid"),
    ],
    ids=["always", "no policy", "retries", "deadline", "ttl", "a selector", "a label of its own", "a long name"],
)
def test_a_job_that_cannot_work_is_refused_with_the_field(
    api: Api, jobs: str, body: Json, field: str, reason: str
) -> None:
    status = api.refused(422, "POST", jobs, body)
    assert status["details"]["kind"] == "Job"
    assert (field, reason) in [(cause["field"], cause["reason"]) for cause in status["details"]["causes"]]


def test_a_job_keeps_its_template_and_may_change_its_limits(api: Api, jobs: str) -> None:
    api.post(jobs, job("verify"))
    containers = [{"name": "check", "image": "registry.invalid/check:2"}]
    patch: Json = {"spec": {"template": {"spec": {"containers": containers}}}}
    status = api.refused(422, "PATCH", f"{jobs}/verify", patch, type=MERGE)
    assert all(cause["field"].startswith("spec.template") for cause in status["details"]["causes"])
    patch = {"spec": {"ttlSecondsAfterFinished": 5, "backoffLimit": 0, "activeDeadlineSeconds": 9}}
    changed = api.ok("PATCH", f"{jobs}/verify", patch, type=MERGE)["spec"]
    assert {name: changed[name] for name in patch["spec"]} == patch["spec"]


def test_a_job_that_is_not_there_is_named_in_the_refusal(api: Api, jobs: str) -> None:
    query = {"propagationPolicy": "Background"}
    for status in (api.refused(404, "GET", f"{jobs}/none"), api.refused(404, "DELETE", f"{jobs}/none", params=query)):
        assert status["details"] == {"name": "none", "group": "batch", "kind": "jobs"}


def test_a_job_deleted_with_its_dependents_is_gone_at_once(api: Api, jobs: str) -> None:
    uid = api.post(jobs, job("verify"))["metadata"]["uid"]
    gone = api.ok("DELETE", f"{jobs}/verify", params={"propagationPolicy": "Background"})
    assert gone["details"] == {"name": "verify", "group": "batch", "kind": "jobs", "uid": uid}
    api.refused(404, "GET", f"{jobs}/verify")


def test_a_job_leaves_its_pods_behind_when_nobody_says_otherwise(api: Api, jobs: str) -> None:
    """A trap: other kinds take their dependents along."""
    api.post(jobs, job("verify"))
    assert api.ok("DELETE", f"{jobs}/verify")["metadata"]["finalizers"] == ["orphan"]
