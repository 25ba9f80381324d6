"""Ended Releases beyond the limit are taken away, the oldest first, but never one that something rests on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.core.lifecycle.world import START, application, release
from watcher.core.lifecycle.history import surplus
from watcher.core.release import CheckRecord, Colors, ForeignFlip, Keep, Phase, Pinned, Release, Spec, Status

NOW = START + timedelta(days=1)
HOOKS = {"onFailure": [{"name": "tell", "http": {"url": "http://hooks.example/"}}]}


def ended(number: int, phase: Phase = Phase.FAILED, image: str = "", **status: Any) -> Release:
    """The number-th Release, which ended so many minutes after START."""
    values = {"phase": phase, "ended_at": START + timedelta(minutes=number)} | status
    found = release(images={"chat": image or f"chat:{number}"})
    return found.model_copy(update={"name": f"r{number:03}", "uid": f"u{number}", "status": Status(**values)})


def foreign(found: Release) -> Release:
    flip = ForeignFlip(from_="blue", to="green", at=START)
    return found.model_copy(update={"spec": Spec(**(found.spec.model_dump() | {"foreign_flip": flip}))})


def gone(*releases: Release, limit: int = 3) -> list[str]:
    return [found.name for found in surplus(releases, limit, NOW)]


def test_the_oldest_beyond_the_limit_go_first() -> None:
    assert gone(*(ended(n) for n in (4, 2, 5, 1, 3))) == ["r001", "r002"]
    assert gone(*(ended(n) for n in range(3))) == []


def test_what_has_not_ended_stays_and_does_not_count() -> None:
    running = release().model_copy(update={"status": Status(phase=Phase.WATCHING)})
    assert gone(running, *(ended(n) for n in range(3))) == []


def test_the_newest_good_and_the_newest_bad_end_stay() -> None:
    old = [ended(1, Phase.COMPLETED), ended(2, Phase.COMPLETED), ended(3, Phase.ROLLED_BACK)]
    assert gone(*old, *(ended(n) for n in range(4, 8))) == ["r001", "r004"]


def test_the_newest_that_knows_which_colour_is_live_stays() -> None:
    knows = ended(1, Phase.SUPERSEDED, left="green")
    assert gone(knows, *(ended(n) for n in range(2, 7))) == ["r002", "r003"]
    later = ended(3, Phase.ABORTED, colors=Colors(from_="blue", to="green"))
    assert gone(knows, ended(2), later, *(ended(n) for n in range(4, 7))) == ["r001", "r002"]


def test_what_keeps_a_rolled_back_version_out_stays() -> None:
    bad = [ended(n, Phase.ROLLED_BACK, rejected={"chat": f"chat:{n}"}) for n in range(5)]
    assert gone(*bad, limit=1) == []


def test_a_rollback_of_the_same_images_again_takes_over() -> None:
    bad = [ended(n, Phase.ROLLED_BACK, "chat:bad") for n in range(3)]
    assert gone(*bad, limit=1) == ["r000", "r001"]


def test_a_version_that_was_let_in_after_all_is_kept_out_by_nothing() -> None:
    bad, good = ended(1, Phase.ROLLED_BACK, "chat:1"), ended(2, Phase.COMPLETED, "chat:1")
    others = [ended(3, Phase.ROLLED_BACK), ended(4, Phase.COMPLETED), ended(5)]
    assert gone(bad, good, *others, limit=1) == ["r001"]
    assert gone(good, *others, limit=1) == ["r002"]


def test_an_observed_pass_lets_nothing_in() -> None:
    bad, seen = ended(1, Phase.ROLLED_BACK, "chat:1"), foreign(ended(2, Phase.COMPLETED, "chat:1"))
    knows = ended(5, colors=Colors(from_="blue", to="green"))
    others = [ended(3, Phase.ROLLED_BACK), ended(4, Phase.COMPLETED), knows]
    assert gone(bad, seen, *others, limit=1) == ["r002"]


def test_an_autoscaler_that_is_to_have_its_minimum_back_is_waited_for() -> None:
    assert gone(ended(1, held=("blue",)), ended(2), *(ended(n) for n in range(3, 6))) == ["r002"]


def test_a_keep_time_that_runs_is_waited_for() -> None:
    keep = Keep(color="blue", deployment="chatbot-blue", until=NOW)
    waits, done = ended(1, keep=keep), ended(2, keep=keep.model_copy(update={"done": True}))
    assert gone(waits, done, *(ended(n) for n in range(3, 6))) == ["r002"]


def test_a_hook_that_is_still_to_be_called_is_waited_for_as_long_as_it_would_be_called() -> None:
    pinned = Pinned(application=application(hooks=HOOKS))
    soon = NOW - timedelta(minutes=5)
    called = (CheckRecord(id="onFailure/tell/hook", ok=True, message=""),)
    waits = ended(1, pinned=pinned, ended_at=soon)
    others = [ended(n, ended_at=NOW - timedelta(seconds=n)) for n in range(2, 4)]
    assert gone(waits, *others, limit=2) == []
    assert gone(ended(1, pinned=pinned, ended_at=soon, checks=called), *others, limit=2) == ["r001"]
    assert gone(ended(1, pinned=pinned), *others, limit=2) == ["r001"]
