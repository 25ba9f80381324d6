"""The daemon's metrics of what happened: counters and histograms, in a registry of their own (docs/metrics.md).

What always holds: what happened is counted once, by the replica that wrote it into a Release, so sums over replicas are
right; each series of an Application is there from the start, at zero, because `increase` cannot see the step from
nothing to one; and it goes when the Application's file goes. How things stand is read at each scrape instead:
watcher/engine/standing.py.
"""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import product
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from watcher.core.documents import Problem
from watcher.core.release import FOREIGN, Flip, Phase, Release
from watcher.core.verdict import Verdict

# A series for when each counter began would nearly double what a scrape brings, and nothing here asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

Application = tuple[str, str]
"""Namespace and name."""

APPLICATION = ("application_namespace", "application")
"""The labels of an Application. `namespace` would be renamed by a scrape that calls the daemon's own namespace so."""

FORWARD = ("switch", FOREIGN)
BACK = ("rule", "pods", "check", "alert", "manual", "inconclusive", "other")
"""Why traffic moves: `reason` of watcher_flips_total."""

_CLASSES = {
    "rule": "rule",
    "rules": "rule",
    "pods": "pods",
    "check": "check",
    "VerifyDeadline": "check",
    "alert": "alert",
    "manual": "manual",
    "inconclusive": "inconclusive",
}

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BEHIND = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, MINUTE, 5 * MINUTE, 15 * MINUTE)
BACK_AGAIN = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, MINUTE, 5 * MINUTE)
RESTORED = (10, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 4 * HOUR, DAY)
LED = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 12 * HOUR, DAY, 7 * DAY)


