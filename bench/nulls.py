"""Metrics to which nothing happens, for the false alarms: a week before a switch and an hour after it, a minute a step.

Each is drawn from a generator of its own seed, so every run sees the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

from changes import STEP, Change, Point

BEFORE = 7 * 24 * 60
AFTER = 60
LENGTH = BEFORE + AFTER

Series = Callable[[Random], list[float]]


def autoregressive(phi: float) -> Series:
    """A level of 100 with normal noise of 10, each number phi of the one before."""

    def series(random: Random) -> list[float]:
        noise, now, found = math.sqrt(1 - phi * phi), random.gauss(0, 1), []
        for _ in range(LENGTH):
            now = phi * now + noise * random.gauss(0, 1)
            found.append(100 + 10 * now)
        return found

    return series


def daily(random: Random) -> list[float]:
    """Three times as much at noon as at night, noise of 5%; the switch is at any time of the day."""
    begin = random.random()
    return [
        100 * (1 + 0.5 * math.sin(2 * math.pi * (begin + minute / 1440))) * (1 + random.gauss(0, 0.05))
        for minute in range(LENGTH)
    ]


def drift(random: Random) -> list[float]:
    """10% higher an hour after the switch than an hour before it, of which the week before knows nothing."""
    return [
        100 * (1 + 0.1 * max(0, minute - BEFORE + 60) / 120) * (1 + random.gauss(0, 0.05)) for minute in range(LENGTH)
    ]


def slow_drift(random: Random) -> list[float]:
    """10% over the week, in noise of 2%."""
    return [100 * (1 + 0.1 * minute / LENGTH) * (1 + random.gauss(0, 0.02)) for minute in range(LENGTH)]


def bursts(random: Random) -> list[float]:
    """About eight bursts a day, of two to eight minutes and six to twelve times the noise."""
    found = [100 + random.gauss(0, 5) for _ in range(LENGTH)]
    at = 0
    while (at := at + 1 + int(random.expovariate(1 / 180))) < LENGTH:
        size = random.uniform(30, 60)
        for minute in range(at, min(LENGTH, at + random.randint(2, 8))):
            found[minute] += size
    return found


def counts(mean: float) -> Series:
    """So many events a minute, independent of each other."""

    def series(random: Random) -> list[float]:
        end = math.exp(-mean)
        return [float(_poisson(random, end)) for _ in range(LENGTH)]

    return series


def _poisson(random: Random, end: float) -> int:
    """By multiplying uniform numbers (Knuth, "The Art of Computer Programming", 3.4.1)."""
    count, product = 0, random.random()
    while product > end:
        count += 1
        product *= random.random()
    return count


NULLS: dict[str, Series] = {
    "white": autoregressive(0.0),
    "ar 0.5": autoregressive(0.5),
    "ar 0.8": autoregressive(0.8),
    "ar 0.95": autoregressive(0.95),
    "daily": daily,
    "drift 10%": drift,
    "drift 10% a week": slow_drift,
    "bursts": bursts,
    "poisson 1": counts(1),
    "poisson 2": counts(2),
    "poisson 3": counts(3),
    "poisson 5": counts(5),
}


def watches(name: str, count: int) -> Iterator[Change]:
    """So many watches of one of them."""
    for index in range(count):
        values = NULLS[name](Random(f"{name}/{index}"))
        points: list[Point] = [(minute * STEP, value) for minute, value in enumerate(values)]
        yield Change(f"{name}/{index}", BEFORE * STEP, False, points[:BEFORE], points[BEFORE:])
