"""What else is used to judge a change, for the same looks: none of them knows how often it looks.

Each is as its users write it: a limit from the numbers of the week, three standard deviations of the hour before, and
the Mann-Whitney test of Kayenta's judge between the hour before and all numbers since.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist, fmean, pstdev

from changes import Judge, Look, Point

HOUR = 60
WEEK = 7 * 24 * HOUR

FEWEST = 8
"""Below so many numbers on a side the normal approximation of the test means nothing."""


def fixed_threshold(before: Sequence[Point]) -> Look:
    """Outside what 99.8% of the numbers of the last week lay within."""
    ordered = sorted(value for _, value in before[-WEEK:])
    low, high = ordered[len(ordered) // 1000], ordered[-1 - len(ordered) // 1000]
    return lambda seen: not low <= seen[-1][1] <= high


def three_sigma(before: Sequence[Point]) -> Look:
    """Further than three standard deviations from the mean of the last hour."""
    values = [value for _, value in before[-HOUR:]]
    mean, deviation = fmean(values), pstdev(values)
    return lambda seen: abs(seen[-1][1] - mean) > 3 * deviation


def mann_whitney(effect: float = 1.0) -> Judge:
    """Two-sided at 98%, with tie and continuity corrections, and the means at least this ratio apart."""
    limit = NormalDist().inv_cdf(0.99)

    def judge(before: Sequence[Point]) -> Look:
        old = sorted(value for _, value in before[-HOUR:])
        mean = fmean(old)
        new: list[float] = []
        state = {"u": 0.0, "sum": 0.0}

        def look(seen: Sequence[Point]) -> bool:
            for _, value in seen[len(new) :]:
                insort(new, value)
                state["u"] += (bisect_left(old, value) + bisect_right(old, value)) / 2
                state["sum"] += value
            if len(new) < FEWEST or abs(deviate(old, new, state["u"])) <= limit:
                return False
            return effect <= 1 or not 1 / effect < _ratio(state["sum"] / len(new), mean) < effect

        return look

    return judge


def deviate(old: Sequence[float], new: Sequence[float], u: float) -> float:
    """The standard normal deviate of Mann and Whitney's U (of the new numbers), both in ascending order."""
    n, m = len(old), len(new)
    pooled = sorted([*old, *new])
    ties, index = 0.0, 0
    while index < len(pooled):
        upto = bisect_right(pooled, pooled[index], index)
        ties += float(upto - index) ** 3 - (upto - index)
        index = upto
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 0.0
    away = u - n * m / 2
    return max(0.0, abs(away) - 0.5) / sqrt(variance) * (1 if away > 0 else -1)


def _ratio(now: float, then: float) -> float:
    """How many times as large; a change of sign, or from zero, is as large as a ratio gets."""
    if then == 0:
        return 1.0 if now == 0 else float("inf")
    return now / then if now / then > 0 else 0.0


RIVALS: dict[str, Judge] = {
    "fixed threshold": fixed_threshold,
    "three sigma": three_sigma,
    "Mann-Whitney 98%": mann_whitney(),
    "Mann-Whitney 98%, effect 1.1": mann_whitney(1.1),
}
