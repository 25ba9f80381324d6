"""Comparison with the past: what stands out, what does not, and what is said when there is nothing to compare with."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.comparison import Compared, PastWindow, Point, Unknown, judge, learn
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
        pytest.param({}, NOISY, 0.86, True, id="past the usual spread at this confidence"),
        pytest.param({"confidence": "99.99%"}, NOISY, 0.86, False, id="which a higher confidence widens"),
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
    found = judged(compare(**keys), [reference], seen(now))
    assert isinstance(found, Compared)
    assert found.breaching is breaching


def test_a_breach_stands_out_against_every_window() -> None:
    busy = window(*[0.9] * 9, name="yesterday", origin="green, which had the traffic")
    found = judged(compare(), [CALM, busy], seen(1.0))
    assert isinstance(found, Compared)
    assert not found.breaching
    assert found.low == pytest.approx(0.4)
    assert found.high == pytest.approx(1.08)
    assert judged(compare(), [CALM, busy], seen(1.09)).breaching  # type: ignore[union-attr]


def test_the_level_now_is_that_of_the_last_numbers_so_one_spike_is_none() -> None:
    found = judged(compare(), [CALM], seen(0.5, 0.5, 0.5, 9.0, 0.5))
    assert isinstance(found, Compared)
    assert (found.level, found.breaching) == (0.5, False)
    later = judged(compare(), [CALM], seen(*[0.5] * 50, 0.9, 0.9, 0.9))
    assert isinstance(later, Compared)
    assert later.breaching


@pytest.mark.parametrize(
    ("direction", "said"),
    [
        ("increase", "480 ms, expected up to 600 ms (before 500 ms on blue; yesterday: no data of either colour)"),
        ("decrease", "480 ms, expected 400 ms or more (before 500 ms on blue; yesterday: no data of either colour)"),
        ("both", "480 ms, expected 400 ms to 600 ms (before 500 ms on blue; yesterday: no data of either colour)"),
    ],
)
def test_it_says_the_level_the_range_and_whose_numbers_they_are(direction: str, said: str) -> None:
    found = judged(compare(direction=direction), [CALM], seen(0.48), ["yesterday: no data of either colour"])
    assert isinstance(found, Compared)
    assert found.said == said


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
    assert judged(compare(), windows, seen(1.0), missing) == Unknown(f"nothing to compare with: {reason}")


numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=5, max_size=30), st.lists(numbers, min_size=1, max_size=10), st.randoms())
def test_the_order_of_the_past_makes_no_difference_and_looking_twice_gives_the_same(
    reference: list[float], now: list[float], random: Any
) -> None:
    shuffled = reference[:]
    random.shuffle(shuffled)
    first = judged(compare(direction="both"), [window(*reference)], seen(*now))
    again = judged(compare(direction="both"), [window(*shuffled)], seen(*now))
    assert first == again
    assert isinstance(first, Compared)
    assert first.breaching == (not first.low <= first.level <= first.high)
