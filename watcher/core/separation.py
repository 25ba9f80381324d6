"""The limit that would have told good releases from bad ones, for one rule.

How: a watch of one rule is reduced to its *level*, the number at which its limit would have been reached: with `above`
the rule is breached exactly by limits under its level, with `below` by those over it. With `for: 30s` every 10 s, four
numbers in a row have to breach, so the level is the greatest of all their minima; with `breaches: {count: 3, of: 5}`
the greatest of all third-largest among five. Numbers that the fold does not count (no data, thin traffic, errors) are
not counted here either. A limit between the levels of good and of bad releases is one that would have separated them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from watcher.core.evaluation import BLIND, Outcome, RuleState
from watcher.core.rules import BoundRule

LEAST_ROOM = 0.01
"""Levels that differ by less than this share are one: no limit fits between them."""


def level(rule: BoundRule, states: Sequence[RuleState]) -> float | None:
    """The number at which the rule's limit would have been reached. None when too few numbers came for any limit to be
    breached, and for rules that have no one limit (`outside`, comparisons)."""
    sign = _sign(rule)
    if sign is None:
        return None
    real = [
        -math.inf if state.value is None else sign * state.value  # onNoData: pass counts, and never breaches
        for state in states
        if state.outcome not in BLIND and state.outcome is not Outcome.PENDING
    ]
    count, among = _needed(rule)
    reached = [
        sorted(window, reverse=True)[count - 1]
        for end in range(count, len(real) + 1)
        if len(window := real[max(0, end - among) : end]) >= count
    ]
    best = max(reached, default=-math.inf)
    return None if best == -math.inf else sign * best


def _sign(rule: BoundRule) -> int | None:
    """1 where large numbers breach, -1 where small ones do."""
    if rule.threshold is None or rule.threshold.outside is not None:
        return None
    return 1 if rule.threshold.above is not None else -1


def _needed(rule: BoundRule) -> tuple[int, int]:
    """How many breaching numbers among how many in a row make a breach."""
    if rule.breaches is not None:
        return rule.breaches.count, rule.breaches.of
    in_a_row = -(-rule.for_ // max(rule.interval, timedelta(microseconds=1))) + 1
    return in_a_row, in_a_row


@dataclass(frozen=True, slots=True)
class Separation:
    """What the levels of good and bad releases say about a rule's limit, in the rule's own direction."""

    good: int
    """Good releases with a level."""
    bad: int
    """Bad releases with a level."""
    good_until: float | None
    """The worst level of a good release: a limit here is just not breached by any."""
    bad_from: float | None
    """The mildest level of the bad releases that stand out from all good ones: a limit here just misses it."""
    caught: int
    """Bad releases that stand out from all good ones, and so would be caught without a false alarm."""
    limit: float | None
    """A limit in the middle between the two. None when nothing stands out, or there is nothing to stand out from."""

    @property
    def margin(self) -> float | None:
        """How many times the good level the bad one is (or the other way round, below): how much room there is."""
        if self.limit is None or not self.good_until or not self.bad_from or self.good_until * self.bad_from <= 0:
            return None
        ratio = self.bad_from / self.good_until
        return max(ratio, 1 / ratio)


def separate(rule: BoundRule, good: Sequence[float], bad: Sequence[float]) -> Separation | None:
    """The limit between the levels of good and bad releases. None for a rule that has no one limit."""
    sign = _sign(rule)
    if sign is None:
        return None
    worst = max((sign * one for one in good), default=None)
    standing_out = [sign * one for one in bad if worst is None or _stands_out(sign * one, worst)]
    mildest = min(standing_out, default=None)
    limit = None if worst is None or mildest is None else _between(worst, mildest)
    return Separation(
        good=len(good),
        bad=len(bad),
        good_until=None if worst is None else sign * worst,
        bad_from=None if mildest is None else sign * mildest,
        caught=len(standing_out),
        limit=None if limit is None else sign * limit,
    )


def _stands_out(one: float, worst: float) -> bool:
    """Whether a level is past another by more than noise in the last digits."""
    return one > worst and not math.isclose(one, worst, rel_tol=LEAST_ROOM)


def _between(low: float, high: float) -> float:
    """A limit from `low` (included) to `high` (not included): the middle, by ratio where both have one sign; with as
    few digits as stay between the two."""
    if math.isinf(high):
        middle = low + abs(low)
    elif low * high > 0:
        middle = math.copysign(math.sqrt(abs(low)) * math.sqrt(abs(high)), low)
    else:
        middle = low + (high - low) / 2
    for digits in (2, 3):
        if low <= (rounded := float(f"{middle:.{digits}g}")) < high:
            return rounded
    return low
