"""Releases that are asked for while another one runs, where the Application lets them wait for their turn."""

from __future__ import annotations

from collections.abc import Callable

from tests.scenarios.test_people import HELD, reach
from tests.support.acting import GOOD, Selector, watcher
from watcher.core.release import Phase
from watcher.demo.stage import Stage


def test_queued_releases_begin_in_the_order_in_which_they_were_asked_for(small: Callable[..., Stage]) -> None:
    stage = small(whileRunning="queue", tests=HELD)
    with Selector(stage) as selector:
        first = stage.release(GOOD)
        reach(stage, first, Phase.TESTING)
        asked = (stage.release("2.5.0"), stage.release("2.5.1"))
        second, third = sorted(asked, key=lambda r: (r.created_at, r.name))  # a cluster counts in seconds
        stage.follow(third, lambda r: first.name in r.status.message, 20, "the third to say whom it waits for")
        queued = stage.follow(second, lambda r: "Queued" in r.status.message, 20, "the second to wait")
        assert f"Release {first.name} (Testing)" in queued.status.message
        assert watcher(stage, "release", "abort", first.name).status == 0
        reach(stage, second, Phase.TESTING)
        assert stage.read(third).phase is Phase.PENDING
        assert watcher(stage, "release", "abort", third.name).status == 0
        reach(stage, third, Phase.ABORTED)
        assert stage.read(second).phase is Phase.TESTING
        selector.was("blue")
