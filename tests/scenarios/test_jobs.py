"""Checks and hooks that run as Kubernetes Jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.scenarios.conftest import Led
from tests.support.acting import GOOD
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase, Release
from watcher.demo.platform import manifests
from watcher.demo.stage import Stage

VERIFY: dict[str, Any] = {"name": "chat", "job": {"image": manifests.VERIFIER, "timeout": "30s"}}
ENDLESS: dict[str, Any] = {"name": "chat", "job": {"image": manifests.image(GOOD), "timeout": "60s"}}
"""The service itself as a Job: it never ends."""


def jobs(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.connection.get(paths.jobs(manifests.NAMESPACE))["items"]
    return found


def ended(release: Release) -> bool:
    return release.phase.terminal


def test_a_version_whose_verification_job_succeeds_is_switched_to(small: Callable[..., Stage]) -> None:
    stage = small(tests={"verification": [VERIFY]}, watch={"duration": "1s", "interval": "1s"})

    done = stage.follow(stage.release(GOOD), ended, 60, "the end")

    assert (done.phase, stage.active()) == (Phase.COMPLETED, "green")
    (check,) = done.status.checks
    assert (check.id, check.ok) == ("verification/chat/preview", True)
    assert check.output.splitlines() == ["ok GET /version", "ok GET /healthz", "ok GET /verify"]
    (job,) = jobs(stage)
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert [owner["uid"] for owner in job["metadata"]["ownerReferences"]] == [done.uid]


def test_a_version_whose_verification_job_fails_gets_no_traffic_and_the_status_has_its_last_lines(
    small: Callable[..., Stage],
) -> None:
    stage = small(tests={"verification": [VERIFY]})

    failed = stage.follow(stage.release(manifests.BAD_VERSIONS["verification"]), ended, 60, "the end")

    assert (failed.phase, failed.status.reason, stage.active()) == (Phase.FAILED, "TestsFailed", "blue")
    assert failed.status.flips == ()
    (check,) = failed.status.checks
    assert not check.ok
    assert check.output.splitlines()[-1].startswith("FAILED GET /verify: history: a conversation read back has 1")
    assert "ended with exit code 1" in failed.status.message
    assert "its last lines: ok GET /version | ok GET /healthz | FAILED GET /verify" in failed.status.message


def test_a_job_that_does_not_end_in_its_time_fails_the_release_and_is_taken_away(small: Callable[..., Stage]) -> None:
    stage = small(tests={"smoke": [{"job": ENDLESS["job"] | {"timeout": "2s"}}]})

    failed = stage.follow(stage.release(GOOD), ended, 60, "the end")

    assert (failed.phase, failed.status.reason) == (Phase.FAILED, "TestsFailed")
    assert "did not end within 2s" in failed.status.message
    assert '"event": "started"' in failed.status.checks[0].output, "its last lines, although it still ran"
    stage.wait_for(lambda: jobs(stage) == [], "the Job to be deleted")


def test_a_job_whose_image_does_not_exist_fails_long_before_its_time(small: Callable[..., Stage]) -> None:
    stage = small(tests={"verification": [{"job": {"image": "nobody/built:this", "timeout": "10m"}}]})

    failed = stage.follow(stage.release(GOOD), ended, 90, "the end")

    assert (failed.phase, failed.status.reason) == (Phase.FAILED, "TestsFailed")
    assert "cannot start, " in failed.status.message
    assert "nobody/built:this" in failed.status.message


def test_a_job_that_fails_is_tried_again_as_often_as_it_may(small: Callable[..., Stage]) -> None:
    job = VERIFY["job"] | {"retries": 1, "env": {"VERSION": "another"}}
    stage = small(tests={"verification": [{"job": job}]})

    failed = stage.follow(stage.release(GOOD), ended, 60, "the end")

    assert "ended with exit code 1, the last of 2 tries" in failed.status.message
    assert "'version': 'another'" in failed.status.checks[0].output, "what the Application sets itself stands"


def test_a_daemon_that_is_killed_while_a_job_runs_goes_on_with_that_job(led: Callable[..., Led]) -> None:
    found = led(rules=False, tests={"verification": [{"job": ENDLESS["job"] | {"timeout": "4s"}}]})
    stage = found.stage
    release = stage.release(GOOD)
    stage.wait_for(lambda: any(job.get("status", {}).get("ready") for job in jobs(stage)), "the Job to run")
    (before,) = jobs(stage)

    found.kill()
    (after,) = jobs(stage)
    found.start_again()
    failed = stage.follow(release, ended, 60, "the end")

    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert f"Job {before['metadata']['name']} did not end within 4s" in failed.status.message
    stage.wait_for(lambda: jobs(stage) == [], "the Job to be deleted")


def test_an_abort_ends_the_job_that_nobody_needs_any_more(small: Callable[..., Stage]) -> None:
    stage = small(tests={"verification": [ENDLESS]})
    release = stage.release(GOOD)
    stage.wait_for(lambda: any(job.get("status", {}).get("ready") for job in jobs(stage)), "the Job to run")

    stage.hands.command(release.namespace, release.name, "abort", {"by": "a test"})

    assert stage.follow(release, ended, 30, "the end").phase is Phase.ABORTED
    stage.wait_for(lambda: jobs(stage) == [], "the Job to be deleted")


def test_a_daemon_that_stops_leaves_its_jobs_to_the_next_one(small: Callable[..., Stage]) -> None:
    stage = small(tests={"verification": [ENDLESS]})
    stage.release(GOOD)
    stage.wait_for(lambda: any(job.get("status", {}).get("ready") for job in jobs(stage)), "the Job to run")

    stage.stop_daemon()

    (job,) = jobs(stage)
    assert "deletionTimestamp" not in job["metadata"]


def test_a_hook_that_is_a_job_runs_from_the_file_it_names(small: Callable[..., Stage]) -> None:
    template = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "warm", "annotations": {"team": "chat"}},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [
                        {
                            "name": "warm",
                            "image": manifests.VERIFIER,
                            "env": [{"name": "COLOR", "value": "blue"}, {"name": "VERSION", "value": "2.3.0"}],
                        }
                    ],
                }
            }
        },
    }
    hooks = {"preSwitch": [{"name": "warm", "job": {"template": "job-warm.yaml"}}]}
    stage = small(template, hooks=hooks, watch={"duration": "1s", "interval": "1s"})

    done = stage.follow(stage.release(GOOD), ended, 60, "the end")

    assert done.phase is Phase.COMPLETED, done.status.message
    (job,) = jobs(stage)
    assert job["metadata"]["annotations"] == {"team": "chat"}
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never", "or its last lines would be lost"
    assert [check.ok for check in done.status.checks if check.id == "preSwitch/warm/hook"] == [True]
