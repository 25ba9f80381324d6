"""Burn rates: how many times faster than its objective allows a service uses up its error budget.

The method is that of the Site Reliability Workbook (Google, 2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts":
a long window says that it matters, a short one that it is still going on, and both must be past the limit. The workbook
pages at a burn rate of 14.4 over 1 h and 5 m (2% of a 30-day budget gone) and of 6 over 6 h and 30 m (5%).

A watch is shorter than that, and a window that reaches back before the switch would show the other version. So the
line through the workbook's two pairs is carried on to shorter windows. They lie on one where the rate falls with the
square root of the window (14.4 / sqrt(6) = 5.9), which is how the noise of a share falls with the number of requests
that it is made of. The rate of 14.4 itself over 5 minutes would call four seconds of failures a disaster (at 99.9%);
the same 2% of the budget in 5 minutes, 173, could not be exceeded at 99% by a service that is down.
What always holds: a pair is used only if both its windows begin after the switch, and if it can be exceeded at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from watcher.core.units import Invalid, format_duration

LEAST_EVALUATIONS = 3
"""A pair is evaluated at least so often before the watch ends, or it is not used."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two windows and the burn rate that must be exceeded in both."""

    long: timedelta
    short: timedelta
    rate: float

    @property
    def suffix(self) -> str:
        """What is added to a rule's name."""
        return f"{format_duration(self.long)}-{format_duration(self.short)}"


PAIRS = (
    Pair(timedelta(minutes=5), timedelta(minutes=1), 50),
    Pair(timedelta(minutes=10), timedelta(minutes=1), 35),
    Pair(timedelta(minutes=30), timedelta(minutes=3), 20),
    Pair(timedelta(hours=1), timedelta(minutes=5), 14.4),
    Pair(timedelta(hours=6), timedelta(minutes=30), 6),
)
"""From 0.6%, 0.8%, 1.4% and 2% to 5% of a 30-day budget. The short window is about a twelfth of the long one, as in the
workbook, but never under a minute: it has to hold a few scrapes."""


def pairs_within(budget: float, duration: timedelta, interval: timedelta) -> tuple[Pair, ...]:
    """The pairs that a watch can use. `budget` is the share of bad events that the objective allows (0 to 1).

    Raises Invalid when there is none.
    """
    exceedable = [pair for pair in PAIRS if pair.rate * budget < 1]
    found = tuple(pair for pair in exceedable if _least_watch(pair, interval) <= duration)
    if found:
        return found
    if not exceedable:
        problem = f"at this objective even a service that is down burns its budget only {1 / budget:.3g} times too fast"
        raise Invalid(problem, 'write a threshold on the share of bad events, as in "threshold: {above: 20%}"')
    needed = format_duration(min(_least_watch(pair, interval) for pair in exceedable))
    problem = f"no pair of burn rate windows fits into a watch of {format_duration(duration)}"
    raise Invalid(problem, f"watch for {needed} or more, or write a threshold on the share of bad events")


def _least_watch(pair: Pair, interval: timedelta) -> timedelta:
    """The shortest watch in which a pair is evaluated often enough."""
    first = -(-pair.long // interval) * interval
    return first + (LEAST_EVALUATIONS - 1) * interval


def share_query(bad: Sequence[str], total: Sequence[str]) -> str:
    """PromQL for the lesser of the shares of bad events over the long and the short window, each given rendered.

    Without any bad event there often is no such series, which is a share of 0. Without `total` there is no data: the
    scalar of an empty answer is NaN, and so is what clamp_max makes of it.
    """
    long, short = (f"(sum({one}\n) or vector(0)) / sum({all_}\n)" for one, all_ in zip(bad, total, strict=True))
    return f"clamp_max({long}, scalar({short}))"
