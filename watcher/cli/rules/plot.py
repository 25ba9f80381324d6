"""Draws the rules over past switches: one panel for each rule, time since the switch from left to right.

A single switch shows the series, the limit, where nothing was seen, and when the rule was breached; before the switch
it shows the colour that was live then. Of a comparison it shows the range that was expected, and the level before and
now. Several switches lie over one another, coloured by what is known of them, with the gap between good and bad ones.
matplotlib is an extra of the package: it is imported here, and draws into a file without any display.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from watcher.core.evaluation import BLIND
from watcher.core.switches import say_time
from watcher.core.units import format_duration, format_value
from watcher.core.verdict import Verdict

if TYPE_CHECKING:
    from watcher.cli.rules.backtest_report import Whole
    from watcher.core.backtest import RuleSummary, Trial, Tried
    from watcher.core.rules import BoundRule

# Told apart also by people who see few colours (the palette of Okabe and Ito).
MARKS = {"good": "#0072B2", "bad": "#D55E00", "": "#7F7F7F"}
NAMES = {"good": "good release", "bad": "bad release", "": "not known"}
COLORS = {"blue": "#0072B2", "green": "#2E8B57"}
LIMIT, BREACH, SEPARATES, BLIND_GREY, BEFORE = "#222222", "#C00000", "#009E73", "#BBBBBB", "#999999"
EXPECTED, LEVEL = "#56B4E9", "#CC79A7"
MOST_PANELS = 40
WIDTH, HEIGHT = 7.0, 2.9


def draw(file: Path, whole: Whole) -> None:
    """Draw into the file; its suffix says as what. Raises OSError."""
    rules = whole.summary.rules[:MOST_PANELS]
    columns = 1 if len(rules) <= 2 else 2
    rows = -(-len(rules) // columns)
    figure = Figure(
        figsize=(WIDTH * max(columns, 1.4), HEIGHT * rows + 1.1),
        dpi=110,
        layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1),
    )
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    single = len(whole.trials) == 1
    for panel, rule in zip(panels, rules, strict=False):
        _frame(panel, whole, rule)
        if single:
            _single(panel, whole, rule)
        else:
            _several(panel, whole, rule)
        _fit(panel, whole, rule)
    for panel in panels[len(rules) :]:
        panel.set_visible(False)
    figure.suptitle(_title(whole), fontsize=13, fontweight="bold")
    figure.legend(handles=_legend(whole), loc="outside lower center", ncols=6, fontsize=9, frameon=False)
    figure.savefig(file)


def _title(whole: Whole) -> str:
    if len(whole.trials) != 1:
        found = whole.summary
        said = f"{found.rollbacks or 'none'} would have been rolled back"
        if found.false_alarms:
            said += f", {found.false_alarms} of them wrongly"
        return f"{whole.app.name}: {len(whole.trials)} switches, {said}"
    (trial,) = whole.trials
    verdict = trial.judgement.verdict.value
    if trial.breached_at is not None and trial.judgement.verdict is Verdict.ROLLBACK:
        verdict += f" after {_minutes_text(trial, trial.breached_at)}"
    return f"{whole.app.name}: switch to {trial.switch.color} at {say_time(trial.switch.at)} UTC, verdict {verdict}"


def _frame(panel: Any, whole: Whole, rule: RuleSummary) -> None:
    unit = _unit(rule.rule)
    panel.set_title(f"{rule.rule.id}   ({rule.rule.limit})", fontsize=10, loc="left")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_value(float(value), unit)))
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    panel.tick_params(labelsize=8)
    panel.set_xlabel("minutes since the switch", fontsize=8)
    panel.grid(visible=True, linewidth=0.4, color="#DDDDDD")
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    panel.axvline(0, color=LIMIT, linewidth=1.6)
    if rule.rule.threshold is not None:
        low, high = rule.rule.threshold.range
        for limit in {low.number, high.number}:
            panel.axhline(limit, color=LIMIT, linewidth=1.2, linestyle=(0, (6, 3)))
    longest = max(trial.planned.until - trial.switch.at for trial in whole.trials)
    earliest = (at for points in whole.earlier.values() for at, _ in points)
    before = whole.trials[0].switch.at - min(earliest, default=whole.trials[0].switch.at)
    panel.set_xlim(-max(before, longest * 0.03) / 60, longest * 1.02 / 60)


def _single(panel: Any, whole: Whole, rule: RuleSummary) -> None:
    (trial,) = whole.trials
    one = _of(trial, rule)
    _say(panel, 0, f"switch to {trial.switch.color}", 0.84, LIMIT)
    earlier = _earlier(whole, rule)
    _line(panel, trial, earlier, color=BEFORE, linewidth=1.4)
    points = [(at, value) for at, _, value in one.course if value is not None]
    if one.held:
        _compared(panel, trial, one)
    _line(panel, trial, points, color=COLORS[trial.switch.color], linewidth=1.6)
    past = [(at, value) for at, outcome, value in one.course if outcome == "breach" and value is not None]
    _line(panel, trial, past, color=BREACH, linewidth=0, marker="o", markersize=3.5)
    for begin, end in _blind(one):
        panel.axvspan(_minutes(trial, begin), _minutes(trial, end), color=BLIND_GREY, alpha=0.35, linewidth=0)
    if one.report.breached_at is not None:
        at = _minutes(trial, one.report.breached_at)
        panel.axvline(at, color=BREACH, linewidth=1.6)
        said = "rollback" if rule.rule.enforcing else "breached"
        _say(panel, at, f"{said} after {_minutes_text(trial, one.report.breached_at)}", 0.97, BREACH)
    elif not points:
        panel.text(0.75, 0.5, "no numbers", transform=panel.transAxes, ha="center", color="#666666", fontsize=10)


def _compared(panel: Any, trial: Trial, one: Tried) -> None:
    """The range expected at each time, the level before, and the numbers of which the level now is made."""
    compare = one.rule.compare
    assert compare is not None
    times = [_minutes(trial, at) for at, _ in one.held]
    # What is not asked about has no limit: the band goes on to the edge there.
    low = [-math.inf if compare.direction == "increase" else held.low for _, held in one.held]
    high = [math.inf if compare.direction == "decrease" else held.high for _, held in one.held]
    far = 10 * max(abs(number) for _, held in one.held for number in (held.low, held.high)) + 1
    edges = [[max(-far, min(far, number)) for number in side] for side in (low, high)]
    panel.fill_between(times, *edges, color=EXPECTED, alpha=0.22, linewidth=0, step="mid")
    for side, edge in zip((low, high), edges, strict=True):
        if math.isfinite(side[0]):
            panel.step(times, edge, where="mid", color=EXPECTED, linewidth=1.0)
    before = one.held[-1][1].before
    panel.axhline(before, color=LEVEL, linewidth=1.2, linestyle=(0, (1, 1.5)))
    _line(panel, trial, one.numbers_seen, color=COLORS[trial.switch.color], linewidth=0.7, alpha=0.6)
    told = one.report
    unit = _unit(one.rule)
    says = [f"{format_value(before, unit)} before"]
    if told.value is not None:
        says.append(f"{format_value(told.value, unit)} {'then' if told.breached else 'at the end'}")
    since = "" if told.since is None else f" since {datetime.fromtimestamp(told.since, UTC):%H:%M:%S} UTC"
    says += [f"range with {compare.confidence.text}", f"{told.outcome.value}{since}"]
    panel.set_title(panel.get_title(loc="left"), fontsize=10, loc="left", pad=18)
    panel.text(0, 1.02, ", ".join(says), transform=panel.transAxes, fontsize=8, color=LIMIT, va="bottom")


def _unit(rule: BoundRule) -> str:
    if rule.compare is not None:
        return rule.compare.tolerance.absolute.unit
    return rule.threshold.range[0].unit if rule.threshold else ""


def _say(panel: Any, at: float, text: str, height: float, color: str) -> None:
    """Text beside a vertical line, on the side where there is room."""
    low, high = panel.get_xlim()
    room = at < low + 0.7 * (high - low)
    where = panel.get_xaxis_transform()
    panel.text(
        at, height, f" {text} ", transform=where, color=color, fontsize=9, va="top", ha="left" if room else "right"
    )


def _drawn(trials: Sequence[Trial]) -> list[Trial]:
    """The switches to draw, what matters most on top."""
    return sorted(trials, key=lambda one: ("", "good", "bad").index(one.switch.mark))


def _several(panel: Any, whole: Whole, rule: RuleSummary) -> None:
    many = len(whole.trials) > 12
    drawn = False
    for trial in _drawn(whole.trials):
        one = _of(trial, rule)
        points = [(at, value) for at, _, value in one.course if value is not None]
        drawn = drawn or bool(points)
        alpha = 0.35 if many and trial.switch.mark != "bad" else 0.85
        _line(panel, trial, points, color=MARKS[trial.switch.mark], linewidth=1.2, alpha=alpha)
        breach = one.report.breached_at
        at_breach = [(at, value) for at, value in points if at == breach]
        _line(panel, trial, at_breach, color=BREACH, linewidth=0, marker="o", markersize=5)
    found = rule.separation
    if found is not None and found.limit is not None and found.good_until is not None and found.bad_from is not None:
        if math.isfinite(found.good_until) and math.isfinite(found.bad_from):
            panel.axhspan(found.good_until, found.bad_from, color=SEPARATES, alpha=0.10, linewidth=0)
        panel.axhline(found.limit, color=SEPARATES, linewidth=1.2, linestyle=(0, (2, 2)))
    if not drawn:
        panel.text(0.5, 0.5, "no numbers", transform=panel.transAxes, ha="center", color="#666666", fontsize=10)


def _fit(panel: Any, whole: Whole, rule: RuleSummary) -> None:
    """Show every number and the limit with room around; from zero on where nothing lies below it."""
    values = [value for _, value in _earlier(whole, rule)]
    for one in (_of(trial, rule) for trial in whole.trials):
        values += [value for _, _, value in one.course if value is not None]
        values += [value for _, value in one.numbers_seen] if len(whole.trials) == 1 else []
        if one.held and len(whole.trials) == 1 and one.rule.compare is not None:
            values += [held.high for _, held in one.held if one.rule.compare.direction != "decrease"]
            values += [held.low for _, held in one.held if one.rule.compare.direction != "increase"]
    if rule.rule.threshold is not None:
        values += [limit.number for limit in rule.rule.threshold.range]
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(0.0, *finite), max(0.0, *finite)
    room = 0.12 * (high - low or 1.0)
    panel.set_ylim(low - (room if low < 0 else room / 5), high + (room if high > 0 else room / 5))


def _line(panel: Any, trial: Trial, points: Sequence[tuple[float, float]], **how: Any) -> None:
    """A line through the finite points, broken where more than two of them are missing."""
    times = [_minutes(trial, at) for at, value in points if math.isfinite(value)]
    values = [value for _, value in points if math.isfinite(value)]
    if not times:
        return
    step = min((b - a for a, b in pairwise(times)), default=0.0)
    xs, ys = [times[0]], [values[0]]
    for before, at, value in zip(times, times[1:], values[1:], strict=False):
        if at - before > 2.5 * step:
            xs.append(math.nan)
            ys.append(math.nan)
        xs.append(at)
        ys.append(value)
    panel.plot(xs, ys, solid_capstyle="round", **how)


def _blind(one: Tried) -> list[tuple[float, float]]:
    """The stretches in which nothing was seen."""
    stretches: list[tuple[float, float]] = []
    width = one.rule.interval.total_seconds()
    for at, outcome, _ in one.course:
        if outcome in BLIND:
            if stretches and at - stretches[-1][1] <= width / 2:
                stretches[-1] = (stretches[-1][0], at + width / 2)
            else:
                stretches.append((at - width / 2, at + width / 2))
    return stretches


def _of(trial: Trial, rule: RuleSummary) -> Tried:
    return next(one for one in trial.rules if one.rule.id == rule.rule.id)


def _earlier(whole: Whole, rule: RuleSummary) -> Sequence[tuple[float, float]]:
    return whole.earlier.get(rule.rule.id, ())


def _minutes(trial: Trial, at: float) -> float:
    return (at - trial.switch.at) / 60


def _minutes_text(trial: Trial, at: float) -> str:
    return format_duration(timedelta(seconds=round(at - trial.switch.at)))


def _legend(whole: Whole) -> list[Any]:
    limit = Line2D([], [], color=LIMIT, linewidth=1.2, linestyle=(0, (6, 3)), label="limit")
    if len(whole.trials) == 1:
        (trial,) = whole.trials
        compared = [
            Patch(color=EXPECTED, alpha=0.22, label="expected"),
            Line2D([], [], color=LEVEL, linewidth=1.2, linestyle=(0, (1, 1.5)), label="level before"),
            Line2D([], [], color=COLORS[trial.switch.color], linewidth=0.7, alpha=0.6, label="single numbers"),
        ]
        return [
            Line2D(
                [], [], color=COLORS[trial.switch.color], linewidth=1.6, label=f"{trial.switch.color}, after the switch"
            ),
            Line2D([], [], color=BEFORE, linewidth=1.4, label=f"{trial.switch.previous}, before"),
            limit,
            Line2D([], [], color=BREACH, linewidth=0, marker="o", markersize=4, label="past the limit"),
            Patch(color=BLIND_GREY, alpha=0.35, label="nothing seen"),
            *(compared if any(one.held for one in trial.rules) else ()),
        ]
    marks = [mark for mark in ("good", "bad", "") if any(trial.switch.mark == mark for trial in whole.trials)]
    handles = [Line2D([], [], color=MARKS[mark], linewidth=1.4, label=NAMES[mark]) for mark in marks]
    handles += [limit, Line2D([], [], color=BREACH, linewidth=0, marker="o", markersize=5, label="breached here")]
    if any(rule.separation and rule.separation.limit is not None for rule in whole.summary.rules):
        label = "limit that separates, and its room"
        handles.append(Line2D([], [], color=SEPARATES, linewidth=1.2, linestyle=(0, (2, 2)), label=label))
    return handles
