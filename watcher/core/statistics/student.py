"""Quantiles of Student's t distribution: the limits that are left when the past is too short to count watches in.

By the identity of its distribution function with the regularised incomplete beta function (Abramowitz and Stegun,
"Handbook of Mathematical Functions", 26.7.1), inverted by bisection.
"""

from __future__ import annotations

from watcher.core.statistics.beta import incomplete_beta


def upper_tail(t: float, freedom: float) -> float:
    """P(T > t) for t >= 0."""
    return 0.5 * incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def upper_quantile(rate: float, freedom: float) -> float:
    """The t that is exceeded with probability `rate` (below 0.5)."""
    low, high = 0.0, 1.0
    while upper_tail(high, freedom) > rate:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if upper_tail(middle, freedom) > rate:
            low = middle
        else:
            high = middle
    return high
