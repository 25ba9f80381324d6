"""What lint works out of a query holds for what a real Prometheus answers: made-up queries over made-up series."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
import requests

from watcher.adapters.prometheus.local import LocalPrometheus, Written
from watcher.core.lint.checking import understood
from watcher.core.lint.labels import labels_of
from watcher.core.lint.shapes import range_of

START, SCRAPE, SCRAPES = 1_000_000_000.0, 15, 40
GAUGES = ("g", "s_seconds", "b_bytes")
COUNTERS = ("c_total", "h_count")
OPERATORS = "+ - * / / / % ^ and or unless > < == !=".split()  # noqa: SIM905 - one line instead of twenty
OPERATORS += ["> bool", "/ on (a)", "/ on (a) group_left", "- ignoring (b)"]


def series() -> Iterator[Written]:
    """Gauges on both sides of zero, counters, a histogram; each with two labels of two values."""
    chance = random.Random(3)
    times = [START + SCRAPE * index for index in range(SCRAPES)]
    for a in "12":
        for b in "12":
            for name in GAUGES:
                low = -5 if name == "g" else 0
                yield Written({"__name__": name, "a": a, "b": b}, [(time, chance.uniform(low, 9)) for time in times])
            for name in COUNTERS:
                step = chance.choice([1, 2, 5])
                yield Written({"__name__": name, "a": a, "b": b}, [(t, float(i * step)) for i, t in enumerate(times)])
            for le, share in (("0.5", 1), ("1", 2), ("+Inf", 3)):
                labels = {"__name__": "h_bucket", "a": a, "b": b, "le": le}
                yield Written(labels, [(time, float(index * share)) for index, time in enumerate(times)])


def selector(chance: random.Random) -> str:
    name = chance.choice([*GAUGES, *COUNTERS, "h_bucket"])
    return name + chance.choice(["", '{a="1"}', '{a="1",b="2"}', '{b=~"1|2"}', '{a!=""}', '{a="9"}', '{le="0.5"}'])


def query(chance: random.Random, depth: int) -> str:
    """A query of some depth; not all of them are PromQL."""
    inner = (query(chance, depth - 1) for _ in range(2))
    match chance.randrange(10) if depth else chance.randrange(3):
        case 0:
            return str(chance.choice([0, 1, -1, 0.5, 100, 2]))
        case 1:
            return selector(chance)
        case 2:
            name = chance.choice(["rate", "increase", "deriv", "max_over_time", "sum_over_time", "changes", "resets"])
            return f"{name}({selector(chance)}[2m])"
        case 3:
            return f"({next(inner)}) {chance.choice(OPERATORS)} ({next(inner)})"
        case 4:
            grouping = chance.choice(["", "", "by (a,le)", "without (b)", "by (a)"])
            return (
                f"{chance.choice(['sum', 'max', 'count', 'avg', 'stddev', 'group', 'min'])} {grouping} ({next(inner)})"
            )
        case 5:
            return f"histogram_quantile(0.9, {next(inner)})"
        case 6:
            return f"{chance.choice(['clamp_min', 'clamp_max'])}({next(inner)}, {chance.choice([0, 1, -5])})"
        case 7:
            name = chance.choice(
                ["abs", "ceil", "vector", "scalar", "absent", "sort", "-", "sgn", "round", "sqrt", "exp"]
            )
            return f"{name}({next(inner)})"
        case 8:
            name = chance.choice([*GAUGES, *COUNTERS])
            return f'{chance.choice([1, 100])} * sum(rate({name}{{a="1"}}[2m])) / sum(rate({name}[2m]))'
        case _:
            return f"max_over_time(({next(inner)})[1m:15s])"


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    with LocalPrometheus() as server:
        server.write(series())
        yield server.url


def test_no_answer_lies_outside_of_its_range_or_differs_by_a_label_that_was_ruled_out(prometheus: str) -> None:
    chance = random.Random(4)
    session = requests.Session()
    asked = several = bounded = 0
    while asked < 400:
        text = query(chance, 4)
        tree, _ = understood(text)
        if tree is None:
            continue
        form = {"query": text, "time": str(START + SCRAPE * (SCRAPES - 1))}
        answer = session.post(f"{prometheus}/api/v1/query", form, timeout=10).json()
        if answer["status"] != "success":
            continue  # labels that do not match one to one are only seen when it is evaluated
        data = answer["data"]
        rows = data["result"] if data["resultType"] == "vector" else [{"metric": {}, "value": data["result"]}]
        found, labels = range_of(tree), labels_of(tree)
        for value in (float(row["value"][1]) for row in rows):
            near = 1e-9 * max(1.0, abs(value))
            assert math.isnan(value) or found.low - near <= value <= found.high + near, f"{text} is {value}: {found}"
        names = {name for row in rows for name in row["metric"]} - {"__name__"}
        differ = {name for name in names if len({row["metric"].get(name) for row in rows}) > 1}
        assert labels is None or differ <= labels, f"{text} differs in {differ}: {labels}"
        assert labels != frozenset() or len(rows) <= 1, f"{text} gives {len(rows)} series"
        asked += 1
        several += len(rows) > 1
        bounded += math.isfinite(found.low) or math.isfinite(found.high)
    session.close()

    assert several > 50, "some gave several series"
    assert bounded > 100, "of some something was known"
