"""The daemon's metrics of itself, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from watcher.core.application import COLORS
from watcher.core.lifecycle.turn import MIXED
from watcher.core.release import Condition, Release

CONDITIONS = ("NeedsAttention", "Blind", "WayBackLost")
"""The standing remarks of a Release that somebody should hear of (docs/releases.md)."""


class ActiveColors(Collector):
    """Which colour is live, read when it is scraped. Its labels are no words that a scrape's relabelling uses, which
    would rename them: comparisons and backtests ask Prometheus for them (watcher/core/binding.py).
    """

    def __init__(self, active: Callable[[], Mapping[tuple[str, str], str]]) -> None:
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
        return GaugeMetricFamily(
            "watcher_active_color",
            "1 for the colour that an Application's live Service selects.",
            labels=["application_namespace", "application", "active"],
        )


class StandingConditions(Collector):
    """What needs somebody right now, by Application, read when it is scraped: so that it is also known while no event
    tells of it, and whichever replica leads. An Application that needs nobody has zeros.
    """

    def __init__(
        self,
        applications: Callable[[], Iterable[tuple[str, str]]],
        releases: Callable[[], Iterable[Release]],
    ) -> None:
        self._applications, self._releases = applications, releases

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        found = {(*key, kind): 0 for key in self._applications() for kind in CONDITIONS}
        for release in self._releases():
            for condition in filter(_holds, release.status.conditions):
                key = (release.namespace, release.spec.application, condition.type)
                if key in found and _matters(release, condition):
                    found[key] += 1
        for labels, count in found.items():
            family.add_metric(labels, count)
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "watcher_release_condition",
            "Releases of an Application of which a condition is true.",
            labels=["application_namespace", "application", "condition"],
        )


def _holds(condition: Condition) -> bool:
    return condition.status == "True"


def _matters(release: Release, condition: Condition) -> bool:
    """A Release that has ended needs nobody, except that its way back is promised for a while (S4), and that several
    Services were left on different colours.
    """
    keep = release.status.keep
    kept = condition.type == "WayBackLost" and keep is not None and not keep.done
    return not release.phase.terminal or kept or condition.reason == MIXED


class Measures:
    """What `/metrics` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.transitions = Counter(
            "watcher_release_phase_transitions_total",
            "Phases that Releases entered.",
            ["application", "phase"],
            registry=self.registry,
        )
        self.flips = Counter(
            "watcher_flips_total", "Flips of live selectors.", ["application", "to"], registry=self.registry
        )
        self.rollback_seconds = Histogram(
            "watcher_rollback_seconds",
            "Seconds from the verdict to the selector being back.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self.leads = Gauge("watcher_leads", "1 in the replica that acts.", registry=self.registry)
        self.watches = Gauge("watcher_watches", "Watches that are running.", registry=self.registry)
        self.late_ticks = Counter("watcher_late_ticks_total", "Ticks that failed or came late.", registry=self.registry)
        self.undelivered = Counter(
            "watcher_undelivered_total", "Notifications and Events that were given up.", registry=self.registry
        )
        self.config_valid = Gauge(
            "watcher_config_valid", "1 when the files in the directory are the ones in force.", registry=self.registry
        )
        self.config_valid.set(1)
