"""How much numbers that follow each other repeat each other: what looks like sixty samples may be worth six.

Always holds: an estimate is never more trusting than independent samples are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

MOST = 0.99
"""Numbers that only ever rise look like this; more would leave no sample at all."""


def first_lag(values: Sequence[float]) -> float:
    """The autocorrelation at lag 1, between 0 and MOST.

    Yule-Walker (Box and Jenkins, "Time Series Analysis", section 6.2), plus the bias of that estimate in short series,
    (1 + 4 phi) / n (Marriott and Pope, "Bias in the estimation of autocorrelations", Biometrika 41, 1954).
    """
    count = len(values)
    mean = sum(values) / count
    deviations = [value - mean for value in values]
    total = sum(one * one for one in deviations)
    if total == 0:
        return 0.0
    found = sum(one * other for one, other in pairwise(deviations)) / total
    return min(MOST, max(0.0, found + (1 + 4 * found) / count))


def effective_size(values: Sequence[float]) -> float:
    """How many independent samples tell as much about the level: n (1 - phi) / (1 + phi).

    Bayley and Hammersley, "The effective number of independent observations", Supplement to JRSS 8, 1946, for a
    first-order process. At least 1.
    """
    phi = first_lag(values)
    return max(1.0, len(values) * (1 - phi) / (1 + phi))
