"""A workflow releases by the action: what its job says, what it sets, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

from tests.github.conftest import BOSS, PIPELINE, Pipeline
from tests.support.acting import BAD, ERRORS, GOOD
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

SMOKE = {"smoke": [{"name": "healthz", "http": {"path": "/healthz", "within": "1s"}}]}
LONG = {"duration": "10m", "interval": "1s"}


def test_a_good_version_completes_and_the_job_tells_how(pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline()
    done = site.run(GOOD)
    assert done.status == 0, done.raw
    name = done.outputs["release"]
    assert done.outputs == {
        "release": name,
        "phase": "Completed",
        "verdict": "pass",
        "reason": "Completed",
        "message": site.ended()["status"]["message"],
        "active-color": "green",
        "idle-color": "blue",
        "previous-color": "blue",
        "rolled-back": "false",
    }
    assert f"{NAMESPACE}/{APPLICATION}: blue serves." in done.shown
    assert "Deploying: Deploys" in done.shown
    assert "check smoke/healthz/preview: passed" in done.shown
    moved = [text for level, title, text in done.annotations if (level, title) == ("notice", "Traffic moved")]
    assert len(moved) == 1
    assert moved[0].endswith(f" UTC: {APPLICATION} moved from blue to green (switch).")
    assert [level for level, _, _ in done.annotations if level != "notice"] == []
    assert f"## {APPLICATION} {GOOD}: Completed" in done.summary
    assert f"| {APPLICATION} | blue | green | switch |" in done.summary
    assert f"watcher rollback {APPLICATION} -n {NAMESPACE}" in done.summary
    assert PIPELINE not in done.told()
    status = site.job().run(**site.where, command="status", application=APPLICATION)
    assert status.status == 0
    assert (status.outputs["active-color"], status.outputs["idle-color"], status.outputs["phase"]) == (
        "green",
        "blue",
        "",
    )
    back = site.job().run(**site.where, command="rollback", application=APPLICATION, reason="users complain")
    assert back.status == 0, back.raw
    assert (back.outputs["phase"], back.outputs["active-color"]) == ("RolledBack", "blue")
    assert "users complain" in back.outputs["message"]
    again = site.run(GOOD)
    assert again.status == 5, again.raw
    assert again.outputs["reason"] == "Quarantined"
    assert "These images were rolled back before" in again.summary
    forced = site.run(GOOD, force="true")
    assert forced.status == 0, forced.raw


def test_a_version_that_fails_its_tests_never_gets_traffic_and_the_job_fails(
    pipeline: Callable[..., Pipeline],
) -> None:
    site = pipeline(tests=SMOKE)
    done = site.run("2.4.1-smoke")
    assert done.status == 3, done.raw
    assert (done.outputs["phase"], done.outputs["reason"]) == ("Failed", "TestsFailed")
    assert (done.outputs["active-color"], done.outputs["rolled-back"]) == ("blue", "false")
    assert any(title == "Check smoke/healthz/preview failed" for _, title, _ in done.annotations)
    assert "| smoke/healthz/preview | FAILED |" in done.summary.replace("&#47;", "/")
    assert "Traffic has not moved." in done.summary
    assert site.stage.active() == "blue"


def test_a_breached_rule_sends_traffic_back_and_the_job_shows_its_value_against_its_threshold(
    pipeline: Callable[..., Pipeline],
) -> None:
    site = pipeline(ERRORS, watch={"duration": "60s", "interval": "1s", "rules": ["errors"]})
    done = site.run(BAD)
    assert done.status == 4, done.raw
    assert (done.outputs["phase"], done.outputs["reason"]) == ("RolledBack", "rule/errors/rate")
    assert (done.outputs["verdict"], done.outputs["rolled-back"]) == ("rollback", "true")
    assert (done.outputs["active-color"], done.outputs["previous-color"]) == ("blue", "blue")
    (rule,) = site.ended()["status"]["rules"]
    value = f"{rule['value'] * 100:.4g}%"
    assert f"breach   errors/rate: {value}, breached when > 5%" in done.shown
    assert any(group.endswith(": 1 breach") for group in done.groups)
    summary = done.summary.replace("&#47;", "/").replace("&#62;", ">")
    assert f"| errors/rate | breach | {value} | > 5% |" in summary
    assert "The query of errors/rate" in summary
    assert "http_requests_total{" in done.summary
    assert f"| {APPLICATION} | green | blue | rule/errors/rate |" in summary
    assert any(level == "warning" and title == "Traffic went back" for level, title, _ in done.annotations)
    assert any(level == "error" and title.startswith("RolledBack: ") for level, title, _ in done.annotations)


def test_a_release_is_approved_by_another_job_once_its_tests_have_passed(pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline(approval="beforeSwitch")
    tested = site.run(GOOD, until="approval")
    assert tested.status == 0, tested.raw
    name = tested.outputs["release"]
    assert (tested.outputs["phase"], tested.outputs["active-color"]) == ("AwaitingApproval", "blue")
    assert f"watcher release abort {name}" in tested.summary
    refused = site.steer("approve", name)
    assert refused.status == 1
    assert "403: pipeline does not have the role approver" in refused.shown
    assert site.stage.active() == "blue"
    approved = site.steer("approve", name, token=BOSS, reason="looked at it")
    assert approved.status == 0, approved.raw
    assert (approved.outputs["phase"], approved.outputs["active-color"]) == ("Completed", "green")
    assert site.ended()["spec"]["approve"]["reason"] == "looked at it"
    late = site.steer("abort", name)
    assert late.status == 5
    assert "has ended (Completed)" in late.shown


def test_a_job_need_not_wait_for_the_end_and_another_one_can_abort(pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline(watch=LONG)
    watched = site.run(GOOD, until="watching")
    assert watched.status == 0, watched.raw
    assert (watched.outputs["phase"], watched.outputs["active-color"]) == ("Watching", "green")
    name = watched.outputs["release"]
    asked = site.steer("wait", name, until="asked")
    assert (asked.status, asked.outputs["phase"], asked.summary) == (0, "Watching", "")
    second = site.run("2.5.0")
    assert second.status == 5, second.raw
    assert second.outputs["reason"] == "AnotherReleaseRunning"
    impatient = site.steer("wait", name, timeout="1s")
    assert impatient.status == 6, impatient.raw
    assert "did not end within 1 s, and goes on" in impatient.shown
    status = site.job().run(**site.where, command="status", application=APPLICATION)
    assert (status.outputs["release"], status.outputs["phase"]) == (name, "Watching")
    aborted = site.steer("abort", name, reason="wrong version")
    assert aborted.status == 0, aborted.raw
    assert (aborted.outputs["phase"], aborted.outputs["rolled-back"]) == ("RolledBack", "true")
    assert "wrong version" in aborted.outputs["message"]


def test_the_same_job_asks_once_and_a_rerun_of_it_again(pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline()
    first = site.job(GITHUB_RUN_ID="1").run(**site.release(GOOD))
    assert first.status == 0, first.raw
    same = site.job(GITHUB_RUN_ID="1").run(**site.release(GOOD))
    assert (same.status, same.outputs) == (0, first.outputs)
    again = site.job(GITHUB_RUN_ID="1", GITHUB_RUN_ATTEMPT="2").run(**site.release(GOOD))
    assert again.status == 0, again.raw
    assert again.outputs["release"] != first.outputs["release"]
