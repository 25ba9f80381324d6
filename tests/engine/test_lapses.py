"""A lead that runs out and is won again at once: what was left undone meanwhile is taken up again."""

from __future__ import annotations

from tests.engine.test_lease import DURATION, Shelf, leader
from tests.support.clock import HandClock


def test_a_lead_that_ran_out_while_the_process_was_stopped_is_told_as_lost_and_won() -> None:
    told: list[bool] = []
    clock, shelf = HandClock(), Shelf()
    only = leader(shelf, "a", clock, told.append)
    only.turn()
    only.tell()
    clock.seconds += DURATION.total_seconds()
    only.turn()
    only.tell()
    assert told == [True, False, True]


def test_a_lead_that_ran_out_during_a_slow_renewal_is_told_as_lost_and_won() -> None:
    told: list[bool] = []
    clock, shelf = HandClock(), Shelf()
    only = leader(shelf, "a", clock, told.append)
    only.turn()
    only.tell()
    clock.seconds += 5

    def slowly() -> None:
        clock.seconds += 3

    shelf.slow = slowly
    only.turn()
    only.tell()
    assert only.leads()
    assert told == [True, False, True]


def test_a_lead_that_is_renewed_in_time_is_told_once() -> None:
    told: list[bool] = []
    clock, shelf = HandClock(), Shelf()
    only = leader(shelf, "a", clock, told.append)
    for _ in range(5):
        only.turn()
        only.tell()
        clock.seconds += 2
    assert told == [True]
