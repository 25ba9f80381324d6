"""What the fold itself costs: a set of twenty rules over recorded series, advanced in one thread without any network.

Run: `python bench/fold.py`. Prints how many times a second the whole set is evaluated, and how many rules that is; the
best of several rounds, in processor time, since whatever else the machine does only adds. It asserts nothing.
"""

from __future__ import annotations

import json
import math
import random
import time
from typing import Any

from watcher.core.comparison import Past, PastWindow, learn
from watcher.core.evaluation import Sample, advance, initial, sample_at
from watcher.core.readings import Answer, Row, Series
from watcher.core.rules import BoundRule

START = 1_700_000_000
LOOKS = 360
"""An hour's watch, every 10 s."""
ROUNDS = 9

TRAFFIC = {"trafficQuery": "t", "trafficAtLeast": "50"}
KINDS: tuple[dict[str, Any], ...] = (
    {"threshold": {"above": "1%"}, "for": "30s", **TRAFFIC},
    {"threshold": {"above": "250ms"}, "for": "1m", **TRAFFIC},
    {"threshold": {"below": "0.1/s"}, "breaches": {"count": 3, "of": 5}, **TRAFFIC},
    {"threshold": {"outside": ["10%", "90%"]}, "onNoData": "pass"},
    {"threshold": {"above": "2GiB"}, "reduce": "max"},
)


def rule(index: int, **keys: Any) -> BoundRule:
    written = {
        "id": f"bench/rule-{index}",
        "description": "",
        "query": f"q{index}",
        "window": "1m",
        "for": "0s",
        "warmUp": "0s",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    return BoundRule.model_validate_json(json.dumps(written | keys))


def recorded(chance: random.Random, kind: dict[str, Any]) -> tuple[Answer, Answer | None]:
    """A calm series with gaps and a few spikes, as a server answers it: one row, or three to be reduced."""
    limit = next(iter(kind["threshold"].values()))
    usual = {"1%": 0.002, "250ms": 0.1, "0.1/s": 5.0, "2GiB": 1e9}.get(str(limit), 0.5)
    rows = []
    for pod in range(3 if "reduce" in kind else 1):
        points = {}
        for look in range(1, LOOKS + 1):
            roll = chance.random()
            value = usual * chance.uniform(0.8, 1.2) * (10 if roll < 0.005 else 1)
            if roll < 0.98:
                points[float(START + 10 * look)] = math.nan if roll > 0.97 else value
        rows.append(Row({"pod": str(pod)}, points))
    traffic = {float(START + 10 * look): chance.uniform(40, 400) for look in range(1, LOOKS + 1)}
    return Series(tuple(rows)), Series((Row({}, traffic),)) if "trafficQuery" in kind else None


def compared() -> tuple[BoundRule, Past]:
    one = {"color": "blue", "query": "q", "liveQuery": "l"}
    compare = {
        "with": ["before", "yesterday", "lastWeek"],
        "direction": "increase",
        "tolerance": {"relative": "20%", "absolute": "50ms"},
        "confidence": "99%",
        "previous": one,
        "current": one,
        "length": "1h",
    }
    chance = random.Random(2)
    windows = tuple(
        PastWindow(name, "blue", tuple((float(at), chance.uniform(0.4, 0.6)) for at in range(360)))
        for name in compare["with"]
    )
    made = rule(99, compare=compare)
    assert made.compare is not None
    return made, learn(made.compare, windows)


def best(work: Any) -> float:
    """Seconds of the fastest round."""
    seconds = math.inf
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        seconds = min(seconds, time.process_time() - began)
    return seconds


def main() -> None:
    chance = random.Random(1)
    rules = [rule(index, **KINDS[index % len(KINDS)]) for index in range(20)]
    answers = [recorded(chance, KINDS[index % len(KINDS)]) for index in range(20)]
    times = [float(START + 10 * look) for look in range(1, LOOKS + 1)]
    samples = [
        [sample_at(one, at, value, traffic) for at in times]
        for one, (value, traffic) in zip(rules, answers, strict=True)
    ]

    def fold() -> None:
        states = [initial(one) for one in rules]
        for look in range(LOOKS):
            states = [
                advance(one, state, several[look]) for one, state, several in zip(rules, states, samples, strict=True)
            ]

    def whole() -> None:
        for one, (value, traffic) in zip(rules, answers, strict=True):
            state = initial(one)
            for at in times:
                state = advance(one, state, sample_at(one, at, value, traffic))

    print(f"{'':>34} {'sets/s':>9} {'rules/s':>9} {'us a rule':>10}")
    for name, work in (("fold alone", fold), ("fold, and reading the answers", whole)):
        seconds = best(work)
        sets = LOOKS / seconds
        print(f"{name:>34} {sets:>9,.0f} {sets * 20:>9,.0f} {1e6 / (sets * 20):>10.2f}")

    one, past = compared()
    numbers = [Sample(at, reading.value, None, past) for at, reading in zip(times, samples[0], strict=True)]

    def compare() -> None:
        state = initial(one)
        for sample in numbers:
            state = advance(one, state, sample)

    seconds = best(compare)
    print(f"{'a comparison with three windows':>34} {'':>9} {LOOKS / seconds:>9,.0f} {1e6 * seconds / LOOKS:>10.2f}")


if __name__ == "__main__":
    main()
