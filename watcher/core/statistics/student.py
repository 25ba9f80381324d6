"""Quantiles of Student's t distribution: the limits that are left when the past is too short to count watches in.

By the identity of its distribution function with the regularised incomplete beta function (Abramowitz and Stegun,
"Handbook of Mathematical Functions", 26.7.1 and 26.5.8 for the continued fraction), inverted by bisection.
"""

from __future__ import annotations

from math import exp, lgamma, log

_TERMS = 1000
_PRECISION = 1e-13
_TINY = 1e-300


def upper_tail(t: float, freedom: float) -> float:
    """P(T > t) for t >= 0."""
    return 0.5 * _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


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


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for 0 < x <= 1."""
    if x >= 1:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    found, change, m = d, 0.0, 0
    while abs(change - 1) > _PRECISION and m < _TERMS:
        m += 1
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            change = d * c
            found *= change
    return found


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
