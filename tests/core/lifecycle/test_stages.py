"""Lists of checks: in order, in parallel where asked, how far they are, and what a failure ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.lifecycle.story import Story, given
from watcher.core.effects import CancelChecks, RunCheck
from watcher.core.release import Phase

HTTP: dict[str, Any] = {"http": {"path": "/healthz"}}


def named(name: str, **kind: Any) -> dict[str, Any]:
    return {"name": name, **(kind or HTTP)}


def lists(**of_checks: Any) -> dict[str, Any]:
    return {"tests": of_checks}


TRIO = lists(smoke=[named("first"), {"parallel": [named("a"), named("b", tcp={}), HTTP]}, named("last")])
IDS = ["smoke/first/preview", "smoke/a/preview", "smoke/b/preview", "smoke/1.2/preview", "smoke/last/preview"]


def began(story: Story) -> list[str]:
    return list(dict.fromkeys(effect.id for effect in story.effects if isinstance(effect, RunCheck)))


def running(story: Story) -> list[str]:
    return [one.id for one in story.status.progress.running] if story.status.progress else []


def test_a_list_runs_in_order_and_what_stands_together_in_parallel() -> None:
    story = given(TRIO, fails={"smoke/first/preview": "hang"}).until(Phase.TESTING).time_passes(3)
    assert began(story) == IDS[:1]
    story.world_is(fails=dict.fromkeys(IDS[1:4], "hang")).run(lambda: len(running(story)) > 1)
    assert running(story) == IDS[1:4]
    assert began(story) == IDS[:4]
    story.world_is(fails={}).to_the_end().phase_is(Phase.COMPLETED)
    assert began(story)[:5] == IDS
    assert [record.id for record in story.status.checks] == IDS


def test_the_next_check_waits_for_the_slowest_of_those_in_parallel() -> None:
    story = given(TRIO, fails={"smoke/b/preview": "hang"}).until(Phase.TESTING).time_passes(30)
    assert began(story) == IDS[:4]
    assert [record.id for record in story.status.checks] == ["smoke/first/preview", "smoke/a/preview", IDS[3]]
    assert running(story) == ["smoke/b/preview"]
    assert story.status.progress
    assert (story.status.progress.stage, story.status.progress.done, story.status.progress.of) == ("smoke", 3, 5)
    story.says("Runs check smoke/b/preview on green (4 of 5)")


def test_what_runs_is_said_with_its_place_and_how_the_tries_go() -> None:
    story = given(TRIO, fails=dict.fromkeys(IDS[1:4], "hang")).until(Phase.TESTING)
    story.run(lambda: len(running(story)) > 1)
    story.says("Runs checks smoke/a/preview, smoke/b/preview, smoke/1.2/preview on green (2 to 4 of 5)")
    story.time_passes(10)
    story.says("; smoke/b/preview was tried once, and the last time: got status 503")
    assert story.status.progress
    assert {(one.tries, one.last) for one in story.status.progress.running} == {(1, "got status 503")}


def test_tries_are_not_written_one_by_one() -> None:
    story = given(TRIO, fails={"smoke/first/preview": "hang"}).until(Phase.TESTING).time_passes(6)
    before = story.writes
    for tries in range(2, 62):
        (id_, result), *_ = story.world.checks.items()
        changed = type(result)(running=True, since=result.since, tries=tries, last=f"got status {tries}")
        story.world_is(checks={id_: changed}).time_passes(0.5)
    assert 4 <= story.writes - before <= 7, "30 s, and a write every 5 s"
    story.says("tried 5")


def test_nothing_runs_any_more_once_the_phase_has_changed() -> None:
    story = given(TRIO, fails={"smoke/a/preview": "hang"}).until(Phase.TESTING).time_passes(3)
    assert story.status.progress
    story.person("abort").to_the_end().phase_is(Phase.ABORTED)
    assert story.status.progress is None


def test_a_failure_cancels_those_beside_it_and_all_failures_are_told() -> None:
    fails = {"smoke/a/preview": "hang", "smoke/b/preview": "no such host", "smoke/1.2/preview": "out of order"}
    story = given(TRIO, fails=fails).to_the_end().phase_is(Phase.FAILED, "TestsFailed")
    story.says("Check smoke/b/preview of 2.4.1 failed: got status 500 (it answered: no such host)")
    story.says("; smoke/1.2/preview: got status 500 (it answered: out of order); cancelled: smoke/a/preview. Traffic")
    story.did(CancelChecks).flips_are().traffic_is_on("blue")
    assert [(record.id, record.ok) for record in story.status.checks] == [
        ("smoke/first/preview", True),
        ("smoke/b/preview", False),
        ("smoke/1.2/preview", False),
    ]
    told = story.told["end"].evidence
    assert told["check"] == "smoke/b/preview"
    assert told["alsoFailed"] == {"smoke/1.2/preview": "got status 500 (it answered: out of order)"}
    assert "smoke/last/preview" not in began(story)


def test_after_a_kill_only_what_has_not_ended_runs_again() -> None:
    story = given(TRIO, fails={"smoke/b/preview": "hang"}).until(Phase.TESTING).time_passes(30)
    story.effects.clear()
    story.killed().settle()
    assert began(story) == ["smoke/b/preview"]
    story.world_is(fails={}).to_the_end().phase_is(Phase.COMPLETED)
    assert [record.id for record in story.status.checks if record.id.startswith("smoke")] == [
        "smoke/first/preview",
        "smoke/a/preview",
        "smoke/1.2/preview",
        "smoke/b/preview",
        "smoke/last/preview",
    ]


@pytest.mark.parametrize("steps", range(1, 24))
def test_wherever_it_is_killed_each_check_has_one_result_in_the_end(steps: int) -> None:
    story = given(TRIO).until(Phase.TESTING)
    for _ in range(steps):
        if not story.take_step():
            story.world = story.world.later(0.5)
    story.killed().to_the_end().phase_is(Phase.COMPLETED)
    ids = [record.id for record in story.status.checks]
    assert ids[0] == IDS[0]
    assert sorted(ids) == sorted(IDS)
    assert ids[-1] == IDS[-1]


def test_one_that_never_ends_fails_the_group_at_the_deadline_of_the_phase() -> None:
    story = given(TRIO, fails={"smoke/a/preview": "hang"}).to_the_end().phase_is(Phase.FAILED, "TestsFailed")
    story.says("Check smoke/a/preview of 2.4.1 failed: it did not end within 2m")


def test_checks_in_parallel_after_the_switch_send_traffic_back_when_one_fails() -> None:
    health = lists(health=[{"parallel": [named("a"), named("b", grpc={})]}])
    story = given(health, fails={"live/b/pods": "not serving", "live/a/live": "hang"}).to_the_end()
    story.phase_is(Phase.ROLLED_BACK, "check/live/b/pods").flips_are("green", "blue")
    story.says("check live/b/pods failed: got status 500 (it answered: not serving); cancelled: live/a/live")
    assert began(story)[-4:] == ["live/a/live", "live/a/pods", "live/b/live", "live/b/pods"]


def test_a_check_of_each_pod_goes_there_and_not_to_the_service() -> None:
    each = lists(smoke=[{"tcp": {"eachPod": True}}], health=[named("h", http={"path": "/", "eachPod": True})])
    story = given(each).to_the_end().phase_is(Phase.COMPLETED)
    assert began(story) == ["smoke/0/pods", "health/h/pods", "live/h/pods"]


def test_a_query_is_asked_once_whatever_there_is_to_aim_at() -> None:
    query = {"promql": {"query": "up", "threshold": {"below": 1}, "within": "5m"}}
    for preview in ({"service": "chatbot-preview"}, None):
        story = given(lists(verification=[query]) | {"preview": preview}, fails={"verification/0/metrics": "hang"})
        story.until(Phase.TESTING).time_passes(240).phase_is(Phase.TESTING)
        assert began(story) == ["verification/0/metrics"]
        story.world_is(fails={"verification/0/metrics": "sum(x)"}).to_the_end()
        story.says("verification/0/metrics of 2.4.1 failed: got status 500 (the query: sum(x))")
