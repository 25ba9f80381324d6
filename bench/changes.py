"""A data set of labelled changes, each with one metric before and after, as a live watch would see it.

A directory with `cases.csv` (case, changed_at, erroneous) and `samples.csv.gz` or `samples.csv` (case, timestamp,
value), times in Unix seconds, one number a minute. What is empty or no finite number counts as a gap.
"""

from __future__ import annotations

import csv
import gzip
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

Point = tuple[float, float]

STEP = 60.0

Look = Callable[[Sequence[Point]], bool]
"""Takes every number since the change so far, and says whether the newest look raises an alarm."""

Judge = Callable[[Sequence[Point]], Look]
"""Takes every number before the change."""


@dataclass(frozen=True)
class Change:
    case: str
    changed_at: float
    erroneous: bool
    before: list[Point]
    after: list[Point]


@dataclass(frozen=True)
class Verdict:
    change: Change
    alarm: float | None
    """Minutes from the change to the first look that raised an alarm; None when none did."""


def read(directory: Path) -> list[Change]:
    """All changes of a data set."""
    samples: dict[str, list[Point]] = defaultdict(list)
    try:
        with _samples(directory) as file:
            for row in csv.DictReader(file):
                value = float(row["value"] or "nan")
                if math.isfinite(value):
                    samples[row["case"]].append((float(row["timestamp"]), value))
        with (directory / "cases.csv").open(newline="") as file:
            cases = list(csv.DictReader(file))
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"{directory} is no data set of changes: {error!r}")
    found = []
    for case in cases:
        points, changed_at = sorted(samples[case["case"]]), float(case["changed_at"])
        before = [point for point in points if point[0] < changed_at]
        after = [point for point in points if point[0] >= changed_at]
        found.append(Change(case["case"], changed_at, _is_true(case["erroneous"]), before, after))
    if not found:
        sys.exit(f"{directory} is no data set of changes: cases.csv has no case")
    return found


def _samples(directory: Path) -> TextIO:
    packed = directory / "samples.csv.gz"
    if packed.exists():
        return gzip.open(packed, "rt", newline="")
    return (directory / "samples.csv").open(newline="")


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "1.0", "true", "yes")


def watched(judge: Judge, change: Change, longest: float) -> Verdict:
    """One watch: a look at each number, in order, until the first alarm. Without any past there is none."""
    if not change.before:
        return Verdict(change, None)
    look = judge(change.before)
    for count in range(1, len(change.after) + 1):
        minutes = (change.after[count - 1][0] - change.changed_at) / 60
        if minutes > longest:
            break
        if look(change.after[:count]):
            return Verdict(change, minutes)
    return Verdict(change, None)


def scores(verdicts: Sequence[Verdict], length: float) -> dict[str, float]:
    """What a watch of so many minutes is worth."""
    alarmed = [v for v in verdicts if v.alarm is not None and v.alarm <= length]
    right = sorted(v.alarm for v in alarmed if v.change.erroneous and v.alarm is not None)
    erroneous = sum(v.change.erroneous for v in verdicts)
    wrong = len(alarmed) - len(right)
    return {
        "precision": len(right) / len(alarmed) if alarmed else 0.0,
        "recall": len(right) / erroneous if erroneous else 0.0,
        "f1": 2 * len(right) / (len(alarmed) + erroneous) if alarmed or erroneous else 0.0,
        "detect_minutes_p50": rank(right, 0.5),
        "detect_minutes_p90": rank(right, 0.9),
        "false_alarms_per_watch": wrong / max(1, len(verdicts) - erroneous),
    }


def rank(ordered: Sequence[float], share: float) -> float:
    """The smallest number that so many of them do not exceed; 0 of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
