"""Each figure against scipy and numpy, where they have the same one, and against what it is by definition."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from watcher.core.statistics.autocorrelation import MOST, effective_size, first_lag
from watcher.core.statistics.extremes import BEYOND_FITTED, BEYOND_SEEN, gumbel_limit, limit
from watcher.core.statistics.proportions import at_least, is_evidence
from watcher.core.statistics.ranks import Check, newest, ranked
from watcher.core.statistics.robust import median, quantile, spread
from watcher.core.statistics.student import upper_quantile, upper_tail

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@settings(deadline=None)
@given(numbers, st.floats(0, 1))
def test_level_spread_and_quantiles_are_those_of_numpy_and_scipy(values: list[float], share: float) -> None:
    assert median(values) == pytest.approx(np.median(values), abs=1e-9)
    scaled = stats.median_abs_deviation(values, scale="normal")
    assert spread(values) == pytest.approx(scaled, rel=1e-4, abs=1e-9)
    assert spread(values, around=0.0) == pytest.approx(1.4826 * np.median(np.abs(values)), abs=1e-9)
    assert quantile(sorted(values), share) == pytest.approx(np.quantile(values, share), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 1.5, 4, 30, 500, 20000])
@pytest.mark.parametrize("rate", [0.4, 0.05, 1e-3, 1e-6])
def test_quantiles_of_student_are_those_of_scipy(freedom: float, rate: float) -> None:
    found = upper_quantile(rate, freedom)
    assert found == pytest.approx(stats.t.isf(rate, freedom), rel=1e-6)
    assert upper_tail(found, freedom) == pytest.approx(rate, rel=1e-6)


def test_the_tail_above_zero_is_a_half() -> None:
    assert upper_tail(0.0, 7) == pytest.approx(0.5)


@pytest.mark.parametrize("rate", [0.2, 0.01, 1e-4])
def test_the_limit_of_gumbel_maxima_is_their_quantile(rate: float) -> None:
    ordered = list(stats.gumbel_r.ppf(np.linspace(0, 1, 4001)[1:-1], loc=5, scale=2))
    assert gumbel_limit(ordered, rate) == pytest.approx(stats.gumbel_r.isf(rate, loc=5, scale=2), rel=1e-3)


def test_a_limit_is_beyond_the_fitted_tail_and_beyond_nearly_all_that_was_seen() -> None:
    calm = [float(value) for value in stats.gumbel_r.ppf(np.linspace(0, 1, 202)[1:-1], loc=5, scale=1)]
    assert limit(calm, 0.001, 0.97) == pytest.approx(BEYOND_FITTED * gumbel_limit(sorted(calm), 0.001))
    rough = [*calm, *[50.0] * 20]
    assert limit(rough, 0.001, 0.97) == pytest.approx(BEYOND_SEEN * 50)
    assert limit([*calm, 1000.0], 0.001, 0.97) < 20


def test_numbers_that_repeat_each_other_count_for_fewer() -> None:
    random = Random(1)
    for phi, expected in ((0.0, 4000), (0.5, 4000 / 3), (0.8, 4000 / 9)):
        series = [0.0]
        for _ in range(3999):
            series.append(phi * series[-1] + random.gauss(0, 1))
        assert first_lag(series) == pytest.approx(phi, abs=0.05)
        assert effective_size(series) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(
    ("values", "size"),
    [([3.0] * 10, 10.0), ([1.0, -1.0] * 10, 20.0), ([float(n) for n in range(30)], 1.0)],
    ids=["a flat line", "an alternating one is trusted no more than white noise", "a straight rise is one number"],
)
def test_effective_sizes_at_the_edges(values: list[float], size: float) -> None:
    assert effective_size(values) == pytest.approx(size)
    assert 0 <= first_lag(values) <= MOST


CHECKS = [Check(1, 1), Check(2, 3), Check(3, 5), Check(4, 5)]


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(-100, 100), st.just(math.nan)), max_size=25))
def test_ranks_along_a_series_are_those_of_each_of_its_windows(values: list[float]) -> None:
    found = ranked(values, CHECKS)
    for check in CHECKS:
        for end in range(1, len(values) + 1):
            window = sorted(value for value in values[max(0, end - check.of) : end] if not math.isnan(value))
            enough = len(window) >= check.rank
            high = window[-check.rank] if enough else -math.inf
            low = window[check.rank - 1] if enough else math.inf
            assert (found[check].high[end - 1], found[check].low[end - 1]) == (high, low)
            assert newest(values[:end], check) == (high, low)


def test_a_minority_of_spikes_is_no_median_but_the_third_of_fifteen() -> None:
    values = [1.0] * 12 + [9.0, 1.0, 9.0, 1.0, 9.0]
    assert newest(values, Check(8, 15))[0] == 1.0
    assert newest(values, Check(3, 15))[0] == 9.0
    assert Check(8, 15).middle == 7


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))
def test_binomial_tails_are_those_of_scipy(events: int, part: float, share: float) -> None:
    count = round(part * events)
    expected = stats.binom.sf(count - 1, events, share)
    assert at_least(count, events, share) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("found", "usual", "events", "evidence"),
    [
        pytest.param(1 / 20, 0.01, 20, False, id="one of twenty"),
        pytest.param(3 / 20, 0.01, 20, True, id="three of twenty"),
        pytest.param(0.05, 0.01, 2000, True, id="a hundred of two thousand"),
        pytest.param(0.012, 0.01, 2000, False, id="a few more than usual"),
        pytest.param(0.9, 0.99, 20, False, id="two of twenty missing"),
        pytest.param(0.5, 0.99, 20, True, id="half of twenty missing"),
        pytest.param(0.01, -0.2, 20, True, id="below nothing there is nothing usual"),
        pytest.param(math.inf, 0.01, 20, True, id="an infinity is no share"),
        pytest.param(1.5, 0.01, 20, True, id="nor is more than all"),
        pytest.param(0.5, 0.01, 0.2, True, id="nor one of nothing"),
    ],
)
def test_a_share_is_evidence_when_chance_hardly_brings_it(
    found: float, usual: float, events: float, evidence: bool
) -> None:
    assert is_evidence(found, usual, events, 0.01) is evidence


def test_no_more_than_all_can_count() -> None:
    assert at_least(11, 10, 0.5) == 0.0
    assert at_least(0, 10, 0.5) == 1.0
