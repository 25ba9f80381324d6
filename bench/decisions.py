"""How good the decisions of `compare` are: on labelled changes, and on metrics to which nothing happened.

Run: `python bench/decisions.py DATASET [--json] [--watches N] [--plots DIR]`. It looks once a minute as a live watch
does, never at what comes later, with the same defaults for every case; beside it what else is used, on the same looks.
Prints, it asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from changes import Change, Judge, Look, Point, Verdict, rank, read, scores, watched
from nulls import NULLS, watches
from rivals import RIVALS

from watcher.core.comparison import Compared, PastWindow, judge, learn
from watcher.core.rules import BoundCompare

LENGTHS = (15, 30, 60, 120)

ONE = {"color": "blue", "query": "q", "liveQuery": "l"}
COMPARE = BoundCompare.model_validate_json(
    json.dumps(
        {
            "with": ["before", "yesterday", "lastWeek"],
            "direction": "both",
            "tolerance": {"relative": "20%", "absolute": 0},
            "confidence": "99%",
            "previous": ONE,
            "current": ONE,
            "length": "1h",
        }
    )
)
"""A rule as it is written, with its defaults. The metrics of the data set do not say which direction is bad."""

REACH = 7 * 86400 + 3600
"""How far back `lastWeek` asks."""


def shipped(before: Sequence[Point]) -> Look:
    """`compare` with its defaults."""
    recent = tuple(point for point in before if point[0] > before[-1][0] - REACH)
    past = learn(COMPARE, [PastWindow("lastWeek", "blue", recent)])

    def look(seen: Sequence[Point]) -> bool:
        found = judge(COMPARE, past, seen)
        return isinstance(found, Compared) and found.breaching

    return look


def costs(changes: Sequence[Change]) -> dict[str, float]:
    """Milliseconds of this process: of learning from a reference, and of a look at all that was seen in two hours."""
    learning, looking = [], []
    for change in changes:
        if not (change.before and change.after):
            continue
        began = time.perf_counter()
        look = shipped(change.before)
        learnt = time.perf_counter()
        look(change.after)
        looked = time.perf_counter()
        learning.append((learnt - began) * 1000)
        looking.append((looked - learnt) * 1000)
    learning.sort()
    looking.sort()
    return {
        "look_ms_p50": rank(looking, 0.5),
        "look_ms_p90": rank(looking, 0.9),
        "learn_ms_p50": rank(learning, 0.5),
        "learn_ms_p90": rank(learning, 0.9),
    }


JUDGES: dict[str, Judge] = {"compare": shipped, **RIVALS}

Asked = tuple[str, str, int]
"""A judge, a null, and how many watches of it."""


def false_alarms(asked: Asked) -> float:
    """The share of watches of 60 minutes in which there was an alarm. Judge and null go by their names, as this runs in
    processes of its own."""
    judge, null, count = asked
    return sum(watched(JUDGES[judge], change, 60).alarm is not None for change in watches(null, count)) / count


def on_nulls(count: int) -> dict[str, dict[str, float]]:
    """The rate of false alarms by judge and null. The others, which are far off, get a tenth of the watches."""
    asked = [(judge, null, count if judge == "compare" else max(1, count // 10)) for judge in JUDGES for null in NULLS]
    found: dict[str, dict[str, float]] = {judge: {} for judge in JUDGES}
    with ProcessPoolExecutor() as pool:
        for (judge, null, watched_), rate in zip(asked, pool.map(false_alarms, asked), strict=True):
            print(f"{judge} on {watched_} watches of {null}: {rate:.2%}", file=sys.stderr)
            found[judge][null] = rate
    return found


def measure(changes: Sequence[Change], count: int, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything, in the form that `--json` prints."""
    found: dict[str, Any] = {"watches": _by_length(verdicts), "nulls": {}, "null_watches": count}
    found |= costs(changes)
    nulls = on_nulls(count)
    found["nulls"] = nulls["compare"]
    found["others"] = {
        rival: {
            "watches": _by_length([watched(other, change, max(LENGTHS)) for change in changes]),
            "nulls": nulls[rival],
        }
        for rival, other in RIVALS.items()
    }
    return found


def _by_length(verdicts: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    return {str(length): scores(verdicts, length) for length in LENGTHS}


def show(found: dict[str, Any]) -> None:
    row = "{:<30} {:>6} {:>9} {:>7} {:>7} {:>9} {:>9} {:>13}".format
    print(row("", "watch", "precision", "recall", "F1", "p50 min", "p90 min", "false alarms"))
    for name, entry in (("compare", found), *found["others"].items()):
        for length, one in entry["watches"].items():
            figures = [f"{one[key]:.3f}" for key in ("precision", "recall", "f1")]
            times = [f"{one[key]:.1f}" for key in ("detect_minutes_p50", "detect_minutes_p90")]
            print(row(name, f"{length} m", *figures, *times, f"{one['false_alarms_per_watch']:.3f}"))
    print(f"\nfalse alarms in watches of 60 minutes to which nothing happened ({found['null_watches']} of each):")
    names = ["compare", *found["others"]]
    print(f"{'':<18}" + "".join(f"{name:>30}" for name in names))
    for null, rate in found["nulls"].items():
        rates = [rate, *(entry["nulls"][null] for entry in found["others"].values())]
        print(f"{null:<18}" + "".join(f"{one:>30.2%}" for one in rates))
    look, learn = (
        "{:.2f} ms p50, {:.2f} ms p90".format(found[f"{w}_ms_p50"], found[f"{w}_ms_p90"]) for w in ("look", "learn")
    )
    print(f"\na look at two hours: {look}; learning from the reference, once a watch: {learn}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a directory with cases.csv and samples.csv.gz (or samples.csv)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--watches", type=int, default=1000, help="how many watches of each null (1000)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw what was missed and what was a false alarm")
    asked = parser.parse_args()
    changes = read(asked.dataset)
    verdicts = [watched(shipped, change, max(LENGTHS)) for change in changes]
    found = measure(changes, asked.watches, verdicts)
    show(found)
    if asked.plots is not None:
        from misses import draw  # noqa: PLC0415  # matplotlib takes a second, and is an extra

        print(f"{draw(asked.plots, verdicts)} plots in {asked.plots}", file=sys.stderr)
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
