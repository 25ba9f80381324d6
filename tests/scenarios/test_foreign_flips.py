"""Somebody moves the live selector by hand while no Release runs, as the guide's manual rollback does."""

from __future__ import annotations

from collections.abc import Callable

from tests.scenarios.conftest import Led
from tests.scenarios.test_people import switch_by_hand
from tests.support.acting import GOOD, Selector, ask, events, watcher
from tests.support.worker import WORKER
from watcher.core.release import Phase, Release
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE
from watcher.demo.stage import Stage


def foreign(stage: Stage) -> list[Release]:
    """The Releases that were made for flips of somebody else, the oldest first."""
    found = [r for r in stage.hands.read_releases(NAMESPACE) if r.spec.foreign_flip]
    return sorted(found, key=lambda r: (r.created_at, r.name))


def its_release(stage: Stage, number: int = 1) -> Release:
    stage.wait_for(lambda: len(foreign(stage)) == number, f"Release {number} of a flip by hand", 30)
    return foreign(stage)[-1]


def released(stage: Stage) -> None:
    """A version was released to green, and nothing runs any more."""
    done = watcher(stage, *ask(GOOD))
    assert done.status == 0, done.out + done.err


def test_a_flip_by_hand_is_recorded_and_observed_and_left_alone(small: Callable[..., Stage]) -> None:
    stage = small()
    with Selector(stage) as selector:
        released(stage)
        switch_by_hand(stage, "blue")
        made = its_release(stage)
        ended = stage.follow(made, lambda r: r.phase.terminal, 40, "the end of the watch")
        assert ended.phase is Phase.COMPLETED, ended.status.message
        assert "only observed" in ended.status.message
        assert [(f.from_, f.to, f.reason) for f in ended.status.flips] == [("green", "blue", "foreign")]
        selector.was("blue", "green", "blue")
        assert len(foreign(stage)) == 1
        stage.wait_for(
            lambda: any(e["reason"] == "ForeignFlip" for e in events(stage, "Service", APPLICATION)), "its Event"
        )
        assert stage.ready_pods("green") == 2, "the colour that was left is not touched"


def test_an_enforced_flip_by_hand_to_a_colour_that_dies_is_sent_back(small: Callable[..., Stage]) -> None:
    stage = small(foreignFlips="enforce")
    with Selector(stage) as selector:
        released(stage)
        stage.wait_for(lambda: stage.ready_pods("blue") == 2, "blue to be ready")
        switch_by_hand(stage, "blue")
        made = its_release(stage)
        stage.hands.scale(NAMESPACE, f"{APPLICATION}-blue", 0)
        ended = stage.follow(made, lambda r: r.phase.terminal, 40, "the end")
        assert (ended.phase, ended.status.reason) == (Phase.ROLLED_BACK, "pods/NoEndpoints"), ended.status.message
        selector.was("blue", "green", "blue", "green")
        assert len(foreign(stage)) == 1, "the way back is no foreign flip"


def test_an_ignored_flip_by_hand_is_told_and_no_more(small: Callable[..., Stage]) -> None:
    stage = small(foreignFlips="ignore")
    released(stage)
    switch_by_hand(stage, "blue")

    def told() -> bool:
        return any("moved the selector" in e["message"] for e in events(stage, "Service", APPLICATION))

    stage.wait_for(told, "the Event")
    assert foreign(stage) == []


def test_a_flip_by_hand_while_no_daemon_runs_is_noticed_when_one_runs_again(small: Callable[..., Stage]) -> None:
    stage = small()
    released(stage)
    stage.kill_daemon()
    switch_by_hand(stage, "blue")
    stage.start_daemon()
    made = its_release(stage)
    assert made.spec.foreign_flip
    assert (made.spec.foreign_flip.from_, made.spec.foreign_flip.to) == ("green", "blue")
    stage.follow(made, lambda r: r.phase is Phase.COMPLETED, 40, "the end of the watch")
    stage.kill_daemon()
    stage.start_daemon()
    again = stage.release(GOOD, images={"nobody": "none:1"})
    stage.follow(again, lambda r: r.phase.terminal, 40, "the daemon to work again")
    assert len(foreign(stage)) == 1, "it is recorded once"


def test_rollbacks_by_hand_with_the_watcher_are_not_foreign(small: Callable[..., Stage]) -> None:
    stage = small()
    released(stage)
    back = watcher(stage, "rollback", APPLICATION)
    assert back.status == 0, back.out + back.err
    switch_by_hand(stage, "green")
    made = its_release(stage)
    stage.follow(made, lambda r: r.phase is Phase.WATCHING or r.phase.terminal, 40, "the watch")
    back = watcher(stage, "rollback", APPLICATION)
    assert back.status == 0, back.out + back.err
    assert stage.active() == "blue"
    assert [r.name for r in foreign(stage)] == [made.name]


def test_a_selector_that_selects_neither_colour_is_shouted_about(small: Callable[..., Stage]) -> None:
    stage = small()
    released(stage)
    switch_by_hand(stage, "purple")

    def told() -> list[str]:
        return [e["message"] for e in events(stage, "Service", APPLICATION) if e["reason"] == "NoActiveColor"]

    stage.wait_for(lambda: bool(told()), "the Event")
    assert "color=purple" in told()[0]
    assert "kubectl patch service" in told()[0]
    assert foreign(stage) == []


def test_a_second_service_that_is_moved_alone_is_told_and_left(two: Callable[..., Led]) -> None:
    stage = two().stage

    def told() -> list[str]:
        return [e["message"] for e in events(stage, "Service", APPLICATION) if e["reason"] == "ServicesDisagree"]

    switch_by_hand(stage, "green", WORKER)
    stage.wait_for(lambda: bool(told()), "the Event")
    assert f"different colours: {APPLICATION} blue, {WORKER} green." in told()[0]
    assert foreign(stage) == []
    assert stage.active() == "blue"
