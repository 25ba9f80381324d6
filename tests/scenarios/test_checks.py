"""The checks of an Application at work: those that docs/applications.md shows, and several at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.packaging.rendered import ROOT
from tests.scenarios.conftest import Led
from tests.scenarios.test_jobs import ENDLESS, ended, jobs
from tests.support.acting import GOOD, kubectl, watcher
from tests.support.proxy import after
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase
from watcher.demo.platform import manifests
from watcher.demo.stage import Stage

PORTS = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9090}, {"name": "sessions", "port": 6379}]
ILL = f"{GOOD}-ill"
"""A version whose gRPC service is NOT_SERVING."""


def documented() -> str:
    """The Application that the document shows in its chapter about checks."""
    chapter = (ROOT / "docs/applications.md").read_text("utf-8").partition("## Checks\n")[2].partition("\n## ")[0]
    return chapter.partition("```yaml\n")[2].partition("```")[0]


@pytest.fixture
def everything(tmp_path: Path) -> Iterator[Stage]:
    """A stage with the documented Application, whose version does all that the checks of it ask for."""
    images = YAML(typ="safe", pure=True).load(manifests.IMAGES.read_text("utf-8"))
    command = ["{python}", str(ROOT / "tests/support/chat_and_more.py")]
    images |= {"chat:*": {"command": command}, f"chat:{ILL}": {"command": command, "env": {"HEALTH": "NOT_SERVING"}}}
    (tmp_path / "images.yaml").write_text(json.dumps(images), "utf-8")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/application.yaml").write_text(documented(), "utf-8")
    with ExitStack() as stack:
        config = (tmp_path / "config",)
        stage = stack.enter_context(Stage(config=config, images=tmp_path / "images.yaml", rate=0))
        for name in (manifests.APPLICATION, manifests.PREVIEW):
            change = {"spec": {"ports": PORTS}}
            stage.connection.patch(paths.services(manifests.NAMESPACE, name), change, "application/merge-patch+json")
        yield stage


def test_the_checks_that_the_document_shows_all_pass(everything: Stage) -> None:
    stage = everything
    release = stage.follow(stage.release(GOOD), lambda r: ended(r) or r.phase is Phase.WATCHING, 150, "the watch")

    assert release.phase is Phase.WATCHING, release.status.message
    said = {check.id: check.message for check in release.status.checks if check.ok}
    assert list(said)[:3] == ["smoke/healthz/preview", "smoke/sessions/pods", "verification/assistant/preview"]
    assert set(list(said)[3:5]) == {"verification/critical-paths/preview", "verification/scraped/metrics"}
    assert list(said)[5:] == ["health/readyz/preview", "live/readyz/live", "live/readyz/pods"]
    assert "TCP 127." in said["smoke/sessions/pods"]
    assert "gRPC health of chat.v1.Assistant at 127." in said["verification/assistant/preview"]
    assert said["verification/scraped/metrics"].startswith("PromQL gave 2 (at least 2) (")
    assert release.status.progress is None


def test_a_version_whose_grpc_service_does_not_serve_gets_no_traffic(everything: Stage) -> None:
    failed = everything.follow(everything.release(ILL), ended, 120, "the end")

    assert (failed.phase, failed.status.reason, everything.active()) == (Phase.FAILED, "TestsFailed", "blue")
    assert "gRPC health of chat.v1.Assistant at 127." in failed.status.message
    assert "expected SERVING, got NOT_SERVING (" in failed.status.message


def test_a_port_that_the_service_has_not_is_said_with_those_that_it_has(small: Callable[..., Stage]) -> None:
    stage = small(tests={"smoke": [{"grpc": {"port": 9090}}]})

    failed = stage.follow(stage.release(GOOD), ended, 60, "the end")

    assert failed.phase is Phase.FAILED
    said = f"there is nothing to send it to: Service {manifests.PREVIEW} has no port 9090; it has 8080"
    assert said in failed.status.message


def both(*checks: dict[str, Any]) -> dict[str, Any]:
    return {"tests": {"verification": [{"parallel": list(checks)}]}}


def test_a_failure_cancels_the_job_that_runs_beside_it(small: Callable[..., Stage]) -> None:
    never = {"name": "never", "http": {"path": "/no-such-path", "within": "8s"}}
    stage = small(**both(ENDLESS, never, {"name": "nobody", "tcp": {"port": 8080, "for": "40s"}}))
    release = stage.release(GOOD)
    stage.wait_for(lambda: any(job.get("status", {}).get("ready") for job in jobs(stage)), "the Job to run")

    failed = stage.follow(release, ended, 60, "the end")

    assert (failed.phase, failed.status.reason, stage.active()) == (Phase.FAILED, "TestsFailed", "blue")
    assert "Check verification/never/preview of " in failed.status.message
    assert "cancelled: verification/chat/preview, verification/nobody/preview." in failed.status.message
    stage.wait_for(lambda: jobs(stage) == [], "the Job to be deleted")


def test_everyone_sees_which_check_of_how_many_runs_and_how_its_tries_go(small: Callable[..., Stage]) -> None:
    waits = {"name": "waits", "http": {"path": "/no-such-path", "within": "5m"}}
    stage = small(tests={"smoke": [{"tcp": {}}, {"parallel": [waits, ENDLESS]}, {"tcp": {}}]})
    release = stage.release(GOOD)
    id_ = "smoke/waits/preview"

    def tried() -> bool:
        progress = stage.read(release).status.progress
        return progress is not None and any(one.id == id_ and one.tries > 1 for one in progress.running)

    stage.wait_for(tried, "a write of the tries", 40)
    (object_,) = json.loads(kubectl(stage, "get", "releases", "-o", "json"))["items"]
    progress = object_["status"]["progress"]
    assert (progress["stage"], progress["done"], progress["of"]) == ("smoke", 1, 4)
    assert [one["id"] for one in progress["running"]] == [id_, "smoke/chat/preview"]
    assert progress["running"][0]["last"] == "expected status 200-299, got 404 Not Found"
    shown = watcher(stage, "release", "show", release.name).out
    assert "smoke: 1 of 4 done" in shown
    assert f"check {id_}: runs since " in shown
    assert "the last time: expected status 200-299, got 404 Not Found" in shown
    waited = watcher(stage, "release", "wait", release.name, "--timeout", "1").out
    assert f"Testing: Runs checks {id_}, smoke/chat/preview on green (2 to 3 of 4); {id_} was tried " in waited


def test_a_daemon_that_is_killed_goes_on_with_what_had_not_ended(led: Callable[..., Led]) -> None:
    slow = ENDLESS | {"job": ENDLESS["job"] | {"timeout": "15s"}}
    found = led(rules=False, **both({"name": "quick", "tcp": {}}, slow))
    stage = found.stage
    release = stage.release(GOOD)
    stage.follow(release, lambda r: any(c.id == "verification/quick/preview" for c in r.status.checks), 60, "a result")
    stage.wait_for(lambda: any(job.get("status", {}).get("ready") for job in jobs(stage)), "the Job to run")
    (before,) = jobs(stage)
    (first,) = stage.read(release).status.checks

    found.kill()
    found.start_again()
    failed = stage.follow(release, ended, 90, "the end")

    quick, chat = failed.status.checks
    assert quick == first, "it was not run again"
    assert f"Job {before['metadata']['name']} did not end within 15s" in chat.message
    stage.wait_for(lambda: jobs(stage) == [], "the Job to be deleted")


def test_a_job_does_not_outlive_its_release_although_the_daemon_is_killed_before_it_deletes_it(
    led: Callable[..., Led],
) -> None:
    never = {"name": "never", "http": {"path": "/no-such-path", "within": "6s"}}
    found = led(rules=False, **both(ENDLESS, never))
    stage = found.stage
    died = found.proxy.on("PATCH", r"/releases/[^/]+/status$", after(found.kill), body='"Failed"')
    release = stage.release(GOOD)
    assert died.struck.wait(60), stage.read(release).status.message
    assert stage.follow(release, ended, 20, "the end").phase is Phase.FAILED
    assert len(jobs(stage)) == 1

    found.start_again()

    stage.wait_for(lambda: jobs(stage) == [], "the Job to be deleted")
