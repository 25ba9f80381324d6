"""Workers: one at a time per Release, many Releases side by side, rollbacks in a lane of their own; and alarms."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.acting import until
from watcher.engine.clock import SystemClock
from watcher.engine.lanes import Alarms, Lanes

SOON = 5.0


class Work:
    """Runs of keys: counts them, can hold them, and notices two of one key at once."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.threads: dict[str, str] = {}
        self.running: set[str] = set()
        self.twice = False
        self.gates: dict[str, threading.Event] = {}
        self.began: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def hold(self, key: str) -> None:
        self.gates[key] = threading.Event()
        self.began[key] = threading.Event()

    def __call__(self, key: str) -> None:
        with self._lock:
            self.twice |= key in self.running
            self.running.add(key)
        self.threads[key] = threading.current_thread().name
        if key in self.gates:
            self.began[key].set()
            self.gates[key].wait(SOON)
        with self._lock:
            self.running.discard(key)
            self.runs[key] += 1


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def lanes(work: Work) -> Iterator[Lanes[str]]:
    found = Lanes(work, lambda key: key.startswith("rescue"), ordinary=2, rescues=1)
    yield found
    for gate in work.gates.values():
        gate.set()
    found.stop()


def test_a_key_never_runs_twice_at_once(lanes: Lanes[str], work: Work) -> None:
    def wake() -> None:
        for _ in range(300):
            lanes.wake("a")

    threads = [threading.Thread(target=wake) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    until(lambda: lanes.busy() == 0, "the work to be done")
    assert not work.twice
    assert work.runs["a"] >= 1


def test_a_key_that_is_woken_while_it_runs_runs_once_more(lanes: Lanes[str], work: Work) -> None:
    work.hold("a")
    lanes.wake("a")
    assert work.began["a"].wait(SOON)
    for _ in range(5):
        lanes.wake("a")
    work.gates["a"].set()
    until(lambda: lanes.busy() == 0, "the work to be done")
    assert work.runs["a"] == 2


def test_a_key_that_waits_is_not_queued_again(lanes: Lanes[str], work: Work) -> None:
    for key in ("a", "b"):
        work.hold(key)
        lanes.wake(key)
    for _ in range(5):
        lanes.wake("c")
    assert lanes.busy() == 3
    for key in ("a", "b"):
        work.gates[key].set()
    until(lambda: lanes.busy() == 0, "the work to be done")
    assert work.runs["c"] == 1


def test_a_full_ordinary_lane_does_not_delay_a_rescue(lanes: Lanes[str], work: Work) -> None:
    for key in ("a", "b", "c", "d"):
        work.hold(key)
        lanes.wake(key)
    lanes.wake("rescue")
    until(lambda: work.runs["rescue"] == 1, "the rescue")
    assert work.threads["rescue"].startswith("rescue")
    assert work.runs["a"] == 0


def test_a_run_that_fails_does_not_end_the_lane(work: Work) -> None:
    def run(key: str) -> None:
        work(key)
        if key == "bad":
            raise ValueError(key)

    lanes = Lanes(run, lambda _: False, ordinary=1)
    lanes.wake("bad")
    lanes.wake("good")
    until(lambda: work.runs["good"] == 1, "the next key")
    lanes.wake("bad")
    until(lambda: work.runs["bad"] == 2, "the bad key to be tried again")
    lanes.stop()


def test_stopping_waits_for_what_runs_and_takes_nothing_more(work: Work) -> None:
    lanes = Lanes(work, lambda _: False, ordinary=1)
    work.hold("a")
    lanes.wake("a")
    assert work.began["a"].wait(SOON)
    lanes.wake("b")
    stopper = threading.Thread(target=lanes.stop)
    stopper.start()
    stopper.join(0.2)
    assert stopper.is_alive(), "it does not wait"
    lanes.wake("c")
    work.gates["a"].set()
    stopper.join(SOON)
    assert not stopper.is_alive()
    assert work.runs == {"a": 1}


@pytest.fixture
def alarms() -> Iterator[Callable[..., tuple[Alarms[str], list[str]]]]:
    made: list[Alarms[str]] = []

    def make() -> tuple[Alarms[str], list[str]]:
        rang: list[str] = []
        found = Alarms(SystemClock(), rang.append)
        found.start()
        made.append(found)
        return found, rang

    yield make
    for found in made:
        found.stop()


def at(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_alarms_ring_in_the_order_of_their_times(alarms: Callable[..., tuple[Alarms[str], list[str]]]) -> None:
    found, rang = alarms()
    found.set("third", at(0.3))
    found.set("first", at(0.1))
    found.set("past", at(-5))
    found.set("second", at(0.2))
    until(lambda: len(rang) == 4, "every alarm")
    assert rang == ["past", "first", "second", "third"]


def test_of_two_alarms_for_a_key_the_earlier_rings_and_only_that(
    alarms: Callable[..., tuple[Alarms[str], list[str]]],
) -> None:
    found, rang = alarms()
    found.set("a", at(0.4))
    found.set("a", at(0.05))
    found.set("a", at(0.5))
    found.set("end", at(0.6))
    until(lambda: "end" in rang, "the last alarm")
    assert rang == ["a", "end"]


def test_a_cancelled_alarm_does_not_ring_and_a_key_can_be_set_again(
    alarms: Callable[..., tuple[Alarms[str], list[str]]],
) -> None:
    found, rang = alarms()
    found.set("a", at(0.05))
    found.set("b", at(0.05))
    found.cancel("a")
    found.set("end", at(0.2))
    until(lambda: "end" in rang, "the last alarm")
    assert rang == ["b", "end"]
    found.set("b", at(0))
    until(lambda: rang == ["b", "end", "b"], "the same key again")


def test_a_run_that_raises_what_nobody_foresaw_is_reported_so_that_it_is_tried_again() -> None:
    done = threading.Event()
    failed: list[str] = []

    def run(key: str) -> None:
        if not failed:
            raise RuntimeError(key)
        done.set()

    def again(key: str) -> None:
        failed.append(key)
        own.wake(key)

    own: Lanes[str] = Lanes(run, lambda _: False, again, ordinary=1)
    own.wake("a")
    assert done.wait(5)
    assert failed == ["a"]
    own.stop()
