"""Ended Releases beyond an Application's `history` are deleted, and a rolled-back version stays out all the same."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.acting import GOOD, ask, watcher
from watcher.core.release import Phase
from watcher.demo.platform.manifests import NAMESPACE
from watcher.demo.stage import Stage


def test_old_releases_are_deleted_and_a_rolled_back_version_stays_out(small: Callable[..., Stage]) -> None:
    stage = small(history=2, previous={"keep": "10m", "then": "keep"}, watch={"duration": "10m", "interval": "1s"})
    first = stage.release(GOOD)
    stage.follow(first, lambda r: r.phase is Phase.WATCHING, 40, "the watch")
    back = watcher(stage, "release", "rollback", first.name)
    assert back.status == 0, back.out + back.err
    stage.follow(first, lambda r: r.phase is Phase.ROLLED_BACK, 40, "the rollback")
    refused = []
    for _ in range(4):
        refused.append(stage.release(GOOD))
        stage.follow(refused[-1], lambda r: r.status.reason == "Quarantined", 20, "the refusal")
    stays = {first.name, refused[-2].name, refused[-1].name}

    def names() -> set[str]:
        return {r.name for r in stage.hands.read_releases(NAMESPACE)}

    stage.wait_for(lambda: names() == stays, f"only {sorted(stays)} to stay", 30, lambda: str(sorted(names())))
    again = watcher(stage, *ask(GOOD))
    assert again.status == 5
    assert "was rolled back" in again.out
