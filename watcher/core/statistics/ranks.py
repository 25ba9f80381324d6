"""The k-th largest and k-th smallest of the last n numbers, at every time.

One statistic for all that can go wrong with a metric: the 8th of the last 15 is their median and sees a level that
moved; the 3rd of the last 15 sees a minority of spikes, which no median does; the 2nd of the last 3 sees a burst as
soon as it is no single number; the 1st of 1 is the number itself.
Always holds: a missing number is NaN, and where too few are there the largest is -inf and the smallest inf, so a
comparison with either never finds anything.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan


@dataclass(frozen=True, slots=True)
class Check:
    """The `rank`-th most extreme of the last `of` numbers."""

    rank: int
    of: int

    @property
    def middle(self) -> int:
        """How many steps ago the middle of its numbers lies."""
        return self.of // 2


@dataclass(frozen=True, slots=True)
class Ranked:
    """One check along a series: `high[i]` and `low[i]` look at the numbers up to and including i."""

    high: list[float]
    low: list[float]


def newest(values: Sequence[float], check: Check) -> tuple[float, float]:
    """High and low of the last numbers alone."""
    window = sorted(value for value in values[-check.of :] if not isnan(value))
    if len(window) < check.rank:
        return -inf, inf
    return window[-check.rank], window[check.rank - 1]


def ranked(values: Sequence[float], checks: Sequence[Check]) -> dict[Check, Ranked]:
    """Every check along a series."""
    found: dict[Check, Ranked] = {}
    for of in {check.of for check in checks}:
        found |= _ranked(values, of, [check for check in checks if check.of == of])
    return found


def _ranked(values: Sequence[float], of: int, checks: Sequence[Check]) -> dict[Check, Ranked]:
    window: list[float] = []
    outputs = [(check.rank, [-inf] * len(values), [inf] * len(values)) for check in checks]
    for index, value in enumerate(values):
        if index >= of:
            old = values[index - of]
            if not isnan(old):
                del window[bisect_left(window, old)]
        if not isnan(value):
            insort(window, value)
        size = len(window)
        for rank, high, low in outputs:
            if rank <= size:
                high[index] = window[size - rank]
                low[index] = window[rank - 1]
    return {check: Ranked(high, low) for check, (_, high, low) in zip(checks, outputs, strict=True)}
