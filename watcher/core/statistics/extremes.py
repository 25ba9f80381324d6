"""How far the largest of many looks may lie: limits for a whole watch, not for one look.

Looking sixty times is sixty chances to be wrong, and looks that overlap are no sixty independent ones either. So the
limit is not derived from one look: the past is cut into watches in which nothing was changed, each is looked at as the
real one will be, and the distribution of its *largest* deviation is what a new watch is held against. This accounts for
autocorrelation, skew and drift without a model of any of them.
Always holds: the limit is at least as large as nearly all that the past showed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from watcher.core.statistics.robust import quantile

BURSTS_SEEN = 0.97
"""Which share of the past watches has to lie within the limit, whatever the fitted tail says: nearly all of them. Not
all, for what went wrong once last week must not hide the same today."""

LEVELS_SEEN = 0.99
"""The same for the median of many numbers. It moves by itself more rarely than spikes come, and then it stays, so the
little that the past shows of it has to count for more."""

BEYOND_SEEN = 1.2
"""How much further out than those: what a past watch just reached, the next may reach as well."""

BEYOND_FITTED = 1.1
"""How much further out than the fitted tail, which is known only as well as its quartiles."""


def gumbel_limit(ordered: Sequence[float], rate: float) -> float:
    """What a maximum exceeds with probability `rate`, by a Gumbel distribution through the quartiles.

    The maximum of many numbers with a tail like the normal's or lighter follows it (Fisher and Tippett, 1928; Gumbel,
    "Statistics of Extremes", 1958): P(max <= x) = exp(-exp(-(x - m) / b)). Quartiles fix m and b, so what happened in
    less than a quarter of the past watches does not.
    """
    first, middle, third = (quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    scale = (third - first) / (_reduced(0.75) - _reduced(0.25))
    return middle + scale * (_reduced(1 - rate) - _reduced(0.5))


def _reduced(share: float) -> float:
    return -log(-log(share))


def limit(maxima: Sequence[float], rate: float, seen: float) -> float:
    """The limit for a watch, from the largest deviations of past ones, of which the share `seen` has to lie within."""
    ordered = sorted(maxima)
    return max(BEYOND_FITTED * gumbel_limit(ordered, rate), BEYOND_SEEN * quantile(ordered, seen))
