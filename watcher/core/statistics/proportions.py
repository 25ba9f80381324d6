"""Shares of events that can be counted: one error of twenty requests is 5%, and hardly a sign of anything.

The exact binomial test (Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
binomial", Biometrika 26, 1934): how probable is a share as far out as this one, among so many events?
"""

from __future__ import annotations

from math import ceil, floor

from watcher.core.statistics.beta import incomplete_beta

_ROUNDING = 1e-6
"""A share is a division: 3 of 7 comes back as 3.0000000004."""


def at_least(count: int, events: int, share: float) -> float:
    """P(X >= count) for so many independent events, each counting with probability `share` (0 to 1)."""
    if count <= 0:
        return 1.0
    return 0.0 if count > events else incomplete_beta(count, events - count + 1, share)


def is_evidence(found: float, usual: float, events: float, rate: float) -> bool:
    """Whether a share of so many events lies further from the usual share than chance brings it with this probability.

    What cannot be a share (an infinity, or more than all) is not for this test to excuse.
    """
    total = round(events)
    if total < 1 or not 0 <= found <= 1:
        return True
    usual = min(1.0, max(0.0, usual))
    if found > usual:
        return at_least(ceil(found * total - _ROUNDING), total, usual) <= rate
    return 1 - at_least(floor(found * total + _ROUNDING) + 1, total, usual) <= rate
