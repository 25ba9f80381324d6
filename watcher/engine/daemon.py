"""The daemon: puts the parts together, starts them in order, and stops them cleanly.

What always holds: files that are wrong at the start stop it with every problem named; files that become wrong later
change nothing (S10); and after SIGTERM every step that has begun is finished.
"""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.background import BackgroundScheduler
from prometheus_client import CollectorRegistry

from watcher.adapters.kubernetes.caches import Caches
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.adapters.kubernetes.jobs import Jobs
from watcher.adapters.kubernetes.leases import Leases
from watcher.adapters.kubernetes.reviews import Reviews
from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.adapters.secrets import SecretFiles
from watcher.core.application import Spec
from watcher.core.documents import Problem
from watcher.core.release import Phase, Release
from watcher.core.secrets import Value
from watcher.core.settings import Settings
from watcher.engine.alerts import Inbox
from watcher.engine.blind import NoMetrics
from watcher.engine.changes import Changes
from watcher.engine.checks import Checks
from watcher.engine.clock import Clock, SystemClock, lasts
from watcher.engine.config import KINDS, Config, Files
from watcher.engine.elsewhere import Elsewhere
from watcher.engine.evaluations import evaluations
from watcher.engine.lanes import Alarms, Lanes
from watcher.engine.lease import Leader
from watcher.engine.lookout import Lookout
from watcher.engine.measures import Measures
from watcher.engine.refusals import Refusals
from watcher.engine.standing import Watched, attach
from watcher.engine.teller import Teller
from watcher.engine.watches import Watches
from watcher.engine.worker import Key, Workers

log = structlog.get_logger(__name__)

TICK = 0.5
LOOK = 1.0
"""Seconds between two looks at live Services that changed."""
RELOAD = 4.0
"""Seconds between two looks at the files; a change counts when it was seen twice, so within 8 s."""
AFTER_FAILURE = timedelta(seconds=5)
"""How soon a worker that failed in a way nobody foresaw is run again."""

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
ROUND = 60.0
"""Seconds between two rounds in which every Release that has not ended takes a step, whatever was missed."""


