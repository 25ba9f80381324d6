"""What a metrics server answered, as sum types: a missing answer is never a number, and NaN never reaches a comparison.

Two levels. A query over a range of times answers `Series | NoData | Failed`; one evaluation time of it is a `Reading`:
`Number | NoData | Several | Failed`. The adapter makes the first, the rule fold consumes the second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from watcher.core.rules import Reduce

SAME_TIME = 0.0005
"""Two times are one when they differ by less: Prometheus keeps milliseconds."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression to be asked over a range of times. `id` is the caller's own name for it."""

    id: str
    expr: str


@dataclass(frozen=True, slots=True)
class Row:
    """One time series of an answer: its labels, and values by evaluation time (Unix seconds; NaN may occur)."""

    labels: Mapping[str, str]
    points: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A query that gave at least one point, in one or more rows."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class NoData:
    """The server answered, and there was nothing (or, for one evaluation, NaN)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The server did not answer, refused the query, or answered only partly. `reason` is a sentence for people.

    `transient` says that asking again later may help (an outage, a time-out), as it does not for a query that the
    server cannot parse.
    """

    reason: str
    transient: bool = True


@dataclass(frozen=True, slots=True)
class Number:
    """One finite or infinite number; never NaN."""

    value: float


@dataclass(frozen=True, slots=True)
class Several:
    """Several series where the rule takes one number. `labels` names what tells them apart, for the message."""

    labels: tuple[str, ...]


Answer = Series | NoData | Failed
Reading = Number | NoData | Several | Failed


def reading_at(answer: Answer, at: float, reduce: Reduce | None) -> Reading:
    """What a range answer says for one evaluation time. NaN is NoData, infinities are numbers."""
    if isinstance(answer, NoData | Failed):
        return answer
    found = [(row, value) for row in answer.rows if (value := _point(row, at)) is not None]
    if len(found) > 1 and reduce is None:
        return Several(_differing([row for row, _ in found]))
    values = [value for _, value in found if not math.isnan(value)]
    if not values:
        return NoData()
    number = values[0] if reduce is None else _reduced(values, reduce)
    return NoData() if math.isnan(number) else Number(number)


def _point(row: Row, at: float) -> float | None:
    exact = row.points.get(at)
    if exact is not None:
        return exact
    return next((value for time, value in row.points.items() if abs(time - at) < SAME_TIME), None)


def _differing(rows: Sequence[Row]) -> tuple[str, ...]:
    names = {name for row in rows for name in row.labels}
    return tuple(sorted(name for name in names if len({row.labels.get(name, "") for row in rows}) > 1))


def _reduced(values: Sequence[float], reduce: Reduce) -> float:
    match reduce:
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "sum":
            return sum(values)
        case "avg":
            return sum(values) / len(values)
        case never:
            assert_never(never)
