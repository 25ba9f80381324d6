"""A check that is a Job against API servers that refuse, stumble and fall silent: it ends, and says why."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.support.clock import HandClock
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.jobs import JobOrder, Jobs, job_name, manifest
from watcher.adapters.repeated import CheckOutcome
from watcher.core.jobs import JobCheck
from watcher.core.release import Release, Spec

RELEASE = Release(
    name="chat-x7k2p",
    namespace="prod",
    uid="u1",
    resource_version="1",
    created_at=datetime(2026, 11, 23, tzinfo=UTC),
    spec=Spec(application="chat", version="2.4.1"),
)
FORBIDDEN = 'jobs.batch is forbidden: User "system:serviceaccount:w:w" cannot get resource "jobs" in API group "batch"'


class ImpatientClock(HandClock):
    """Time passes when somebody waits."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.seconds += seconds
        return event.is_set()


def order(**job: Any) -> JobOrder:
    check = JobCheck.model_validate_json(json.dumps({"image": "verify:1", "timeout": "20s"} | job))
    return JobOrder(RELEASE, "verification/chat/preview", check, {"VERSION": "2.4.1"})


def run(connection: Connection, **job: Any) -> CheckOutcome:
    return Jobs(connection, ImpatientClock()).run(order(**job), threading.Event())


def test_a_daemon_without_the_right_to_jobs_says_which_role_is_missing(
    serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    server = serve(reply(403, {"kind": "Status", "message": FORBIDDEN}))
    found = run(connect(server.url))
    assert not found.ok
    assert "the daemon may not run Jobs in prod: bind ClusterRole bluegreen-watcher-jobs" in found.message
    assert len(server.asked) == 1


def test_a_refusal_that_has_nothing_to_do_with_rights_is_quoted(
    serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    server = serve(reply(403, {"kind": "Status", "message": 'jobs.batch "it" is forbidden: exceeded quota'}))
    found = run(connect(server.url))
    assert "cannot be made" in found.message
    assert "exceeded quota" in found.message
    assert "bluegreen-watcher-jobs" not in found.message


def test_an_api_server_that_never_recovers_is_asked_until_the_check_runs_out_of_time(
    serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    server = serve(reply(500, {"kind": "Status", "message": "etcd is gone"}))
    found = run(connect(server.url))
    assert not found.ok
    assert "did not end within 20s; the API server could not be asked at last" in found.message
    assert "etcd is gone" in found.message


def test_a_job_that_somebody_else_made_meanwhile_is_the_one_that_counts(
    serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    done = {"metadata": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    looks: list[str] = []

    def answer(asked: Any, send: Any, _: Any) -> None:
        looks.append(asked.method)
        if asked.method == "POST":
            send(reply(409, {"kind": "Status", "message": "already exists"}))
        elif "/jobs/" in asked.path:
            send(reply(200, done) if "POST" in looks else reply(404, {"kind": "Status", "message": "not found"}))
        else:
            send(reply(200, {"items": []}))

    found = run(connect(serve(answer).url))
    assert (found.ok, looks.count("POST")) == (True, 1)
    assert found.message.endswith("succeeded")


def test_a_job_is_made_once_what_it_tests_takes_connections(
    serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    """A Service that was just pointed at new pods refuses connections for a moment."""
    refused: list[float] = []
    targets: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    class Opening(ImpatientClock):
        def wait(self, event: threading.Event, seconds: float) -> bool:
            refused.append(self.seconds)
            if len(refused) == 3:
                targets.append(socket.create_server(("127.0.0.1", port)))
            return super().wait(event, seconds)

    done = {"metadata": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    server = serve(lambda asked, send, _: send(reply(200, done if "/jobs/" in asked.path else {"items": []})))
    asked = JobOrder(RELEASE, "it", order().job, {"TARGET_URL": f"http://127.0.0.1:{port}"})
    found = Jobs(connect(server.url), Opening()).run(asked, threading.Event())
    for target in targets:
        target.close()
    assert (found.ok, len(refused)) == (True, 3)


def test_a_target_that_never_answers_here_keeps_no_job_from_running(
    serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    done = {"metadata": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    server = serve(lambda asked, send, _: send(reply(200, done if "/jobs/" in asked.path else {"items": []})))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked = JobOrder(RELEASE, "it", order().job, {"TARGET_URL": f"http://127.0.0.1:{port}"})
    assert Jobs(connect(server.url), ImpatientClock()).run(asked, threading.Event()).ok


def test_the_name_of_a_job_is_the_same_at_each_call_and_another_for_each_release_and_check() -> None:
    ours = order()
    names = {
        job_name(ours),
        job_name(JobOrder(RELEASE.model_copy(update={"uid": "u2"}), ours.id, ours.job, {})),
        job_name(JobOrder(RELEASE, "smoke/0/preview", ours.job, {})),
    }
    assert job_name(order()) == job_name(ours) == "chat-x7k2p-verification-chat-preview-" + job_name(ours)[-8:]
    assert len(names) == 3
    long = JobOrder(RELEASE.model_copy(update={"name": "x" * 63}), ours.id, ours.job, {})
    assert len(job_name(long)) <= 63


def test_limits_and_clean_up_are_the_checks_and_the_rest_is_the_templates() -> None:
    spec = {
        "backoffLimit": 9,
        "template": {
            "metadata": {"labels": {"team": "chat"}},
            "spec": {
                "restartPolicy": "OnFailure",
                "initContainers": [{"name": "wait", "image": "wait:1"}],
                "containers": [{"name": "it", "image": "it:1", "env": [{"name": "VERSION", "value": "mine"}]}],
            },
        },
    }
    given = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "namespace": "b"}, "spec": spec}
    made = manifest(order(image=None, manifest=given, retries=2, env={"TOKENS": "3"}), "name")
    pod = made["spec"]["template"]["spec"]
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("name", "prod")
    assert (made["spec"]["backoffLimit"], made["spec"]["activeDeadlineSeconds"]) == (2, 50)
    assert made["spec"]["template"]["metadata"]["labels"]["team"] == "chat"
    assert pod["restartPolicy"] == "Never"
    assert pod["initContainers"][0]["env"] == [
        {"name": "VERSION", "value": "2.4.1"},
        {"name": "TOKENS", "value": "3"},
    ]
    assert pod["containers"][0]["env"] == [{"name": "TOKENS", "value": "3"}, {"name": "VERSION", "value": "mine"}]
    assert spec["backoffLimit"] == 9, "the template itself is left as it is"