class InvalidConfig(Exception):
    """The files cannot be used. `problems` are all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Daemon:
    """One process's worth of watching. Start it once; stop it once."""

    def __init__(
        self,
        directories: list[Path],
        environment: Mapping[str, str],
        kubeconfig: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._files = Files(directories, environment)
        config, problems = self._files.read()
        if config is None:
            raise InvalidConfig(problems)
        self._clock = clock or SystemClock()
        self.config = config
        self._begun_with = config.settings
        self.config_problems: list[Problem] = []
        self.measures = Measures()
        # Pools of their own: what waits in one never delays another, and the rescue's is for flips alone (S2).
        self._watching = Connection(kubeconfig, deadline=30.0, pool=64)
        self._main = Connection(kubeconfig, pool=16, may_write=self.leads)
        self._rescue = Connection(kubeconfig, deadline=3.0, pool=8, may_write=self.leads)
        # What callers ask for is written by any replica, not by the leader alone: it is theirs to ask.
        self._asking = Connection(kubeconfig, pool=8)
        self.hands, self.reviews = Hands(self._asking), Reviews(self._asking)
        self.changes = Changes()
        self._caches = Caches(self._watching, self._on_world, self._on_release)
        own = f"{_lease_namespace(config)}/{config.settings.lease.name}"
        self._elsewhere = Elsewhere(own, self._caches, self._namespaces, self._follow, self.leads)
        self._leader = self._make_leader(config, kubeconfig)
        self.inbox = Inbox(self.hands, self, lambda: [*self.config.applications.values()], self._clock.now)
        self._teller = Teller(
            Hands(self._main),
            lambda: self.config,
            self._clock,
            leads=self.leads,
            lost=self.measures.undelivered.inc,
            counted=lambda channel, outcome: self.measures.notifications.labels(channel, outcome).inc(),
        )
        self._lanes: Lanes[Key] = Lanes(self._run, self._is_rescue, self._run_later)
        self._alarms: Alarms[Key] = Alarms(self._clock, self._lanes.wake)
        secret = SecretFiles(lambda: self.config.settings.secrets.directory).value
        self._metrics = _metrics(config.settings, secret, self.measures.asked)
        self._checks = Checks(self._lanes.wake, self._clock, Jobs(self._main), self._metrics, secret=secret)
        self._watches = Watches(
            self._metrics, self._clock, self._lanes.wake, lagged=self.measures.evaluation_lag.observe
        )
        self._workers = Workers(
            caches=self._caches,
            hands=Hands(self._main),
            rescue=Hands(self._rescue),
            checks=self._checks,
            watches=self._watches,
            teller=self._teller,
            clock=self._clock,
            alarms=self._alarms,
            measures=self.measures,
            elsewhere=self._elsewhere,
        )
        self._workers.config = config
        self._lookout = Lookout(
            caches=self._caches,
            hands=Hands(self._main),
            clock=self._clock,
            leads=self.leads,
            applications=lambda: self.config.applications,
        )
        self._measure()
        self._refusals = Refusals(self._teller, self._clock, _lease_namespace(config), config.settings.lease.name)
        self._live: set[Key] = set()
        """The live Services of all Applications, by namespace and name."""
        self._active: dict[Key, frozenset[str]] = {}
        self._active_lock = threading.Lock()
        self._scheduler = BackgroundScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._started = False

    def _make_leader(self, config: Config, kubeconfig: Path | None) -> Leader:
        settings = config.settings.lease
        seconds = settings.duration.total_seconds()
        # A renewal that takes longer than this would come too late anyway.
        connection = Connection(kubeconfig, deadline=max(1.0, seconds / 3), pool=1)
        leases = Leases(connection, _lease_namespace(config), settings.name)
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        failed = self.measures.lease_failures.inc
        return Leader(leases, identity, settings.duration, self._clock, self._led, self._elsewhere, failed)

    def _measure(self) -> None:
        self._know(self.config)
        self.measures.files((), KINDS, self._clock.now())
        attach(
            self.measures,
            active=self.active_colors,
            applications=lambda: self.config.applications,
            releases=self.releases,
            watched=self._watched,
            single={
                self.measures.leads: self.leads,
                self.measures.watches: self._watches.running,
                self.measures.prometheus_up: lambda: self._metrics.reachable,
            },
            queues={
                "workers": self._lanes.busy,
                "checks": self._checks.running,
                "notifications": self._teller.waiting,
                "watches": self._watches.asking,
            },
        )

    def _know(self, config: Config) -> None:
        self.measures.know(config.applications, [channel.name for channel in config.settings.notifications])

    def _watched(self) -> list[tuple[Release, Watched]]:
        found = [(self.cached(*key), watched) for key, watched in self._watches.standing().items()]
        return [(release, watched) for release, watched in found if release is not None]

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work. Returns once the loops run; the caches fill behind it."""
        log.info(
            "starts",
            kubernetes=self._main.host,
            applications=len(self.config.applications),
            rule_sets=len(self.config.rule_sets),
        )
        self._teller.start()
        self._alarms.start()
        self._look_at_all()
        self._follow()
        for job, seconds in (
            (self.tick, TICK),
            (self.look, LOOK),
            (self.reload, RELOAD),
            (self.round, ROUND),
        ):
            self._scheduler.add_job(job, "interval", seconds=seconds)
        self._scheduler.add_listener(self._trouble, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._scheduler.start()
        self._leader.start()
        self._started = True

    def stop(self) -> None:
        """Finish what has begun, and leave the rest to whoever comes next: all of it is in the cluster."""
        log.info("stops")
        self._started = False
        self.inbox.stop()
        self._scheduler.shutdown(wait=False)
        self._alarms.stop()
        self._caches.stop()
        self._watches.stop()
        self._lanes.stop()
        self._checks.stop()
        self._workers.stop()
        self._teller.stop()
        self._leader.stop()
        log.info("stopped")

    def leads(self) -> bool:
        """Whether this replica acts. The others look on, and are as ready to be asked."""
        return self._leader.leads()

    def _led(self, leads: bool) -> None:
        self.measures.lease_transitions.labels("leader" if leads else "follower").inc()
        keys = [(release.namespace, release.name) for release in self.releases()]
        if not leads:
            self._workers.let_go(keys)
            self._teller.let_go()
            return
        self._teller.resume(self._followed())
        self._tell_of_files()
        self._look_at_all()
        for key in keys:
            self._lanes.wake(key)

    # -- what the status page and the probes read ---------------------------------------------------------------------

    def ready(self) -> str:
        """Why the daemon is not ready, as a sentence; empty when it is."""
        if not self._started:
            return "it has not started, or stops"
        if not all(self._caches.listed(namespace) for namespace in self._namespaces()):
            return "the API server has not answered every list yet"
        return ""

    def releases(self) -> list[Release]:
        """All Releases that it knows of, the newest first."""
        found = [release for space in self._followed() for release in self._caches.releases(space)]
        return sorted(found, key=lambda r: (r.created_at, r.name), reverse=True)

    def release(self, namespace: str, name: str) -> Release | None:
        """One Release, as the API server has it where the cache does not know it yet."""
        if namespace not in self._followed():
            return None
        return self._caches.release(namespace, name) or self.hands.read_release(namespace, name)

    def cached(self, namespace: str, name: str) -> Release | None:
        """One Release as the cache has it: without waiting for anything."""
        return self._caches.release(namespace, name)

    def evaluations(self, release: Release) -> dict[str, Any]:
        """What each rule of a Release said since its switch, asked of Prometheus anew. Raises Unanswered."""
        return evaluations(self._metrics, release, self._clock.now())

    def remember(self, release: Release) -> None:
        """What was just written, so that whoever asks here next sees it."""
        self._caches.remember(release)

    def _namespaces(self) -> set[str]:
        return {namespace for namespace, _ in self.config.applications} | set(self.config.settings.namespaces)

    def active_colors(self) -> dict[tuple[str, str], str]:
        """Which colour each Application's live Service selects."""
        found = {}
        for key, app in self.config.applications.items():
            if self._caches.synced(app.namespace):
                service = self._caches.service(app)
                found[key] = service.view.selector.get(app.spec.selector_key, "") if service else ""
        return found

    def problems(self) -> list[str]:
        """What is wrong with the files right now."""
        return [str(problem) for problem in self.config_problems]

    @property
    def registry(self) -> CollectorRegistry:
        return self.measures.registry

    # -- files --------------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the files again. Wrong ones are said once and change nothing."""
        config, problems = self._files.read()
        if config is None:
            if problems != self.config_problems:
                for problem in problems:
                    log.error("a file is refused; the last good ones stay in force", problem=str(problem))
                self.config_problems = problems
                self.measures.files(problems, KINDS)
                self._tell_of_files()
            return
        if self.config_problems:
            log.info("the files are right again")
            self.measures.files((), KINDS)
            self.config_problems = []
            self._tell_of_files()
        if config.digest == self.config.digest:
            return
        self.measures.files((), KINDS, self._clock.now())
        self._know(config)
        log.info("the files changed", applications=len(config.applications), rule_sets=len(config.rule_sets))
        waiting = config.settings.waiting(self._begun_with)
        if waiting:
            log.warning("changed settings count only after a restart of the daemon", settings=waiting)
        self.config = self._workers.config = config
        self._follow()
        self._look_at_all()

    def _tell_of_files(self) -> None:
        if self.leads():
            self._refusals.tell(self.problems())

    def _look_at_all(self) -> None:
        self._live = {
            (app.namespace, pair.spec.service) for app in self.config.applications.values() for pair in app.pairs
        }
        self._lookout.changed({namespace for namespace, _ in self._live})

    def _follow(self) -> None:
        self._caches.follow(self._followed())

    def _followed(self) -> set[str]:
        return self._namespaces() | self._elsewhere.namespaces()

    # -- wake-ups -----------------------------------------------------------------------------------------------------

    def _run(self, key: Key) -> None:
        self._workers.run(key)

    def _run_later(self, key: Key) -> None:
        self._alarms.set(key, self._clock.now() + AFTER_FAILURE)

    def _is_rescue(self, key: Key) -> bool:
        return self._workers.rescue(key)

    def _on_release(self, namespace: str, name: str) -> None:
        key = (namespace, name)
        release = self._caches.release(namespace, name)
        with self._active_lock:
            if release is None or release.phase.terminal:
                self._active.pop(key, None)
            else:
                self._active[key] = self._names(release)
        if release is None or release.phase.terminal:
            self._lookout.changed([namespace])
            self._wake_queue(namespace, release.spec.application if release else "")
        self._lanes.wake(key)
        self.changes.tell(namespace)

    def _wake_queue(self, namespace: str, application: str) -> None:
        """A Release has ended, or is gone: let those look that wait for it."""
        with self._active_lock:
            keys = [key for key in self._active if key[0] == namespace]
        for key in keys:
            found = self._caches.release(*key)
            if found and found.phase is Phase.PENDING and application in ("", found.spec.application):
                self._lanes.wake(key)

    def _names(self, release: Release) -> frozenset[str]:
        """The Services and Deployments whose changes concern the Release."""
        pinned = release.status.pinned
        app = pinned.application if pinned else None
        app = app or self.config.applications.get((release.namespace, release.spec.application))
        if app is None:
            return frozenset()
        return frozenset(name for pair in app.pairs for name in _names(pair.spec))

    def _on_world(self, namespace: str, name: str) -> None:
        if (namespace, name) in self._live:
            self._lookout.changed([namespace])
        with self._active_lock:
            keys = [key for key, names in self._active.items() if key[0] == namespace and name in names]
        for key in keys:
            self._lanes.wake(key)
        self.changes.tell(namespace)

    def tick(self) -> None:
        """Let the watches ask for what is due."""
        self._watches.tick()

    def look(self) -> None:
        """Look at the live Services that changed while no Release ran."""
        self._lookout.turn()

    def round(self) -> None:
        """Let every Release that has not ended take a step; go by the machine's time while there is none."""
        self._follow_time()
        with self._active_lock:
            keys = list(self._active)
        self._look_at_all()
        for key in keys:
            self._lanes.wake(key)

    def _follow_time(self) -> None:
        if not isinstance(self._clock, SystemClock) or not self._caches.wait(0) or lasts(self.releases()):
            return
        off = self._clock.follow()
        if off:
            log.warning("the machine's time was set, or it slept; goes by it again", seconds=round(off.total_seconds()))

    def _trouble(self, event: JobEvent) -> None:
        log.warning("a tick failed or came late", code=event.code, error=str(getattr(event, "exception", "") or ""))
        self.measures.late_ticks.inc()


def _names(spec: Spec) -> Iterator[str]:
    """The Services and Deployments of one pair."""
    yield from (spec.service, spec.colors.blue.deployment, spec.colors.green.deployment)
    if spec.preview:
        yield spec.preview.service


def _lease_namespace(config: Config) -> str:
    """Where the Lease lies: as set, in the pod's own namespace, or with the first Application."""
    if config.settings.lease.namespace:
        return config.settings.lease.namespace
    with suppress(OSError):
        return OWN_NAMESPACE.read_text("utf-8").strip()
    return min((namespace for namespace, _ in config.applications), default="default")


def _metrics(settings: Settings, secret: Value, asked: Callable[[float, str], None]) -> PrometheusMetrics | NoMetrics:
    found = settings.prometheus
    if not found.url:
        return NoMetrics()
    return PrometheusMetrics(PrometheusSettings.of(found, secret), asked)
