"""Comparison with the past: what stands out, what does not, and what is said when there is nothing to compare with."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.core.comparison import Compared, PastWindow, Point, Unknown, expect, judge, learn
from watcher.core.rules import BoundCompare


def compare(**keys: Any) -> BoundCompare:
    one = {"color": "blue", "query": "q", "liveQuery": "l"}
    written = {
        "with": ["before"],
        "direction": "increase",
        "tolerance": {"relative": "20%", "absolute": "50ms"},
        "confidence": "99%",
        "previous": one,
        "current": one | {"color": "green"},
        "length": "15m",
    }
    return BoundCompare.model_validate_json(json.dumps(written | keys))


def window(*values: float, name: str = "before", origin: str = "blue") -> PastWindow:
    return PastWindow(name, origin, tuple((float(at), value) for at, value in enumerate(values)))


def judged(
    held: BoundCompare, windows: Sequence[PastWindow], numbers: Sequence[Point], missing: Sequence[str] = ()
) -> Compared | Unknown:
    return judge(held, learn(held, windows, missing), numbers)


def seen(*values: float) -> list[tuple[float, float]]:
    return [(100.0 + at, value) for at, value in enumerate(values)]


CALM = window(*[0.5] * 20)
NOISY = window(*[0.4, 0.6] * 10)


@pytest.mark.parametrize(
    ("keys", "reference", "now", "breaching"),
    [
        pytest.param({}, CALM, 0.6, False, id="exactly the relative tolerance above is within it"),
        pytest.param({}, CALM, 0.601, True, id="past the relative and the absolute tolerance"),
        pytest.param({}, window(*[0.1] * 9), 0.149, False, id="past the relative tolerance alone"),
        pytest.param({}, window(*[0.1] * 9), 0.151, True, id="past both, the absolute one being the wider"),
        pytest.param({}, NOISY, 0.601, False, id="within the usual spread"),
        pytest.param({}, NOISY, 1.45, True, id="past the usual spread at this confidence"),
        pytest.param({"confidence": "99.9999%"}, NOISY, 1.45, False, id="which a higher confidence widens"),
        pytest.param({}, CALM, 0.1, False, id="a decrease, where an increase is asked for"),
        pytest.param({"direction": "decrease"}, CALM, 0.1, True, id="a decrease, where one is asked for"),
        pytest.param({"direction": "decrease"}, CALM, 0.9, False, id="an increase, where a decrease is asked for"),
        pytest.param({"direction": "both"}, CALM, 0.1, True, id="a decrease, where either is asked for"),
        pytest.param({"direction": "both"}, CALM, 0.9, True, id="an increase, where either is asked for"),
        pytest.param({"direction": "both"}, CALM, 0.55, False, id="neither"),
        pytest.param({}, window(*[0.0] * 9), 0.049, False, id="a baseline of zero leaves the absolute tolerance"),
        pytest.param({}, window(*[0.0] * 9), 0.051, True, id="past the absolute tolerance from zero"),
        pytest.param({}, window(*[-1.0] * 9), -0.9, False, id="the relative tolerance of a negative level"),
        pytest.param({}, CALM, math.inf, True, id="infinity compares as a number"),
    ],
)
def test_a_breach_is_past_both_tolerances_and_the_usual_spread(
    keys: dict[str, Any], reference: PastWindow, now: float, breaching: bool
) -> None:
    found = judged(compare(**keys), [reference], seen(*[now] * 15))
    assert isinstance(found, Compared)
    assert found.breaching is breaching


def days(of: int, now: float = 0.5) -> list[PastWindow]:
    """So many days at a number a minute, of which the last hour is at another level."""
    values = [0.5 + 0.02 * math.sin(at * at) for at in range(of * 1440)]
    values[-60:] = [now + 0.02 * math.sin(at * at) for at in range(60)]
    points = [((at - len(values)) * 60.0, value) for at, value in enumerate(values)]
    return [
        PastWindow("before", "blue", tuple(points[-60:])),
        PastWindow("lastWeek", "green, as the watcher saw", tuple(points[:-60])),
    ]


def minutes(*values: float) -> list[Point]:
    return [(60.0 * at, value) for at, value in enumerate(values)]


def test_all_windows_are_one_past() -> None:
    alone, _ = days(2)
    found = judged(compare(), days(2), minutes(*[0.7] * 3))
    assert isinstance(found, Compared)
    assert found.breaching
    short = judged(compare(tolerance={"relative": "1%", "absolute": "1ms"}), [alone], minutes(*[0.55] * 3))
    assert isinstance(short, Compared)
    assert not short.breaching
    learnt = judged(compare(tolerance={"relative": "1%", "absolute": "1ms"}), days(2), minutes(*[0.58] * 3))
    assert isinstance(learnt, Compared)
    assert learnt.breaching


def test_the_level_is_that_of_the_last_hour() -> None:
    found = judged(compare(tolerance={"relative": "1%", "absolute": "1ms"}), days(2, now=0.8), minutes(*[0.8] * 3))
    assert isinstance(found, Compared)
    assert not found.breaching
    assert found.low < 0.8 < found.high < 1.5


def test_one_spike_is_none_where_the_past_is_short_and_two_are_one_in_a_burst() -> None:
    found = judged(compare(), [CALM], seen(0.5, 0.5, 0.5, 9.0, 0.5))
    assert isinstance(found, Compared)
    assert (found.level, found.breaching) == (0.5, False)
    later = judged(compare(), [CALM], seen(*[0.5] * 50, 0.9, 0.9))
    assert isinstance(later, Compared)
    assert (later.level, later.breaching, later.since) == (0.9, True, 150.0)
    longer = judged(compare(), [CALM], seen(*[0.5] * 50, 0.9, 0.9, 0.5, *[0.9] * 20))
    assert isinstance(longer, Compared)
    assert longer.since == 150.0


@pytest.mark.parametrize(
    ("direction", "said"),
    [
        ("increase", "480 ms, expected up to 600 ms with 99%"),
        ("decrease", "480 ms, expected 400 ms or more with 99%"),
        ("both", "480 ms, expected 400 ms to 600 ms with 99%"),
    ],
)
def test_it_says_the_level_the_range_and_whose_numbers_they_are(direction: str, said: str) -> None:
    missing = ["yesterday: no data of either colour"]
    found = judged(compare(direction=direction), [CALM], seen(0.48, 0.48), missing)
    assert isinstance(found, Compared)
    known = "(before 500 ms on blue; yesterday: no data of either colour; by the little that there is of a past)"
    assert (found.said, found.since) == (f"{said} {known}", None)
    assert (found.before, found.level) == (0.5, 0.48)
    unseen = expect(compare(direction=direction), learn(compare(), [CALM], missing), 101.0)
    assert unseen is not None
    assert unseen.said == f"{said.removeprefix('480 ms, ')} {known}"
    assert (unseen.before, unseen.low, unseen.high) == (0.5, found.low, found.high)


def test_a_breach_says_what_stands_out_how_often_since_when_and_how_sure() -> None:
    found = judged(compare(), [CALM], seen(0.5, 0.9, 0.95))
    assert isinstance(found, Compared)
    assert found.said == (
        "900 ms or more in 2 of the last 3 numbers since 00:01:41 UTC, expected up to 600 ms with 99% "
        "(before 500 ms on blue; by the little that there is of a past)"
    )
    falling = judged(compare(direction="decrease"), days(2), minutes(0.1))
    assert isinstance(falling, Compared)
    assert falling.said.startswith("100 ms or less in one number since 00:00:00 UTC, expected 3")
    assert falling.said.endswith("; by 138 past hours)")


SHARE = {"tolerance": {"relative": "20%", "absolute": "1%"}}


@pytest.mark.parametrize(("events", "breaching"), [(20.0, False), (2000.0, True), (None, True)])
def test_a_share_of_few_events_is_no_breach(events: float | None, breaching: bool) -> None:
    held = compare(**SHARE)
    found = judge(held, learn(held, [window(*[0.0] * 20)]), seen(0.05, 0.05), events)
    assert isinstance(found, Compared)
    assert found.breaching is breaching
    if not breaching:
        assert found.said == (
            "5%, expected up to 1% with 99%, and of 20 events too few to be sure of more "
            "(before 0% on blue; by the little that there is of a past)"
        )


def test_a_share_that_falls_is_counted_as_well() -> None:
    held = compare(**SHARE, direction="decrease")
    past = learn(held, [window(*[1.0] * 20)])
    few, many = (judge(held, past, seen(0.7, 0.7), events) for events in (5.0, 500.0))
    assert isinstance(few, Compared)
    assert isinstance(many, Compared)
    assert (few.breaching, many.breaching) == (False, True)


def test_one_number_long_after_a_short_past_says_nothing_yet() -> None:
    assert judged(compare(), [CALM], [(5000.0, 0.5)]) == Unknown(
        "too few numbers since the switch to compare with the past (before 500 ms on blue)", "500 ms"
    )


@pytest.mark.parametrize(
    ("windows", "missing", "reason"),
    [
        ([], ["lastWeek: no data of either colour"], "lastWeek: no data of either colour"),
        ([window()], [], "before has no numbers on blue"),
        ([window(1.0)], [], "before has 1 number on blue"),
        ([window(*[1.0] * 4)], [], "before has 4 numbers on blue"),
    ],
)
def test_without_enough_of_a_past_there_is_no_answer(
    windows: list[PastWindow], missing: list[str], reason: str
) -> None:
    assert judged(compare(), windows, seen(1.0), missing) == Unknown(f"nothing to compare with: {reason}", "1000 ms")
    assert expect(compare(), learn(compare(), windows, missing), 100.0) is None


numbers = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(st.lists(numbers, min_size=5, max_size=30), st.lists(numbers, min_size=1, max_size=20))
def test_looking_twice_gives_the_same_and_a_breach_lies_outside_the_range(
    reference: list[float], now: list[float]
) -> None:
    held = compare(direction="both")
    first = judged(held, [window(*reference)], [(len(reference) + at, value) for at, value in enumerate(now)])
    again = judged(held, [window(*reference)], [(len(reference) + at, value) for at, value in enumerate(now)])
    assert first == again
    assert isinstance(first, Compared)
    assert first.breaching == (not first.low <= first.level <= first.high)
