"""Plots of the erroneous changes that raised no alarm within half an hour, and of the alarms that were false."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from changes import STEP, Change, Verdict
from matplotlib.axes import Axes

from watcher.core.statistics.model import prepare

WITHIN = 30
HOURS = 5

mpl.use("Agg")


def draw(directory: Path, verdicts: Sequence[Verdict]) -> int:
    """One file a case; says how many."""
    directory.mkdir(parents=True, exist_ok=True)
    wrong = [v for v in verdicts if v.change.erroneous != (v.alarm is not None and v.alarm <= WITHIN)]
    for verdict in wrong:
        _draw(directory / f"{verdict.change.case}.png", verdict)
    return len(wrong)


def _draw(path: Path, verdict: Verdict) -> None:
    change = verdict.change
    figure, axes = plt.subplots(figsize=(12, 4))
    points = [*change.before, *change.after]
    for days in range(5, -1, -1):
        shift = days * 86400
        shown = [(at + shift - change.changed_at, value) for at, value in points]
        near = [(at / 60, value) for at, value in shown if -HOURS * 3600 < at < 7800]
        axes.plot(
            *zip(*near, strict=True), lw=0.4 if days else 1, color="tab:orange" if days else "tab:blue"
        ) if near else None
    _expected(axes, change)
    axes.axvline(0, color="black", lw=0.8)
    if verdict.alarm is not None:
        axes.axvline(verdict.alarm, color="red", lw=0.8, ls="--")
    said = "missed" if change.erroneous else "false alarm"
    axes.set(title=f"{change.case}: {said} (the days before in orange)", xlabel="minutes after the change")
    figure.savefig(path, dpi=80, bbox_inches="tight")
    plt.close(figure)


def _expected(axes: Axes, change: Change) -> None:
    reference = prepare(change.before, STEP, 3600, 0.01, 2) if change.before else None
    if reference is None:
        return
    minutes = range(120)
    check = list(reference.reaches)[-1]
    reach = reference.reaches[check]
    middle = [reference.expected(minute) for minute in minutes]
    low, high = [one - reach.below for one in middle], [one + reach.above for one in middle]
    axes.fill_between(minutes, low, high, color="tab:green", alpha=0.2)
