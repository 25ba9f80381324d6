"""Hooks: a failing pre-hook fails the Release before traffic moves; a failing post-hook never undoes a flip."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.lifecycle.stages import after_the_flip
from tests.core.lifecycle.story import given
from watcher.core.effects import Deploy, RunCheck, SwapSelector
from watcher.core.release import Phase


def hooks(**lists: list[str]) -> dict[str, Any]:
    """Hooks by stage and name."""
    return {
        "hooks": {
            stage: [{"name": name, "http": {"url": f"http://hooks.example/{name}"}} for name in names]
            for stage, names in lists.items()
        }
    }


EVERY = hooks(
    preDeploy=["migrate"], onFailure=["page"], preSwitch=["warm"], postSwitch=["flags"], postRollback=["flags-off"]
)


def test_hooks_are_called_in_their_places_and_once_each() -> None:
    story = given(EVERY).to_the_end().phase_is(Phase.COMPLETED)
    called = [e.id for e in story.effects if isinstance(e, RunCheck) and e.target == "hook"]
    assert list(dict.fromkeys(called)) == ["preDeploy/migrate/hook", "preSwitch/warm/hook", "postSwitch/flags/hook"]
    order = [type(e) if not isinstance(e, RunCheck) else e.id for e in story.effects]
    assert order.index("preDeploy/migrate/hook") < order.index(Deploy) < order.index("preSwitch/warm/hook")
    assert order.index("preSwitch/warm/hook") < order.index(SwapSelector) < order.index("postSwitch/flags/hook")


@pytest.mark.parametrize(("stage", "name"), [("preDeploy", "migrate"), ("preSwitch", "warm")])
def test_a_failing_pre_hook_fails_the_release_before_traffic_moves(stage: str, name: str) -> None:
    story = given(hooks(**{stage: [name]}), fails={f"{stage}/{name}/hook": "expected 2xx, got 500"}).to_the_end()
    story.phase_is(Phase.FAILED, "HookFailed").flips_are().traffic_is_on("blue")
    story.says(f"Hook {stage}/{name}/hook", "got 500", "Traffic never moved")


def test_a_failing_hook_before_deploying_leaves_the_idle_colour_alone() -> None:
    given(hooks(preDeploy=["migrate"]), fails={"preDeploy/migrate/hook": "no"}).to_the_end().never_did(Deploy)


def test_a_failing_hook_after_the_switch_is_told_and_undoes_nothing() -> None:
    story = given(hooks(postSwitch=["flags"]), fails={"postSwitch/flags/hook": "got 500"}).to_the_end()
    story.phase_is(Phase.COMPLETED).flips_are("green").traffic_is_on("green")
    story.telling("hook/postSwitch/flags/hook", "undoes nothing", "got 500")


@pytest.mark.parametrize("answer", ["got 500", "hang"])
def test_a_hook_after_the_rollback_never_holds_it_up(answer: str) -> None:
    story = after_the_flip(Phase.WATCHING, hooks(postRollback=["flags-off"]))
    story.world_is(fails={"postRollback/flags-off/hook": answer}).rules_say("rollback")
    story.run(lambda: story.world.selector == "blue", 5)
    story.to_the_end().phase_is(Phase.ROLLED_BACK).flips_are("green", "blue")
    story.telling("hook/postRollback/flags-off/hook", "undoes nothing")


FAILURE = hooks(preSwitch=["warm"], onFailure=["restore", "page"])


def test_hooks_hear_of_a_failure_once_each_and_the_message_stays_that_of_the_end() -> None:
    story = given(FAILURE, fails={"preSwitch/warm/hook": "no"}).to_the_end()
    said = story.status.message
    story.time_passes(60).phase_is(Phase.FAILED).flips_are().traffic_is_on("blue")
    assert [c.id for c in story.status.checks if c.ok][-2:] == ["onFailure/restore/hook", "onFailure/page/hook"]
    assert story.status.message == said
    called = [e.id for e in story.effects if isinstance(e, RunCheck) and e.id.startswith("onFailure")]
    assert sorted(set(called)) == ["onFailure/page/hook", "onFailure/restore/hook"]
    assert story.world.checks == {}


def test_hooks_hear_of_an_abort_too() -> None:
    story = given(FAILURE).until(Phase.TESTING).person("abort").to_the_end().time_passes(60)
    story.phase_is(Phase.ABORTED).did(RunCheck, id="onFailure/restore/hook")


def test_a_hook_that_fails_after_a_failure_is_told_and_the_next_one_is_called() -> None:
    fails = {"preSwitch/warm/hook": "no", "onFailure/restore/hook": "got 500"}
    story = given(FAILURE, fails=fails).to_the_end().time_passes(60)
    story.telling("hook/onFailure/restore/hook", "undoes nothing").did(RunCheck, id="onFailure/page/hook")


def test_a_worker_that_is_killed_after_a_failure_calls_the_hooks_that_were_not_called() -> None:
    story = given(FAILURE, fails={"preSwitch/warm/hook": "no"}).to_the_end().killed().time_passes(60)
    story.did(RunCheck, id="onFailure/page/hook")


def test_hooks_do_not_hear_of_a_failure_that_is_long_past() -> None:
    story = given(FAILURE, fails={"preSwitch/warm/hook": "no"}).to_the_end()
    story.world = story.world.later(2 * 3600)
    story.effects.clear()
    story.killed().time_passes(60).never_did(RunCheck, id="onFailure/restore/hook")


@pytest.mark.parametrize("end", ["completed", "rolled back", "refused"])
def test_hooks_for_failures_hear_of_no_other_end(end: str) -> None:
    story = given(FAILURE)
    if end == "rolled back":
        story = after_the_flip(Phase.WATCHING, FAILURE).rules_say("rollback")
    if end == "refused":
        story.world_is(service=False)
    story.to_the_end().time_passes(60)
    story.never_did(RunCheck, id="onFailure/restore/hook")
