"""The daemon's metrics of how things stand, read when they are scraped: colours, Releases, rules (docs/metrics.md).

What always holds: what is gone from the cluster, or from the files, is gone from the next scrape; labels take their
values from files and from Releases that run, so they are bounded by these. What stands in the cluster every replica
says alike, so the largest over replicas counts, not their sum; of rules and watches only the one that acts speaks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from watcher.core.application import COLORS
from watcher.core.comparison import Unknown
from watcher.core.evaluation import RuleState
from watcher.core.lifecycle.turn import MIXED
from watcher.core.release import Condition, Release
from watcher.core.rules import BoundRule
from watcher.engine.measures import APPLICATION, Application, Measures

CONDITIONS = ("NeedsAttention", "Blind", "WayBackLost")
"""The standing remarks of a Release that somebody should hear of (docs/releases.md)."""

LONGEST = 64
"""Characters of a version that a label shows."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One running watch."""

    rules: tuple[tuple[BoundRule, RuleState], ...]
    behind: float
    """Seconds for which its oldest evaluation without an answer has been due; 0 without one."""


class ActiveColors(Collector):
    """Which colour is live. Its labels are no words that a scrape's relabelling uses, which would rename them:
    comparisons and backtests ask Prometheus for them (watcher/core/binding.py).
    """

    def __init__(self, active: Callable[[], Mapping[Application, str]]) -> None:
        self._active = active

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for (namespace, application), live in self._active().items():
            for color in COLORS:
                family.add_metric([namespace, application, color], float(color == live))
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        return _family("watcher_active_color", "1 for the colour that an Application's live Service selects.", "active")


class StandingReleases(Collector):
    """Which Releases there are, and what of them needs somebody right now: so that it is also known while no event
    tells of it, and whichever replica leads. An Application that needs nobody has zeros.
    """

    def __init__(
        self, applications: Callable[[], Iterable[Application]], releases: Callable[[], Iterable[Release]]
    ) -> None:
        self._applications, self._releases = applications, releases

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield from self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        conditions, phases, since = self._families()
        known = set(self._applications())
        releases = [release for release in self._releases() if _application(release) in known]
        count: dict[tuple[str, str, str], int] = defaultdict(int)
        standing = {(*key, kind): 0 for key in sorted(known) for kind in CONDITIONS}
        for release in releases:
            key = _application(release)
            count[*key, release.phase.value] += 1
            for condition in filter(_holds, release.status.conditions):
                if condition.type in CONDITIONS and _matters(release, condition):
                    standing[*key, condition.type] += 1
            if not release.phase.terminal:
                begun = release.status.phase_since or release.created_at
                colors = release.status.colors
                labels = [
                    release.name,
                    release.spec.version[:LONGEST],
                    colors.to if colors else "",
                    release.phase.value,
                ]
                since.add_metric([*key, *labels], begun.timestamp())
        for found, family in ((count, phases), (standing, conditions)):
            for labels_, number in found.items():
                family.add_metric(labels_, number)
        yield from (conditions, phases, since)

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            _family(
                "watcher_release_condition", "Releases of an Application of which a condition is true.", "condition"
            ),
            _family(
                "watcher_releases",
                "Releases in the cluster, by phases in which there are any: those that run, and ended ones as kept.",
                "phase",
            ),
            _family(
                "watcher_release_phase_start_timestamp_seconds",
                "For each Release that has not ended the phase that it is in, and since when (Unix time).",
                "release",
                "version",
                "to",
                "phase",
            ),
        )


class StandingRules(Collector):
    """What the rules of running watches said last: outcome, number and limit. Where a Release of somebody else's flip
    is watched beside another one, the other one's rules are shown.
    """

    def __init__(self, watched: Callable[[], Iterable[tuple[Release, Watched]]]) -> None:
        self._watched = watched

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield from self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        outcomes, values, limits, behind = self._families()
        found = sorted(self._watched(), key=lambda one: (not one[0].observes, one[0].created_at))
        for application, watched in {_application(release): watched for release, watched in found}.items():
            behind.add_metric(application, watched.behind)
            for rule, state in watched.rules:
                labels = (*application, rule.id)
                outcomes.add_metric([*labels, state.outcome.value], 1)
                if state.value is not None:
                    values.add_metric(labels, state.value)
                for bound, limit in _limits(rule, state):
                    limits.add_metric([*labels, bound], limit)
        yield from (outcomes, values, limits, behind)

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            _family(
                "watcher_rule_outcome",
                "1 for what the last evaluation of a rule gave: pass, breach, noData, thin, error or pending.",
                "rule",
                "outcome",
            ),
            _family(
                "watcher_rule_value",
                "The number that the last evaluation of a rule gave, in base units (1% is 0.01); absent where it gave "
                "none.",
                "rule",
            ),
            _family(
                "watcher_rule_threshold",
                "What the number is held against: bound upper is breached above it, bound lower below it. Of a "
                "comparison the range in which it is expected.",
                "rule",
                "bound",
            ),
            _family(
                "watcher_watch_behind_seconds",
                "For how long the oldest evaluation of a running watch that has no answer yet has been due.",
            ),
        )


def attach(
    measures: Measures,
    *,
    active: Callable[[], Mapping[Application, str]],
    applications: Callable[[], Iterable[Application]],
    releases: Callable[[], Iterable[Release]],
    watched: Callable[[], Iterable[tuple[Release, Watched]]],
    single: Mapping[Gauge, Callable[[], float]],
    queues: Mapping[str, Callable[[], float]],
) -> None:
    """Let all that stands be read at each scrape."""
    for gauge, read in single.items():
        gauge.set_function(read)
    for queue, length in queues.items():
        measures.queue.labels(queue).set_function(length)
    for collector in (ActiveColors(active), StandingReleases(applications, releases), StandingRules(watched)):
        measures.registry.register(collector)


def _limits(rule: BoundRule, state: RuleState) -> Iterator[tuple[str, float]]:
    low: float | None = None
    high: float | None = None
    if rule.threshold is not None:
        least, most = rule.threshold.range
        low = None if rule.threshold.above is not None else least.number
        high = None if rule.threshold.below is not None else most.number
    elif state.held is not None and not isinstance(state.held, Unknown):
        low, high = state.held.low, state.held.high
    for bound, limit in (("upper", high), ("lower", low)):
        if limit is not None and math.isfinite(limit):
            yield bound, limit


def _family(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, labels=[*APPLICATION, *labels])


def _application(release: Release) -> Application:
    return release.namespace, release.spec.application


def _holds(condition: Condition) -> bool:
    return condition.status == "True"


def _matters(release: Release, condition: Condition) -> bool:
    """A Release that has ended needs nobody, except that its way back is promised for a while (S4), and that several
    Services were left on different colours.
    """
    keep = release.status.keep
    kept = condition.type == "WayBackLost" and keep is not None and not keep.done
    return not release.phase.terminal or kept or condition.reason == MIXED
