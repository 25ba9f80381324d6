"""What is to be done for an Application between its Releases: a flip that somebody else made gets a Release of its own,
and ended Releases that are too many are taken away.

What always holds: only the leader acts, and only on what it has just read from the API server; what an Application
wants ignored is told, and no more.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from watcher.adapters.errors import AdapterError
from watcher.adapters.kubernetes import views
from watcher.adapters.kubernetes.caches import Caches
from watcher.adapters.kubernetes.connection import AlreadyExists
from watcher.adapters.kubernetes.hands import Event, Hands
from watcher.core.application import Application
from watcher.core.effects import Tell
from watcher.core.lifecycle.foreign import Moved, Seen, apart, busy, left_alone, moved_outside
from watcher.core.lifecycle.history import surplus
from watcher.core.models import API_VERSION
from watcher.core.release import KIND, Release
from watcher.engine.clock import Clock

log = structlog.get_logger(__name__)

Name = tuple[str, str]
"""An Application: namespace and name."""

REST = timedelta(seconds=10)
"""How long a namespace is left alone after the API server did not do what was asked."""

AT_ONCE = 10
"""How many Releases are taken away in one turn."""


class Lookout:
    """`changed` names what may be worth a look; `turn` looks, on a thread of the scheduler."""

    def __init__(
        self,
        *,
        caches: Caches,
        hands: Hands,
        clock: Clock,
        leads: Callable[[], bool],
        applications: Callable[[], Mapping[Name, Application]],
    ) -> None:
        self._caches, self._hands, self._clock, self._leads = caches, hands, clock, leads
        self._applications = applications
        self._lock = threading.Lock()
        self._due: set[str] = set()
        """Namespaces in which a Service or a Release has changed."""
        self._rests: dict[str, datetime] = {}
        self._seen: dict[Name, Seen] = {}
        self._told: dict[Name, Seen] = {}
        self._apart: set[Name] = set()
        """Those of which it was told that their Services select different colours."""

    def changed(self, namespaces: Iterable[str]) -> None:
        with self._lock:
            self._due.update(namespaces)

    def turn(self) -> None:
        """Look at every Application of the namespaces that are due."""
        with self._lock:
            due, self._due = self._due, set()
        now = self._clock.now()
        for namespace in sorted(due):
            if not self._caches.synced(namespace) or self._rests.get(namespace, now) > now:
                self.changed([namespace])
                continue
            apps = [app for (space, _), app in self._applications().items() if space == namespace]
            try:
                for app in apps:
                    self._look(app)
                    self._tidy(app)
            except AdapterError as error:
                log.warning("cannot see to a flip that somebody else made, tries again", error=str(error))
                self._rests[namespace] = now + REST
                self.changed([namespace])

    def _look(self, app: Application) -> None:
        service, releases = self._caches.service(app), self._caches.releases(app.namespace)
        # On every replica, so that the next one to lead knows what it saw.
        moved = self._moved(app, service, releases) if service else None
        if service is None or not self._leads():
            return
        if moved is None:
            self._compare(app, releases)
            return
        # A cache may be behind a flip of our own: look at the things themselves.
        service, releases = (
            self._hands.read_service(app.namespace, app.spec.service),
            list(self._hands.read_releases(app.namespace)),
        )
        moved = self._moved(app, service, releases) if service else None
        if service is None or moved is None:
            return
        if moved.is_flip and app.spec.foreign_flips != "ignore":
            self._take_up(app, service, moved)
        else:
            self._only_tell(app, service, moved)

    def _compare(self, app: Application, releases: Iterable[Release]) -> None:
        """Tell where several pairs have come apart: a second Service that was moved alone, or left behind."""
        if not app.spec.also or busy(app, releases):
            return
        cached = {pair.spec.service: self._caches.service(pair) for pair in app.pairs}
        if apart(app, {name: found.view for name, found in cached.items() if found}) is None:
            self._apart.discard((app.namespace, app.name))
            return
        if (app.namespace, app.name) in self._apart or busy(app, self._hands.read_releases(app.namespace)):
            return
        found = {pair.spec.service: self._hands.read_service(app.namespace, pair.spec.service) for pair in app.pairs}
        services = {name: one for name, one in found.items() if one}
        tell = apart(app, {name: one.view for name, one in services.items()})
        if tell:
            self._apart.add((app.namespace, app.name))
            self._say(app, next(iter(services.values())), tell)

    def _tidy(self, app: Application) -> None:
        """Take away the oldest of the ended Releases that are too many."""
        if not self._leads():
            return
        of_app = [r for r in self._caches.releases(app.namespace) if r.spec.application == app.name]
        for release in surplus(of_app, app.spec.history, self._clock.now())[:AT_ONCE]:
            self._hands.delete_release(release)
            log.info("took away an old Release", release=release.name, application=app.name, ended=release.phase.value)

    def _moved(self, app: Application, service: views.Service, releases: list[Release]) -> Moved | None:
        """What somebody else did to the selector; None, and remembered, when all is as it should be."""
        key = (app.namespace, app.name)
        found = moved_outside(app, service.view, releases, self._seen.get(key))
        color = service.view.selector.get(app.spec.selector_key, "")
        if found is None and color and not busy(app, releases):
            self._seen[key] = Seen(color, service.view.mark)
            self._told.pop(key, None)
        return found

    def _take_up(self, app: Application, service: views.Service, moved: Moved) -> None:
        """Make the Release. Its name is made of the Service's state, so it is made once."""
        state = f"{service.view.uid}/{service.view.resource_version}"
        name = f"{app.name}-foreign-{hashlib.sha256(state.encode()).hexdigest()[:8]}"
        deployment = self._caches.world(app).colors[moved.to].deployment
        flip = {"from": moved.from_, "to": moved.to, "at": self._clock.now().isoformat(), "by": service.view.by}
        spec: dict[str, Any] = {"application": app.name, "requestedBy": "watcher", "foreignFlip": flip}
        if deployment:
            spec |= {"images": dict(deployment.images)} | (
                {"version": deployment.version} if deployment.version else {}
            )
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": app.namespace},
            "spec": spec,
        }
        try:
            made = self._hands.create_release(app.namespace, body)
        except AlreadyExists:
            return  # made before, by a request whose answer was lost
        self._caches.remember(made)
        log.warning(
            "somebody else moved a selector; a Release of its own watches it",
            application=app.name,
            namespace=app.namespace,
            release=name,
            to=moved.to,
        )

    def _only_tell(self, app: Application, service: views.Service, moved: Moved) -> None:
        key, seen = (app.namespace, app.name), Seen(moved.to, service.view.mark)
        if self._told.get(key) == seen:
            return
        self._told[key] = seen
        self._say(app, service, left_alone(app, service.view, moved))

    def _say(self, app: Application, service: views.Service, tell: Tell) -> None:
        log.warning(tell.message, application=app.name, namespace=app.namespace, reason=tell.reason)
        about = service.reference(app.namespace)
        self._hands.event(Event(about, tell.key, tell.reason, tell.message, "Warning", self._clock.now()))
