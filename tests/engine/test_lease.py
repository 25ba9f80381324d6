"""Only the leader acts (S6): the Lease, with a deadline on a clock of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from structlog.testing import capture_logs

from tests.support.clock import HandClock
from watcher.adapters.errors import Conflict, Transient
from watcher.adapters.kubernetes.leases import LeaseView
from watcher.engine.clock import SystemClock
from watcher.engine.lease import SAFE, Leader, Notes

DURATION = timedelta(seconds=10)


class Shelf:
    """One Lease in memory, with the compare-and-swap of the API server (held to it by the adapter's contract)."""

    def __init__(self) -> None:
        self.lease: LeaseView | None = None
        self.broken = False
        self.slow: Callable[[], None] = lambda: None

    def read(self) -> LeaseView | None:
        if self.broken:
            raise Transient("the API server does not answer")
        return self.lease

    def create(self, holder: str, duration: float, at: datetime, namespaces: Iterable[str] = ()) -> None:
        if self.lease is not None:
            raise Conflict("it exists")
        self.lease = LeaseView(holder, duration, 0, "1", frozenset(namespaces))

    def take(
        self, lease: LeaseView, holder: str, duration: float, at: datetime, namespaces: Iterable[str] = ()
    ) -> None:
        self.slow()
        if lease != self.lease:
            raise Conflict("it changed")
        changes = {"holder": holder, "duration": duration, "version": str(int(lease.version) + 1)}
        self.lease = replace(lease, **changes, namespaces=frozenset(namespaces))  # type: ignore[arg-type]

    def release(self, lease: LeaseView) -> None:
        self.take(lease, "", 1, datetime.now(UTC))


def leader(shelf: Shelf, name: str, clock: HandClock, told: Callable[[bool], None] = lambda _: None) -> Leader:
    return Leader(shelf, name, DURATION, clock, told)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_the_first_one_leads_and_the_second_looks_on(shelf: Shelf, clock: HandClock) -> None:
    first, second = leader(shelf, "a", clock), leader(shelf, "b", clock)
    first.turn()
    second.turn()
    assert first.leads()
    assert not second.leads()


def test_one_that_looks_on_says_once_who_leads(shelf: Shelf, clock: HandClock) -> None:
    first, second = leader(shelf, "a", clock), leader(shelf, "b", clock)
    with capture_logs() as said:
        first.turn()
        for _ in range(3):
            second.turn()
            first.turn()
    looks_on = [line for line in said if line.get("leader")]
    assert [(line["event"], line["leader"]) for line in looks_on] == [("another replica leads; this one looks on", "a")]


def test_whoever_cannot_renew_stops_before_anybody_else_may_begin(shelf: Shelf, clock: HandClock) -> None:
    first, second = leader(shelf, "a", clock), leader(shelf, "b", clock)
    first.turn()
    second.turn()
    for _ in range(40):
        clock.seconds += 0.5
        second.turn()
        assert not (first.leads() and second.leads()), "two lead at once"
    assert second.leads()
    assert not first.leads()


def test_a_renewal_counts_from_before_it_was_asked_for(shelf: Shelf, clock: HandClock) -> None:
    first = leader(shelf, "a", clock)
    first.turn()

    def slowly() -> None:
        clock.seconds += 6

    shelf.slow = slowly
    first.turn()
    assert first.leads()
    clock.seconds += 10 * SAFE - 6
    assert not first.leads()


def test_a_holder_that_renews_is_never_overtaken(shelf: Shelf, clock: HandClock) -> None:
    first, second = leader(shelf, "a", clock), leader(shelf, "b", clock)
    for _ in range(60):
        first.turn()
        second.turn()
        clock.seconds += 2
        assert not second.leads()


def test_one_that_was_cut_off_and_comes_back_finds_itself_replaced(shelf: Shelf, clock: HandClock) -> None:
    first, second = leader(shelf, "a", clock), leader(shelf, "b", clock)
    first.turn()
    for _ in range(8):
        second.turn()
        clock.seconds += 2
    first.turn()
    assert second.leads()
    assert not first.leads()


def test_an_api_server_that_is_away_costs_the_lead_and_comes_back_with_it(shelf: Shelf, clock: HandClock) -> None:
    first = leader(shelf, "a", clock)
    first.turn()
    shelf.broken = True
    with pytest.raises(Transient):
        first.turn()
    assert first.leads(), "one lost renewal is not the end"
    clock.seconds += 8
    assert not first.leads()
    shelf.broken = False
    first.turn()
    assert first.leads()


def test_each_turn_that_the_api_server_did_not_answer_is_counted(shelf: Shelf) -> None:
    failed = Event()
    shelf.broken = True
    one = Leader(shelf, "one", DURATION, SystemClock(), lambda _: None, failed=failed.set)  # type: ignore[arg-type]
    one.start()
    assert failed.wait(10)
    one.stop()


def test_a_clean_stop_hands_the_lease_over_at_once(shelf: Shelf, clock: HandClock) -> None:
    leads = Event()
    first, second = leader(shelf, "a", clock, lambda _: leads.set()), leader(shelf, "b", clock)
    first.start()
    assert leads.wait(5)
    first.stop()
    assert not first.leads()
    second.turn()
    assert second.leads()


class Kept(Notes):
    """Notes of one process: what it was told, and what it says."""

    def __init__(self, *says: str) -> None:
        self.says, self.told = frozenset(says), frozenset[str]()

    def read(self, namespaces: frozenset[str]) -> None:
        self.told = namespaces

    def write(self) -> frozenset[str]:
        return self.says


def test_the_next_holder_is_told_where_the_one_before_may_have_left_something(shelf: Shelf, clock: HandClock) -> None:
    first, second = Kept("shop", "prod"), Kept("prod")
    one = Leader(shelf, "one", DURATION, clock, lambda _: None, first)  # type: ignore[arg-type]
    two = Leader(shelf, "two", DURATION, clock, lambda _: None, second)  # type: ignore[arg-type]
    one.turn()
    two.turn()
    assert second.told == {"shop", "prod"}
    assert shelf.lease
    assert shelf.lease.namespaces == {"shop", "prod"}
