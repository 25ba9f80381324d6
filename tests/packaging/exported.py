"""Every metric that a daemon exports, each with all of its labels.

`python -m tests.packaging.exported` prints them as the table of docs/metrics.md.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from prometheus_client import Metric

from watcher.core.evaluation import Outcome, RuleState
from watcher.core.release import Phase, Release, Spec, Status
from watcher.core.rules import BoundRule
from watcher.engine.config import KINDS
from watcher.engine.measures import Measures
from watcher.engine.standing import Watched, attach

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
SHOP = ("prod", "shop")

RULE = BoundRule.model_validate(
    {
        "id": "http/errors",
        "description": "",
        "query": "up",
        "threshold": {"above": "1%"},
        "window": "1m",
        "for": "0s",
        "warmUp": "1m",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    },
    strict=False,
)


def populated() -> Measures:
    """The metrics of a daemon with one Application, whose Release is watched."""
    release = Release(
        name="shop-1",
        namespace="prod",
        uid="1",
        resource_version="1",
        created_at=NOW,
        spec=Spec(application="shop", version="2"),
        status=Status(phase=Phase.WATCHING),
    )
    watched = Watched(((RULE, RuleState(at=1.0, outcome=Outcome.PASS, value=0.002)),), 0.0)
    measures = Measures()
    measures.know([SHOP])
    measures.files((), KINDS, NOW)
    measures.notifications.labels("team-chat", "delivered").inc()
    measures.http_requests.labels("GET", "/metrics", "200").inc()
    measures.http_seconds.labels("GET", "/metrics").observe(0.01)
    attach(
        measures,
        active=lambda: {SHOP: "blue"},
        applications=lambda: [SHOP],
        releases=lambda: [release],
        watched=lambda: [(release, watched)],
        single={measures.leads: lambda: 1, measures.watches: lambda: 1, measures.prometheus_up: lambda: 1},
        queues={queue: lambda: 0 for queue in ("workers", "checks", "notifications", "watches")},
    )
    return measures


def families() -> list[Metric]:
    """Of the daemon's own metrics, by name."""
    found = [family for family in populated().registry.collect() if family.name.startswith("watcher_")]
    return sorted(found, key=lambda family: family.name)


def labels(family: Metric) -> list[str]:
    names = dict.fromkeys(name for sample in family.samples for name in sample.labels if name != "le")
    assert family.samples, f"{family.name} has no sample here"
    return list(names)


def row(family: Metric) -> str:
    """Its row in the table of docs/metrics.md."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"| `{name}` | {family.type} | {' '.join(f'`{one}`' for one in labels(family))} | {family.documentation} |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{row(family)}\n" for family in families())
