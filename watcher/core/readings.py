"""What a metrics server answered, as sum types: a missing answer is never a number, and NaN never reaches a comparison.

Two levels. A query over a range of times answers `Series | NoData | Failed`; one evaluation time of it is a `Reading`:
`Number | NoData | Several | Failed`. The adapter makes the first, the rule fold consumes the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
