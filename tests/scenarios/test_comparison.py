"""A rule that compares with the time before the switch, in a whole daemon with a real Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.acting import API, BAD, application, write
from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.core.readings import Series
from watcher.core.release import Phase
from watcher.demo.stage import Stage

REQUESTS = 'http_requests_total{namespace="{{ namespace }}",color="{{ color }}"'
WINDOW = "[{{ window }}]"
SHARE = {
    "name": "share",
    "query": f'(sum(rate({REQUESTS},code=~"5.."}}{WINDOW})) or vector(0)) / sum(rate({REQUESTS}}}{WINDOW}))',
    "window": "3s",
    "warmUp": "2s",
    "for": "2s",
    "traffic": {"query": f"sum(increase({REQUESTS}}}{WINDOW}))", "atLeast": 10},
    "compare": {"with": ["before", "yesterday"], "tolerance": {"relative": "50%", "absolute": "2%"}},
}


def rule_set(**keys: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": "RuleSet", "metadata": {"name": "past"}, "spec": {"rules": [SHARE | keys]}}


@pytest.mark.parametrize(
    ("keys", "phase"), [({"onBreach": "rollback"}, Phase.ROLLED_BACK), ({}, Phase.COMPLETED)], ids=["acts", "advises"]
)
def test_a_version_that_is_worse_than_before_goes_back_where_the_rule_may_and_is_told_of_where_not(
    tmp_path: Path, keys: dict[str, Any], phase: Phase
) -> None:
    watch = {"duration": "15s", "interval": "1s", "rules": ["past"]}
    config = write(tmp_path / "config", application(watch=watch), rule_set(**keys))
    with Stage(config=config, rate=40.0) as stage:
        metrics = PrometheusMetrics(PrometheusSettings(stage.prometheus.url))
        stage.wait_for(_seen(metrics), "fifteen seconds of requests that the old colour answered", 60)
        metrics.close()
        ended = stage.follow(stage.release(BAD), lambda r: r.phase.terminal, 60, "the end")
    assert ended.phase is phase
    (record,) = ended.status.rules
    assert record.outcome == "breach"
    assert "(before 0% on blue; yesterday: no data of either colour" in record.message
    assert record.threshold == "+50% and +2% on before, yesterday"
    if phase is Phase.ROLLED_BACK:
        assert ended.status.reason == "rule/past/share"


def _seen(metrics: PrometheusMetrics) -> Callable[[], bool]:
    counted = 'count_over_time(http_requests_total{color="blue",code="200"}[1m]) > 15'
    return lambda: isinstance(metrics.instant(counted, datetime.now(UTC)), Series)
