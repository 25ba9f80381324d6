"""The machine's time: set during a watch it changes nothing, and between watches it is followed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.core.lifecycle.story import given
from tests.support.acting import application, write
from tests.support.api import kubeconfig
from watcher.core.release import Phase
from watcher.engine.clock import SystemClock, lasts
from watcher.engine.daemon import Daemon

HOUR = timedelta(hours=1)
ABOUT = timedelta(seconds=30)


class Machine:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.off = timedelta(0)

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.off


def test_a_wall_clock_that_is_set_is_not_followed_until_it_is_asked_for() -> None:
    machine = Machine()
    clock = SystemClock(machine.wall)
    for off in (HOUR, -HOUR):
        began = clock.now()
        machine.off += off
        assert timedelta(0) <= clock.now() - began < ABOUT
        assert abs(clock.follow() - off) < ABOUT
        assert abs(clock.now() - machine.wall()) < ABOUT


def test_a_wall_clock_that_is_right_is_left_alone() -> None:
    clock = SystemClock(Machine().wall)
    assert clock.follow() == timedelta(0)


def test_a_release_and_its_keep_time_last_and_nothing_does_after_them() -> None:
    story = given()
    assert lasts([story.release])
    assert lasts([story.until(Phase.WATCHING).release])
    assert lasts([story.to_the_end().release])
    assert not lasts([story.time_passes(900).release])
    assert not lasts([])


def test_a_daemon_with_nothing_under_way_follows_the_machines_time(tmp_path: Path) -> None:
    machine = Machine()
    clock = SystemClock(machine.wall)
    files = write(tmp_path / "config", application())
    daemon = Daemon([*files], {}, kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1"), clock)
    machine.off = HOUR
    daemon.round()
    assert abs(clock.now() - machine.wall()) < ABOUT
