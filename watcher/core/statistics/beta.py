"""The regularised incomplete beta function, of which Student's and the binomial distribution are made.

By its continued fraction (Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.5.8).
"""

from __future__ import annotations

from math import exp, lgamma, log

_TERMS = 1000
_PRECISION = 1e-13
_TINY = 1e-300


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for 0 <= x <= 1."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
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