class Measures:
    """What `/metrics` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._known: set[Application] = set()
        self._channels: set[str] = set()
        self._lock = Lock()
        self._of_releases()
        self._of_delivery()
        self._of_the_daemon()
        self._of_the_surroundings()

    # -- what there is ------------------------------------------------------------------------------------------------

    def _of_releases(self) -> None:
        self.transitions = self._counter(
            "watcher_release_phase_transitions_total", "Phases that Releases entered.", *APPLICATION, "phase"
        )
        self.flips = self._counter(
            "watcher_flips_total",
            "Flips of live selectors. Direction forward: to the new colour, or to where somebody else moved it (reason "
            "foreign); back: away from it, and the reason says what sent it back.",
            *APPLICATION,
            "direction",
            "reason",
        )
        self.verdicts = self._counter(
            "watcher_verdicts_total",
            "Verdicts that Releases came to. hold: blind or not sure yet, so nothing moves.",
            *APPLICATION,
            "verdict",
        )

    def _of_delivery(self) -> None:
        self.deployments = self._counter(
            "watcher_deployments_total",
            "Versions that a Release brought live: all traffic went to them. With increase() the deployment frequency.",
            *APPLICATION,
        )
        self.failures = self._counter(
            "watcher_deployment_failures_total",
            "Versions that traffic was taken from again, by a Release's own rollback or by hand afterwards. Divided by "
            "watcher_deployments_total the change failure rate.",
            *APPLICATION,
        )
        self.lead_seconds = self._histogram(
            "watcher_lead_time_seconds",
            "Seconds from when a Release was asked for to its version being live. What came before is not known here.",
            LED,
            *APPLICATION,
        )
        self.rollback_seconds = self._histogram(
            "watcher_rollback_seconds",
            "Seconds from the verdict to the selector being back, for each Service that was flipped back.",
            BACK_AGAIN,
            *APPLICATION,
        )
        self.restore_seconds = self._histogram(
            "watcher_restore_seconds",
            "Seconds from a version going live to traffic being off it again: for how long clients met a bad version.",
            RESTORED,
            *APPLICATION,
        )

    def _of_the_daemon(self) -> None:
        self.leads = self._gauge(
            "watcher_leads", "1 in the replica that acts. More than one for long, or none, is trouble."
        )
        self.lease_transitions = self._counter(
            "watcher_lease_transitions_total",
            "How often this replica began (leader) or ceased (follower) to act.",
            "to",
        )
        self.lease_failures = self._counter(
            "watcher_lease_failures_total", "Turns in which the Lease could not be read, taken or renewed."
        )
        for to in ("leader", "follower"):
            self.lease_transitions.labels(to)
        self.watches = self._gauge(
            "watcher_watches", "Watches that are running here. None where the replica only looks on."
        )
        self.late_ticks = self._counter("watcher_late_ticks_total", "Ticks that failed or came late.")
        self.undelivered = self._counter("watcher_undelivered_total", "Notifications and Events that were given up.")
        self.notifications = self._counter(
            "watcher_notifications_total",
            "Tries to deliver a notification: delivered; failed, and to be tried again; given up.",
            "channel",
            "outcome",
        )
        self.config_valid = self._gauge(
            "watcher_config_valid",
            "1 when the files in the directory are in force; 0 when they are refused, and the last good ones stay.",
        )
        self.config_problems = self._gauge(
            "watcher_config_problems",
            "Problems in files that are refused, by the kind of document; file: the YAML itself, or a file not there.",
            "kind",
        )
        self.config_loaded = self._gauge(
            "watcher_config_loaded_timestamp_seconds", "When the files that are in force were read (Unix time)."
        )

    def _of_the_surroundings(self) -> None:
        self.evaluation_lag = self._histogram(
            "watcher_evaluation_lag_seconds",
            "Seconds from the time that an evaluation is for to its answer being judged. It sees only answers: while "
            "there is none, watcher_watch_behind_seconds grows.",
            BEHIND,
        )
        self.query_seconds = self._histogram(
            "watcher_prometheus_request_seconds",
            "Seconds that requests to Prometheus took. Queries that are due together share one.",
            QUICK,
        )
        self.query_failures = self._counter(
            "watcher_prometheus_failures_total",
            "Requests to Prometheus that gave no answer. query: it refused the query; server: it was not reachable, or "
            "answered nobody; unclear: it was too slow, say.",
            "reason",
        )
        for reason in ("query", "server", "unclear"):
            self.query_failures.labels(reason)
        self.prometheus_up = self._gauge(
            "watcher_prometheus_up", "0 when the last questions to Prometheus got no answer at all, else 1."
        )
        self.queue = self._gauge(
            "watcher_queue_length",
            "What runs or waits, by queue: workers (Releases to look at), checks (checks and hooks), notifications "
            "(news to be told), watches (that wait for Prometheus).",
            "queue",
        )
        self.certificate_valid = self._gauge(
            "watcher_certificate_valid",
            "0 when the files of the HTTPS certificate changed and cannot be used, so that the last one stays; else 1.",
        )
        self.certificate_valid.set(1)
        self.http_seconds = self._histogram(
            "watcher_http_request_seconds",
            "Seconds to the first byte of an answer over HTTP. Requests that wait for news are as long as they wait.",
            QUICK,
            "method",
            "route",
        )
        self.http_requests = self._counter(
            "watcher_http_requests_total",
            "Requests over HTTP, by route (its template, or other) and status.",
            "method",
            "route",
            "code",
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)

    # -- Applications -------------------------------------------------------------------------------------------------

    def know(self, applications: Iterable[Application], channels: Iterable[str] = ()) -> None:
        """Have every series of these Applications and channels of notifications, and none of any other."""
        with self._lock:
            told = set(channels)
            for channel in self._channels - told:
                self.notifications.remove_by_labels({"channel": channel})
            for channel, outcome in product(sorted(told), ("delivered", "failed", "given_up")):
                self.notifications.labels(channel, outcome)
            self._channels = told
            wanted = set(applications)
            for application in self._known - wanted:
                for metric, _ in self._by_application():
                    metric.remove_by_labels(dict(zip(APPLICATION, application, strict=True)))
            for application in wanted - self._known:
                for metric, further in self._by_application():
                    for values in further:
                        metric.labels(*application, *values)
            self._known = wanted

    def _by_application(self) -> Iterator[tuple[Counter | Histogram, list[tuple[str, ...]]]]:
        """Each metric of an Application, with the values that its further labels take."""
        yield self.transitions, [(phase.value,) for phase in Phase]
        yield self.flips, [*product(("forward",), FORWARD), *product(("back",), BACK)]
        yield self.verdicts, [(verdict.value,) for verdict in Verdict]
        for metric in (self.deployments, self.failures):
            yield metric, [()]
        for timed in (self.lead_seconds, self.rollback_seconds, self.restore_seconds):
            yield timed, [()]

    def files(self, problems: Iterable[Problem], kinds: Iterable[str], loaded: datetime | None = None) -> None:
        """Say what is wrong with the files, by the kinds of documents; `loaded` when they come into force."""
        found = Counted(problem.kind or "file" for problem in problems)
        for kind in (*kinds, "file"):
            self.config_problems.labels(kind).set(found[kind])
        self.config_valid.set(not found)
        if loaded:
            self.config_loaded.set(loaded.timestamp())

    def asked(self, seconds: float, blame: str) -> None:
        """A request to Prometheus has ended; `blame` says whose fault it was, if it gave no answer."""
        self.query_seconds.observe(seconds)
        if blame:
            self.query_failures.labels(blame).inc()

    # -- what happened ------------------------------------------------------------------------------------------------

    def moved(self, old: Release, new: Release) -> None:
        """Count what became of a Release between two looks. Of Applications that no file names nothing is kept."""
        application = (new.namespace, new.spec.application)
        with self._lock:
            if application in self._known:
                self._moved(application, old, new)

    def _moved(self, application: Application, old: Release, new: Release) -> None:
        if new.phase != old.phase:
            self.transitions.labels(*application, new.phase.value).inc()
        if new.status.verdict != old.status.verdict and new.status.verdict in list(Verdict):
            self.verdicts.labels(*application, new.status.verdict).inc()
        for flip in new.status.flips[len(old.status.flips) :]:
            direction = "forward" if flip.reason in FORWARD else "back"
            self.flips.labels(*application, direction, reason_class(flip)).inc()
            if new.status.rollback and direction == "back":
                seconds = (flip.at - new.status.rollback.at).total_seconds()
                self.rollback_seconds.labels(*application).observe(max(0.0, seconds))
        if new.spec.foreign_flip is None:
            self._delivered(application, old, new)

    def _delivered(self, application: Application, old: Release, new: Release) -> None:
        """The figures of delivery. Flips that somebody else made are in none: nobody can say whether they deploy."""
        live = new.status.switched_at
        if live is not None and old.status.switched_at is None and not new.is_rollback_only:
            self.deployments.labels(*application).inc()
            self.lead_seconds.labels(*application).observe(max(0.0, (live - new.created_at).total_seconds()))
        if new.phase is not Phase.ROLLED_BACK or old.phase is Phase.ROLLED_BACK or not new.status.flips:
            return
        if new.is_rollback_only:
            self.failures.labels(*application).inc()
        elif live is not None:  # else some of several Services never went
            self.failures.labels(*application).inc()
            seconds = (new.status.flips[-1].at - live).total_seconds()
            self.restore_seconds.labels(*application).observe(max(0.0, seconds))


def reason_class(flip: Flip) -> str:
    """Why a flip was made, as one of a few words."""
    if flip.reason in FORWARD:
        return flip.reason
    return _CLASSES.get(flip.reason.partition("/")[0], "other")
