"""Jobs: how they end, and what they leave."""

from __future__ import annotations

from typing import Any

from tests.cluster_run.stage import NAMESPACE, Stage, pod_spec, scenario
from watcher.demo.cluster.resources import JOB, POD
from watcher.demo.cluster.store import Object


@scenario()
async def test_a_job_completes(stage: Stage) -> None:
    """Complete with one success, and its pod's log can still be read."""
    job(stage, "verify", "done:1")
    await stage.until(lambda: ended(stage, "verify"), "the job ends")
    found = stage.store.get(JOB, NAMESPACE, "verify")
    assert ended(stage, "verify") == ("Complete", "CompletionsReached")
    assert found["status"]["succeeded"] == 1
    assert "active" not in found["status"]
    assert found["status"]["startTime"] <= found["status"]["completionTime"]
    (pod,) = stage.store.objects(POD)
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "verify"
    assert stage.machine.logs(NAMESPACE, pod["metadata"]["name"], "main", False) == "done\n"


@scenario()
async def test_a_job_gives_up_after_its_backoff_limit(stage: Stage) -> None:
    """Failed with BackoffLimitExceeded after the first try and as many again."""
    job(stage, "verify", "crash:1", backoffLimit=1)
    await stage.until(lambda: ended(stage, "verify"), "the job ends")
    assert ended(stage, "verify") == ("Failed", "BackoffLimitExceeded")
    assert stage.store.get(JOB, NAMESPACE, "verify")["status"]["failed"] == 2
    assert len(stage.store.objects(POD)) == 2
    assert stage.said("BackoffLimitExceeded", "Job has reached the specified backoff limit")


@scenario()
async def test_restarts_inside_a_pod_count_towards_the_backoff_limit(stage: Stage) -> None:
    """With restartPolicy OnFailure the one pod is ended when it has restarted too often."""
    job(stage, "verify", "crash:1", backoffLimit=2, restart="OnFailure")
    await stage.until(lambda: ended(stage, "verify"), "the job ends")
    assert ended(stage, "verify") == ("Failed", "BackoffLimitExceeded")
    await stage.until(lambda: not stage.store.objects(POD), "its pod is gone")


@scenario()
async def test_a_job_that_takes_too_long_is_ended(stage: Stage) -> None:
    """Failed with DeadlineExceeded, and its pod goes."""
    job(stage, "verify", "sleep:1", activeDeadlineSeconds=1)
    await stage.until(lambda: stage.store.get(JOB, NAMESPACE, "verify").get("status", {}).get("startTime"), "it runs")
    await stage.until(lambda: ended(stage, "verify"), "the job ends")
    assert ended(stage, "verify") == ("Failed", "DeadlineExceeded")
    await stage.until(lambda: not stage.store.objects(POD), "its pod is gone")
    assert "active" not in stage.store.get(JOB, NAMESPACE, "verify")["status"]


@scenario()
async def test_a_finished_job_goes_with_its_pods_when_its_time_is_up(stage: Stage) -> None:
    """ttlSecondsAfterFinished deletes it; not before."""
    job(stage, "kept", "done:1")
    job(stage, "short", "done:1", ttlSecondsAfterFinished=1)
    await stage.until(lambda: ended(stage, "short"), "the job ends")
    await stage.until(lambda: stage.store.find(JOB, NAMESPACE, "short") is None, "the job is gone")
    await stage.until(lambda: len(stage.store.objects(POD)) == 1, "its pod is gone")
    assert ended(stage, "kept")


@scenario()
async def test_a_job_runs_as_often_and_as_wide_as_asked(stage: Stage) -> None:
    """Three completions, two at a time."""
    running: list[int] = []
    job(stage, "verify", "done:1", completions=3, parallelism=2)

    def watch() -> bool:
        running.append(stage.store.get(JOB, NAMESPACE, "verify").get("status", {}).get("active", 0))
        return ended(stage, "verify") is not None

    await stage.until(watch, "the job ends")
    assert stage.store.get(JOB, NAMESPACE, "verify")["status"]["succeeded"] == 3
    assert max(running) == 2


def job(stage: Stage, name: str, image: str, *, restart: str = "Never", **spec: Any) -> Object:
    template = {"spec": pod_spec(image, restartPolicy=restart)}
    body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"template": template, **spec}}
    return stage.store.create(JOB, body)


def ended(stage: Stage, name: str) -> tuple[str, str] | None:
    found = stage.store.find(JOB, NAMESPACE, name) or {}
    for row in (found.get("status") or {}).get("conditions") or ():
        if row["type"] in ("Complete", "Failed"):
            return (row["type"], row["reason"])
    return None
