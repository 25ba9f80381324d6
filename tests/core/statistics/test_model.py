"""What is expected after the switch, and what stands out, for the metrics that there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import pytest

from watcher.core.statistics.evidence import Direction, Evidence, Tolerance, weigh
from watcher.core.statistics.history import CHECKS, MEDIAN, history
from watcher.core.statistics.model import Reference, prepare
from watcher.core.statistics.ranks import Check
from watcher.core.statistics.shape import origins_of_other_days, shape, trend

Point = tuple[float, float]

MINUTE = 60.0
DAY = 1440
NONE = Tolerance(0.0, 0.0)
USUAL = Tolerance(0.2, 0.0)


def series(of: Callable[[int], float], length: int, begin: int = 0, step: float = MINUTE) -> list[Point]:
    return [(at * step, of(at)) for at in range(begin, begin + length)]


def noisy(seed: int, level: float = 100.0, noise: float = 5.0) -> Callable[[int], float]:
    random = Random(seed)
    return lambda at: level + random.gauss(0, noise)


def daily(seed: int) -> Callable[[int], float]:
    """It climbs steeply at the start of each day: from 100 to 300 within the first hour, and back in the evening."""
    random = Random(seed)

    def value(at: int) -> float:
        minute = at % DAY
        up = min(1.0, minute / 60) if minute < 720 else max(0.0, 1 - (minute - 720) / 60)
        return 100 + 200 * up + random.gauss(0, 3)

    return value


def learnt(before: Sequence[Point], step: float = MINUTE, sides: int = 2) -> Reference:
    reference = prepare(before, step, 3600, 0.01, sides)
    assert reference is not None
    return reference


def alarm(
    reference: Reference, after: Sequence[Point], tolerance: Tolerance = USUAL, direction: Direction = "both"
) -> tuple[int, Evidence] | None:
    """The first look that raises an alarm: its number, and its evidence."""
    for count in range(1, len(after) + 1):
        evidence = weigh(reference.look(after[:count]), direction, tolerance)
        if evidence is not None and evidence.breaching:
            return count, evidence
    return None


def test_noise_goes_on_without_an_alarm_and_a_step_raises_one_within_minutes() -> None:
    value = noisy(1)
    reference = learnt(series(value, 2 * DAY))
    assert (reference.way, reference.watches > 100) == ("level", True)
    assert alarm(reference, series(value, 60, 2 * DAY)) is None
    found = alarm(reference, series(lambda at: value(at) + 60, 30, 2 * DAY))
    assert found is not None
    assert found[0] <= 3
    assert found[1].value > found[1].high >= found[1].expected


def test_the_morning_is_expected_where_other_mornings_were_alike() -> None:
    value = daily(1)
    reference = learnt(series(value, 4 * DAY))
    assert reference.way == "shape"
    morning = series(value, 60, 4 * DAY)
    assert alarm(reference, morning) is None
    still = series(lambda at: 100.0, 60, 4 * DAY)
    found = alarm(reference, still)
    assert found is not None
    assert found[1].value < found[1].low
    assert reference.expected(59) == pytest.approx(300, abs=10)


def test_one_odd_day_does_not_bend_the_shape() -> None:
    value = daily(1)
    odd = [(at, 100.0 if DAY * MINUTE <= at < 2 * DAY * MINUTE else one) for at, one in series(value, 6 * DAY)]
    assert learnt(odd).expected(59) == pytest.approx(300, abs=10)


def test_what_climbs_all_the_time_is_expected_to_climb_on() -> None:
    random = Random(3)

    def memory(at: int) -> float:
        return 1000 + at * 2.0 + random.gauss(0, 1)

    reference = learnt(series(memory, 20 * 60))
    assert reference.way == "trend"
    assert reference.expected(60) == pytest.approx(1000 + 2 * 21 * 60, rel=0.01)
    assert alarm(reference, series(memory, 60, 20 * 60), NONE) is None


def test_a_minority_of_spikes_raises_an_alarm_although_the_median_stays() -> None:
    value = noisy(2)
    reference = learnt(series(value, 2 * DAY))
    found = alarm(reference, series(lambda at: 123.0 if at % 4 == 0 else value(at), 60, 2 * DAY))
    assert found is not None
    assert found[1].check == Check(3, 15)


def test_bursts_as_they_always_come_raise_none() -> None:
    random = Random(4)

    def value(at: int) -> float:
        return 100 + random.gauss(0, 5) + (80 if at % 97 < 4 else 0)

    reference = learnt(series(value, 3 * DAY))
    assert alarm(reference, series(value, 120, 3 * DAY)) is None


def test_one_number_alone_has_to_be_twice_as_far_out_as_any_before() -> None:
    value = noisy(5)
    before = series(value, 2 * DAY)
    before[1500] = (before[1500][0], 200.0)
    reference = learnt(before)
    after = series(lambda at: 100.0, 30, 2 * DAY)
    after[20] = (after[20][0], 250.0)
    assert alarm(reference, after) is None
    after[20] = (after[20][0], 400.0)
    found = alarm(reference, after)
    assert found is not None
    assert found[1].check == Check(1, 1)


@pytest.mark.parametrize("hours", [1, 3, 8])
def test_a_service_of_some_hours_is_judged_by_what_it_showed(hours: int) -> None:
    value = noisy(6)
    reference = learnt(series(value, hours * 60))
    assert (reference.way, reference.watches) == ("short", 0)
    assert alarm(reference, series(value, 60, hours * 60)) is None
    found = alarm(reference, series(lambda at: value(at) + 80, 30, hours * 60))
    assert found is not None
    assert found[0] <= 5


def test_a_short_past_that_climbs_widens_what_is_expected() -> None:
    still, climbing = noisy(7), noisy(7)
    flat = learnt(series(still, 60)).reaches[MEDIAN]
    risen = learnt(series(lambda at: climbing(at) + 0.7 * at, 60)).reaches[MEDIAN]
    assert risen.above > 1.5 * flat.above


def test_five_numbers_that_jump_about_are_no_reason_for_an_alarm() -> None:
    reference = learnt([(at * MINUTE, value) for at, value in enumerate([1.0, 9.0, 4.0, 2.0, 7.0])])
    assert alarm(reference, series(lambda at: 30.0, 30, 5)) is None


def test_without_five_numbers_there_is_no_reference() -> None:
    assert prepare([(at * MINUTE, 1.0) for at in range(4)], MINUTE, 3600, 0.01, 2) is None


@pytest.mark.parametrize("length", [60, 2 * DAY], ids=["an hour", "two days"])
def test_a_flat_line_leaves_the_tolerances(length: int) -> None:
    reference = learnt(series(lambda at: 0.0, length))
    after = series(lambda at: 0.5, 30, length)
    assert alarm(reference, after, Tolerance(0.2, 0.6)) is None
    found = alarm(reference, after, Tolerance(0.2, 0.4))
    assert found is not None
    assert found[1].high == 0.4
    assert found[1].times == pytest.approx(1.25)


def test_a_flat_line_without_a_tolerance_takes_any_move_for_one() -> None:
    reference = learnt(series(lambda at: 7.0, 60))
    assert alarm(reference, series(lambda at: 7.0, 30, 60), NONE) is None
    found = alarm(reference, series(lambda at: 7.1, 30, 60), NONE)
    assert found is not None
    assert found[1].times == math.inf


def test_gaps_are_no_numbers() -> None:
    value = noisy(8)
    whole = series(value, 4 * DAY)
    gappy = [point for at, point in enumerate(whole) if at % 5 and not 2000 < at < 3000]
    reference = learnt(gappy)
    assert reference.way == "level"
    after = [point for at, point in enumerate(series(value, 60, 4 * DAY)) if at % 3]
    assert alarm(reference, after) is None
    assert alarm(reference, [(at, one + 60) for at, one in after]) is not None


def test_a_counter_reset_is_one_wild_number_and_no_more() -> None:
    value = noisy(9)
    before = series(value, 2 * DAY)
    before[2000] = (before[2000][0], 0.0)
    after = series(value, 60, 2 * DAY)
    after[30] = (after[30][0], 0.0)
    assert alarm(learnt(before), after) is None


@pytest.mark.parametrize("step", [10.0, 60.0, 300.0])
def test_steps_from_ten_seconds_to_five_minutes(step: float) -> None:
    value, length = noisy(10), round(DAY * MINUTE / step)
    reference = learnt(series(value, length, 0, step), step)
    assert reference.watches >= 24
    assert alarm(reference, series(value, round(3600 / step), length, step)) is None
    assert alarm(reference, series(lambda at: value(at) + 60, 15, length, step)) is not None


def test_of_several_numbers_in_one_step_the_last_counts() -> None:
    before = series(noisy(11), DAY)
    reference = learnt(before)
    at = DAY * MINUTE
    after = [(at + 10 * k, 100.0 if k in {3, 8, 11} else 1e6) for k in range(12)]
    found = weigh(reference.look(after), "both", USUAL)
    assert found is not None
    assert found.value < 1000
    twice = history([(0.0, 1.0), (10.0, 2.0), (60.0, 3.0)], MINUTE, 3600)
    assert twice.values == [2.0, 3.0]


def test_a_look_begins_with_the_numbers_before_the_switch() -> None:
    reference = learnt(series(noisy(12), DAY))
    first = {seen.check: seen for seen in reference.look([(DAY * MINUTE, 900.0)])}
    assert first[Check(1, 1)].high == 900.0
    assert first[Check(3, 15)].high < 200


def test_a_number_before_the_first_step_counts_as_in_it() -> None:
    reference = learnt(series(noisy(13), DAY))
    early = {seen.check: seen for seen in reference.look([((DAY - 2) * MINUTE, 5.0), (DAY * MINUTE, 900.0)])}
    assert early[Check(1, 1)].high == 900.0


def test_a_reference_that_ended_long_ago_is_held_against_its_last_level() -> None:
    reference = learnt(series(noisy(14), 120))
    late = [(at * MINUTE, 100.0) for at in range(3000, 3020)]
    assert alarm(reference, late) is None
    assert alarm(reference, [(at, 250.0) for at, _ in late]) is not None


@pytest.mark.parametrize(
    ("direction", "up", "down"), [("increase", True, False), ("decrease", False, True), ("both", True, True)]
)
def test_only_the_direction_asked_for_counts(direction: Direction, up: bool, down: bool) -> None:
    reference = learnt(series(noisy(15), DAY), sides=1)
    for found, level in ((up, 200.0), (down, 10.0)):
        after = series(lambda at, level=level: level, 20, DAY)  # type: ignore[misc]
        assert (alarm(reference, after, USUAL, direction) is not None) is found


def test_infinity_stands_out() -> None:
    reference = learnt(series(noisy(16), DAY))
    for value in (math.inf, -math.inf):
        found = alarm(reference, [(DAY * MINUTE, value)])
        assert found is not None
        assert found[1].times == math.inf


def test_at_most_a_week_and_two_hours_are_learnt_from() -> None:
    long = series(noisy(17), 9 * DAY)
    assert learnt(long) == learnt(long[-(7 * DAY + 120) :])


def test_past_watches_in_which_nothing_was_seen_do_not_count() -> None:
    value = noisy(18)
    morsels = [point for at, point in enumerate(series(value, 40 * 120 + 60)) if at % 120 < 10 or at >= 40 * 120]
    assert learnt(morsels).way == "short"


def test_shapes_and_trends_need_numbers_where_they_look() -> None:
    past = history([*series(noisy(19), 60), *series(noisy(20), 60, DAY)], MINUTE, 7 * 86400.0)
    assert shape(past, DAY + 60, 60, []) is None
    assert shape(past, DAY + 60, 60, [700]) is None
    sparse = history(series(noisy(19), 60, 0, 8 * MINUTE), MINUTE, 7 * 86400.0)
    assert sparse.level(300) is not None
    assert shape(sparse, 472, 60, [300]) is None
    assert trend(past, 61, 100.0, 60) is None
    assert origins_of_other_days(past, DAY + 60, 60) == [60]
    assert past.noise(200, 300) is None
    assert past.noise(5, 2) is None


def test_a_shape_is_level_where_no_other_day_has_numbers() -> None:
    points = [*series(float, 120), *series(lambda at: 0.0, 60, DAY)]
    past = history(points, MINUTE, 7 * 86400.0)
    found = shape(past, DAY + 60, 120, [60])
    assert found is not None
    assert len(found) == 120 + MEDIAN.middle
    assert found[-1] == found[80]


def test_the_evidence_is_what_stands_out_most() -> None:
    reference = learnt(series(noisy(21), DAY))
    calm = weigh(reference.look([(DAY * MINUTE, 104.0)]), "both", USUAL)
    assert calm is not None
    assert not calm.breaching
    assert 0 <= calm.times <= 1
    assert calm.low < calm.value < calm.high
    assert {seen.check for seen in reference.look([(DAY * MINUTE, 104.0)])} == set(CHECKS)
