"""PromQL checks: bound to the colour under test as a rule is to the live one, and what an answer means for them.

What always holds: what cannot be seen passes only where the Application says so; one number is held against the
threshold, and everything that is no number says why it is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from watcher.core.application import COLORS, Application, other
from watcher.core.binding import variables
from watcher.core.checks import PromqlCheck
from watcher.core.evaluation import against, reason
from watcher.core.readings import Answer, Failed, NoData, Number, Several, reading_at
from watcher.core.templates import render
from watcher.core.units import Invalid, format_duration


@dataclass(frozen=True, slots=True)
class Told:
    """What one evaluation came to, for the end of a sentence. `final` says that asking again would give the same."""

    good: bool
    words: str
    final: bool = False


def bound_query(check: PromqlCheck, app: Application, color: str, version: str) -> str:
    """The query as it is sent for the colour under test; raises Invalid where a value cannot stand where it should."""
    values = variables(app, color, other(color), version) | {"window": format_duration(check.window)}
    return render(check.query, values).strip()


def query_problems(app: Application) -> Iterator[Invalid]:
    """Every query of the checks that cannot be bound, with its path in the Application."""
    for path, title, check in app.spec.tests.checks():
        if check.promql is None:
            continue
        try:
            for color in COLORS:
                bound_query(check.promql, app, color, "0")
        except Invalid as error:
            where = ("spec", "tests", *path, "promql", "query")
            yield Invalid(f"check {path[0]}/{title}: {error.problem}", error.cure, path=where)


def judged(check: PromqlCheck, answer: Answer, at: float) -> Told:
    """What the answer for one time (Unix seconds) says about the version."""
    reading = reading_at(answer, at, check.reduce)
    match reading:
        case Number():
            breached = check.threshold.breached_by(reading.value)
            return Told(not breached, against(check.threshold, reading.value))
        case NoData():
            passes = check.on_no_data == "pass"
            return Told(passes, "no data, which counts as a pass" if passes else "no data")
        case Several() | Failed():
            lasting = isinstance(reading, Failed) and not reading.transient
            return Told(False, f"could not be evaluated: {reason(reading)}", final=lasting)
        case never:
            assert_never(never)
