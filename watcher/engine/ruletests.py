"""Runs the tests of rules: all of them in one temporary Prometheus, each in a time of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.adapters.prometheus.local import LocalPrometheus, Written
from watcher.core.ruletest import Test
from watcher.core.ruletest_cases import Case, Course, Finding, check, layout
from watcher.core.series_notation import Gap
from watcher.engine.replay import replay

PATIENCE = 30.0
"""Seconds for one request to a server that has nothing else to do."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test. `courses` are what its rules gave, from `switched_at` (Unix seconds) on."""

    case: Case
    findings: Sequence[Finding]
    courses: Sequence[Course]
    switched_at: float

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)


def run_cases(cases: Sequence[Case]) -> Iterator[Result]:
    """The result of each test, in their order. Raises NoPrometheus, Unanswered, and Invalid when the tests cannot be
    laid out in time."""
    starts = layout([(case.test, case.rules) for case in cases])
    with LocalPrometheus() as server:
        server.write(one for case, start in zip(cases, starts, strict=True) for one in _written(case.test, start))
        metrics = PrometheusMetrics(PrometheusSettings(server.url, timeout=PATIENCE))
        try:
            for case, start in zip(cases, starts, strict=True):
                yield _run(metrics, case, start + case.test.switched_at.total_seconds())
        finally:
            metrics.close()


def _run(metrics: PrometheusMetrics, case: Case, switched_at: float) -> Result:
    states = replay(metrics, case.rules, switched_at, switched_at + case.test.duration.total_seconds())
    courses = [(rule, states[rule.id]) for rule in case.rules]
    return Result(case, check(case.test, courses, switched_at), courses, switched_at)


def _written(test: Test, start: float) -> Iterator[Written]:
    seconds = test.interval.total_seconds()
    for one in test.input_series:
        samples = [
            (start + index * seconds, None if value is Gap.STALE else value)
            for index, value in enumerate(one.points())
            if value is not Gap.MISSING
        ]
        if samples:
            yield Written(one.labels, samples)
