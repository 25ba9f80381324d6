"""What a scrape of /metrics costs: 100 Applications, each with a Release that runs, ten rules, and 20 ended Releases.

Run: `python bench/scrape.py`. Prints, it asserts nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import requests

from watcher.api.app import create_app
from watcher.api.server import Server
from watcher.core.readings import Answer, Query, Row, Series
from watcher.core.release import Colors, Phase, Release, Spec, Status
from watcher.core.rules import BoundRule
from watcher.engine.clock import SystemClock
from watcher.engine.config import KINDS
from watcher.engine.measures import Measures
from watcher.engine.standing import attach
from watcher.engine.watches import Watches

APPLICATIONS, RULES, ENDED, SCRAPES = 100, 10, 20, 50
SINCE = datetime.now(UTC) - timedelta(minutes=2)


class Answers:
    """A metrics server that has one number for every query."""

    def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]:
        times = int((end - start) / step) + 1
        points = {(start + k * step).timestamp(): 0.0042 for k in range(times)}
        return {query.id: Series((Row({}, points),)) for query in batch}


def rule(name: str) -> BoundRule:
    fields = {
        "id": f"http/{name}",
        "description": "",
        "query": "up",
        "threshold": {"above": "1%"},
        "window": "1m",
        "for": "0s",
        "warmUp": "0s",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    return BoundRule.model_validate(fields, strict=False)


def release(application: str, name: str, phase: Phase) -> Release:
    return Release(
        name=name,
        namespace="prod",
        uid=name,
        resource_version="1",
        created_at=SINCE,
        spec=Spec(application=application, version="2.4.1"),
        status=Status(phase=phase, colors=Colors(from_="blue", to="green"), phase_since=SINCE),
    )


class Shown:
    """A daemon's numbers without a cluster."""

    def __init__(self) -> None:
        self.measures = Measures()
        names = [f"application-{n:03}" for n in range(APPLICATIONS)]
        self.apps = {("prod", name): "blue" for name in names}
        running = {name: release(name, f"{name}-x7k2p", Phase.WATCHING) for name in names}
        ended = [release(name, f"{name}-{n:05}", Phase.COMPLETED) for name in names for n in range(ENDED)]
        self.all = [*running.values(), *ended]
        self.watches = Watches(Answers(), SystemClock(), lambda _: None, lagged=self.measures.evaluation_lag.observe)
        rules = [rule(f"rule-{n}") for n in range(RULES)]
        for name in names:
            self.watches.follow(("prod", name), rules, SINCE, SINCE + timedelta(hours=1))
        self.measures.know(self.apps)
        self.measures.files((), KINDS, SINCE)
        attach(
            self.measures,
            active=lambda: self.apps,
            applications=lambda: self.apps,
            releases=lambda: self.all,
            watched=lambda: [(running[name], found) for (_, name), found in self.watches.standing().items()],
            single={self.measures.leads: lambda: 1, self.measures.watches: self.watches.running},
            queues={"watches": self.watches.asking},
        )

    def ready(self) -> str:
        return ""

    def releases(self) -> list[Release]:
        return self.all

    def active_colors(self) -> dict[tuple[str, str], str]:
        return self.apps

    def problems(self) -> list[str]:
        return []


def main() -> None:
    shown = Shown()
    shown.watches.tick()
    while shown.watches.asking():
        time.sleep(0.01)
    server = Server(create_app(shown), "127.0.0.1", 0)
    server.start()
    took, used = [], []
    for _ in range(SCRAPES):
        began, cpu = time.perf_counter(), time.process_time()
        text = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=30).text
        took.append((time.perf_counter() - began) * 1000)
        used.append((time.process_time() - cpu) * 1000)
    server.stop()
    shown.watches.stop()
    series = [line for line in text.splitlines() if not line.startswith("#")]
    of_rules = sum(line.startswith("watcher_rule_") for line in series)
    print(f"{APPLICATIONS} Applications, {APPLICATIONS * RULES} rules, {len(shown.all)} Releases")
    print(f"series: {len(series)}, of them {of_rules} of rules; bytes: {len(text)}")
    middle, worst = statistics.median(took), max(took)
    print(
        f"a scrape: {middle:.0f} ms (worst of {SCRAPES}: {worst:.0f} ms), {statistics.median(used):.0f} ms of processor"
    )


if __name__ == "__main__":
    main()
