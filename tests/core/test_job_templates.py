"""A Job in a file of its own: found by the file's name, checked, and put whole into the Application."""

from __future__ import annotations

import pytest

from watcher.core.application import Application
from watcher.core.documents import Document, Documents, read_documents
from watcher.core.job_templates import with_templates
from watcher.core.jobs import JobTemplate
from watcher.core.models import Model
from watcher.core.units import Invalid

KINDS: dict[str, type[Model]] = {"Application": Application, "Job": JobTemplate}

APPLICATION = """
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: chat, namespace: prod}
spec:
  service: chat
  colors: {blue: {deployment: chat-blue}, green: {deployment: chat-green}}
  tests: {verification: [{job: {template: verify-chat.yaml, timeout: 2m}}, {http: {path: /healthz}}]}
  hooks: {preDeploy: [{name: migrate, job: {template: migrate.yaml}}]}
"""

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: any}
spec: {template: {spec: {containers: [{name: main, image: "IMAGE"}]}}}
"""


def job(file: str, image: str = "verify:1", count: int = 1) -> list[Document]:
    return read("---".join([JOB.replace("IMAGE", image)] * count), file).items


def read(text: str, file: str = "config/chat.yaml") -> Documents:
    return read_documents(text, file, KINDS)


def application() -> Application:
    (document,) = read(APPLICATION).items
    assert isinstance(document.model, Application)
    return document.model


MIGRATE = job("config/migrate.yaml", "migrate:7")


def images(app: Application) -> list[str]:
    probes = [*(check for _, _, check in app.spec.tests.checks()), *app.spec.hooks.pre_deploy]
    return [
        probe.job.manifest.spec["template"]["spec"]["containers"][0]["image"]
        for probe in probes
        if probe.job and probe.job.manifest
    ]


def test_the_file_that_a_check_or_a_hook_names_becomes_part_of_the_application() -> None:
    others = read(APPLICATION).items
    found = with_templates(application(), "config/chat.yaml", [*job("config/verify-chat.yaml"), *others, *MIGRATE])

    assert images(found) == ["verify:1", "migrate:7"]
    assert "template.yaml" not in found.model_dump_json()
    assert Application.model_validate_json(found.model_dump_json()) == found


def test_a_check_among_those_in_parallel_names_its_file_like_any_other() -> None:
    text = APPLICATION.replace("[{job: {template: verify", "[{parallel: [{tcp: {}}, {job: {template: verify")
    (document,) = read(text.replace("2m}}, {http", "2m}}]}, {http")).items
    assert isinstance(document.model, Application)
    found = with_templates(document.model, "config/chat.yaml", [*job("config/verify-chat.yaml"), *MIGRATE])

    assert images(found) == ["verify:1", "migrate:7"]
    with pytest.raises(Invalid) as refused:
        with_templates(document.model, "config/chat.yaml", MIGRATE)
    assert refused.value.path == ("spec", "tests", "verification", 0, "parallel", 1, "job", "template")


def test_of_two_files_of_a_name_the_one_beside_the_application_is_meant() -> None:
    beside, elsewhere = job("config/verify-chat.yaml", "near:1"), job("other/verify-chat.yaml", "far:1")

    assert images(with_templates(application(), "config/chat.yaml", [*elsewhere, *beside, *MIGRATE]))[0] == "near:1"


def test_a_file_elsewhere_is_found_when_it_is_the_only_one_of_its_name() -> None:
    found = with_templates(application(), "config/chat.yaml", [*job("jobs/verify-chat.yaml", "far:1"), *MIGRATE])

    assert images(found)[0] == "far:1"


@pytest.mark.parametrize(
    ("documents", "problem", "cure"),
    [
        (job("config/verify-chats.yaml"), 'no file "verify-chat.yaml" with a Job', 'did you mean "verify-chats.yaml"?'),
        ([], 'no file "verify-chat.yaml" with a Job', "add a file of that name"),
        (job("a/verify-chat.yaml") + job("b/verify-chat.yaml"), "the name of 2 files", "another name"),
        (job("config/verify-chat.yaml", count=2), "holds 2 Jobs", "a file of its own"),
    ],
)
def test_a_name_that_does_not_lead_to_one_job_is_refused(documents: list[Document], problem: str, cure: str) -> None:
    with pytest.raises(Invalid) as refused:
        with_templates(application(), "config/chat.yaml", documents)

    assert problem in refused.value.problem
    assert cure in refused.value.cure
    assert refused.value.path == ("spec", "tests", "verification", 0, "job", "template")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("batch/v1", "batch/v1beta1", '"batch/v1beta1" is no apiVersion'),
        ("spec: {containers", "spec: {container", "this Job has no container"),
        ('containers: [{name: main, image: "IMAGE"}]', "containers: []", "this Job has no container"),
        ("template: {spec", "template: {specs", "this Job has no container"),
        ("{template: ", "{templates: ", "this Job has no container"),
        (', image: "IMAGE"', "", "has no name or no image"),
    ],
)
def test_a_job_that_could_never_run_is_refused_with_its_place(old: str, new: str, said: str) -> None:
    found = read(JOB.replace(old, new), "verify.yaml")

    assert found.items == []
    (problem,) = found.problems
    assert said in str(problem)
    assert str(problem).startswith(("verify.yaml:2:", "verify.yaml:5:"))
