"""One Release's worker: look, step, write, do. Whatever it knows is in the Release's status or can be looked at anew.

What always holds: the new status is written, by compare-and-swap, before any effect of the step is carried out; a
conflict means to look again; and every call has a deadline, so a run ends.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

import structlog

from watcher.adapters.errors import AdapterError, Conflict, OutcomeUnknown, Transient
from watcher.adapters.kubernetes.caches import Caches, World
from watcher.adapters.kubernetes.connection import NotFound
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.application import Application, other
from watcher.core.binding import bind_rules
from watcher.core.effects import (
    CancelChecks,
    Deploy,
    Effect,
    FetchLogs,
    PointPreview,
    RunCheck,
    Scale,
    SetMinimum,
    SwapSelector,
    Tell,
    Wake,
)
from watcher.core.lifecycle import step
from watcher.core.lifecycle.telling import deleted
from watcher.core.lifecycle.turn import Turn
from watcher.core.observed import Observed, Other
from watcher.core.release import TRAFFIC_MOVED, Phase, Release
from watcher.core.rules import BoundRule
from watcher.core.units import Invalid
from watcher.engine.aims import begin, sweep
from watcher.engine.checks import Checks
from watcher.engine.clock import Clock
from watcher.engine.config import Config
from watcher.engine.elsewhere import Elsewhere
from watcher.engine.lanes import Alarms
from watcher.engine.measures import Measures
from watcher.engine.scalers import Scalers
from watcher.engine.silence import Silence
from watcher.engine.teller import Teller
from watcher.engine.watches import Watches

Key = tuple[str, str]
"""A Release: namespace and name."""

log = structlog.get_logger(__name__)

STEPS = 50
"""How many steps one run takes before it lets others have the thread."""

REFUSALS = 3
"""How often in a row one run looks again at once after a conflict."""

AGAIN = timedelta(milliseconds=500)
"""How soon a run that the API server refused is repeated; a flip is waited for by users."""
SOON = timedelta(milliseconds=100)

PATIENCE = timedelta(seconds=30)
FLIP_PATIENCE = timedelta(seconds=1)
"""The longest that an API server is left alone when it asks for it, and the longest where a flip waits (S2)."""

FLIPPING = frozenset({Phase.SWITCHING, Phase.ROLLING_BACK})
"""The phases whose decisions rest on what was just read, never on a cache."""


class Workers:
    """Runs Releases. One instance serves all; what belongs to one Release is kept under its key."""

    def __init__(
        self,
        *,
        caches: Caches,
        hands: Hands,
        rescue: Hands,
        checks: Checks,
        watches: Watches,
        teller: Teller,
        clock: Clock,
        alarms: Alarms[Key],
        measures: Measures,
        elsewhere: Elsewhere,
    ) -> None:
        self._caches, self._hands, self._rescue_hands = caches, hands, rescue
        self._checks, self._watches, self._teller = checks, watches, teller
        self._scalers = Scalers(hands, caches, lambda key: alarms.set(key, clock.now()))
        self._clock, self._alarms, self._measures = clock, alarms, measures
        self._elsewhere = elsewhere
        self._logs: dict[Key, dict[str, str]] = {}
        self._last: dict[Key, Release] = {}
        """Each Release that has not ended as it was last seen: a deleted one can no longer be looked at."""
        self._silence = Silence()
        self._doors: dict[Key, threading.Lock] = defaultdict(threading.Lock)
        """By Application: one Release at a time asks to be let in, and the next one sees whether it was."""
        self.config = Config()

    def stop(self) -> None:
        """End what goes on in the background."""
        self._scalers.stop()

    def rescue(self, key: Key) -> bool:
        """Whether the Release's next run may flip back, and so belongs in the rollback lane."""
        release = self._caches.release(*key)
        if release is None:
            return False
        return release.traffic_moved or (release.is_rollback_only and not release.phase.terminal)

    def run(self, key: Key) -> None:
        """Take steps until nothing changes any more. Only the leader does (S6)."""
        refused = 0
        for _ in range(STEPS):
            if not self._elsewhere.leads():
                # Also in the middle of a run: what is new from here on may be the next one's doing, and its to count.
                self._forget(key)
                return
            release = self._caches.release(*key)
            last = self._last.get(key)
            if last is not None and (release is None or release.uid != last.uid):
                self._gone(key, last)
            if release is None:
                self._forget(key)
                return
            if not self._elsewhere.acts_on(release):
                return
            try:
                if not self._admitted(key, release):
                    return
            except (Conflict, NotFound) as error:
                log.debug("the API server has something newer, looks again", release=key[1], error=str(error))
                if not self._reread(key):
                    return
                refused += 1
                if refused >= REFUSALS:
                    # Not somebody else's change, then: the thing asked for cannot be done now.
                    log.warning("the API server keeps refusing, tries again", release=key[1], error=str(error))
                    self._alarms.set(key, self._clock.now() + AGAIN)
                    return
            except AdapterError as error:
                log.warning("the API server did not do it, tries again", release=key[1], error=str(error))
                self._alarms.set(key, self._clock.now() + _patience(error, release))
                return
        self._alarms.set(key, self._clock.now())

    def _admitted(self, key: Key, release: Release) -> bool:
        """One step; of a Release that has not begun only while no other of its Application is let in."""
        if release.phase is not Phase.PENDING:
            return self._once(key, release)
        with self._doors[release.namespace, release.spec.application]:
            try:
                return self._once(key, release)
            except OutcomeUnknown:
                self._reread(key)  # the next one must know whether this one was let in
                raise

    def _once(self, key: Key, release: Release) -> bool:
        """One step. True when the next should follow at once."""
        # What a write whose answer was lost has done is seen here, and counted as if it had been answered.
        last = self._last.get(key)
        if last is not None:
            self._measures.moved(last, release)
            self._last[key] = release
        observed = self._observe(key, release)
        was = release.phase
        new, effects = step(release, observed, self._clock.now())
        if new.status != release.status:
            written = self._hands_for(release).write_status(release, new.status)
            self._caches.remember(written)
            self._measures.moved(release, new)
            told = {effect.message for effect in effects if isinstance(effect, Tell)}
            if new.phase != release.phase and new.status.message not in told:  # what is told is logged with its reason
                log.info(
                    new.status.message,
                    release=new.name,
                    namespace=new.namespace,
                    application=new.spec.application,
                    phase=new.phase.value,
                    was=release.phase.value,
                )
            release = written
        if release.phase.terminal:
            self._last.pop(key, None)
            sweep(self._checks, release, self._clock.now())
        else:
            self._last[key] = release
        self._keep_watch(key, release)
        for effect in effects:
            self._do(key, release, effect)
        now = self._clock.now()
        flipped = any(isinstance(effect, SwapSelector) for effect in effects)
        due = any(isinstance(effect, Wake) and effect.at <= now for effect in effects)
        return new.phase != was or flipped or due

    def _hands_for(self, release: Release) -> Hands:
        return self._rescue_hands if release.traffic_moved else self._hands

    def _reread(self, key: Key) -> bool:
        """Read the Release itself. False when it is gone, or when the API server cannot say."""
        try:
            fresh = self._hands.read_release(*key)
        except AdapterError as error:
            log.warning("cannot read the Release, tries again", release=key[1], error=str(error))
            self._alarms.set(key, self._clock.now() + AGAIN)
            return False
        if fresh is None:
            self._forget(key)
            return False
        self._caches.remember(fresh)
        return True

    def let_go(self, keys: Iterable[Key]) -> None:
        """Another replica acts on these from now on."""
        for key in keys:
            self._forget(key)

    def _gone(self, key: Key, last: Release) -> None:
        """A Release was deleted before its end, and perhaps another one of its name made: nothing of it is left."""
        self._forget(key)
        self._tell(last, deleted(last))

    def _forget(self, key: Key) -> None:
        self._last.pop(key, None)
        self._checks.let_go(key)
        self._watches.forget(key)
        self._logs.pop(key, None)
        self._silence.forget(key)
        self._alarms.cancel(key)

    def _keep_watch(self, key: Key, release: Release) -> None:
        """The rules are watched exactly while the Release is in its watch."""
        status = release.status
        if release.phase is Phase.WATCHING and status.pinned and status.switched_at and status.watch_until:
            self._watches.follow(key, status.pinned.rules, status.switched_at, status.watch_until)
        elif release.phase.terminal or release.phase is Phase.ROLLING_BACK:
            self._watches.end(key)
            if release.phase.terminal:
                self._logs.pop(key, None)
                self._last.pop(key, None)
                self._silence.forget(key)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _observe(self, key: Key, release: Release) -> Observed:
        """The world of one Release. Before a flip it is read from the API server; else from the caches."""
        pinned = release.status.pinned
        app = pinned.application if pinned else self._application(release)
        if app is None:
            known = sorted(name for space, name in self.config.applications if space == release.namespace)
            return Observed(known_applications=tuple(known))
        if not self._caches.synced(app.namespace):
            return Observed(application=app, service_known=False)
        worlds = self._worlds(release, app)
        if worlds is None:
            return Observed(application=app, service_known=False)
        rules, problem = self._rules(release, app, worlds[0])
        pairs = [world.view for world in worlds]
        first, *also = self._silence.seen(key, pairs, self._clock.now()) if release.phase in TRAFFIC_MOVED else pairs
        return Observed(
            application=app,
            watcher=self._elsewhere.watcher,
            removed=self._application(release) is None,
            rules=rules,
            rules_problem=problem,
            service=first.service,
            preview=first.preview,
            colors=first.colors,
            also=tuple(also),
            scalers_known=all(world.scalers_known for world in worlds),
            checks=self._checks.results(key),
            watch=self._watches.reading(key),
            others=self._others(release) if _minds_others(release) else (),
            logs=self._logs.get(key, {}),
        )

    def _application(self, release: Release) -> Application | None:
        return self.config.applications.get((release.namespace, release.spec.application))

    def _worlds(self, release: Release, app: Application) -> list[World] | None:
        """The Application's part of the cluster, pair by pair; None when the API server cannot say."""
        if release.phase not in FLIPPING:
            worlds = [self._caches.world(pair) for pair in app.pairs]
            first, *also = [world.view for world in worlds]
            seen = Turn(release, Observed(application=app, service=first.service, also=tuple(also)), self._clock.now())
            known = release.status.colors is not None and not release.phase.terminal
            if not known or not (seen.moved or seen.gone):
                return worlds
            # Somebody seems to have moved a selector. A cache may be behind our own flip: look at the thing itself.
        found = [self._read_world(self._hands_for(release), pair) for pair in app.pairs]
        return None if None in found else [world for world in found if world]

    def _read_world(self, hands: Hands, app: Application) -> World | None:
        """One pair as it is now."""
        try:
            service = hands.read_service(app.namespace, app.spec.service)
            slices = list(hands.read_slices(app.namespace, app.spec.service))
            if app.spec.preview:
                slices += hands.read_slices(app.namespace, app.spec.preview.service)
        except AdapterError as error:
            log.warning("cannot look at the Service, tries again", application=app.name, error=str(error))
            return None
        if service is not None:
            self._caches.remember_service(app.namespace, service)
        return self._caches.world_with(app, service, slices)

    def _rules(self, release: Release, app: Application, world: World) -> tuple[tuple[BoundRule, ...], str]:
        """The rules that a watch would start with now. Only the phases before it ask."""
        if release.phase not in (Phase.PENDING, Phase.SWITCHING) or release.is_rollback_only:
            return (), ""
        selected = world.service.view.selector.get(app.spec.selector_key, "") if world.service else ""
        to = release.status.colors.to if release.status.colors else other(selected)
        if release.spec.foreign_flip:
            to = release.spec.foreign_flip.to
        try:
            return bind_rules(app, self.config.rule_sets, to, other(to), release.spec.version), ""
        except Invalid as error:
            return (), f"The rules of {app.name} cannot be used: {error.problem}: {error.cure}."

    def _others(self, release: Release) -> tuple[Other, ...]:
        return tuple(
            Other.of(r)
            for r in self._caches.releases(release.namespace)
            if r.spec.application == release.spec.application and r.name != release.name
        )

    # -- doing --------------------------------------------------------------------------------------------------------

    def _do(self, key: Key, release: Release, effect: Effect) -> None:
        """Carry out one effect. Raises AdapterError; the step asks again for what was not done."""
        pinned = release.status.pinned
        match effect:
            case Tell():
                self._tell(release, effect)
            case Wake():
                self._alarms.set(key, effect.at)
            case CancelChecks():
                self._checks.cancel(key)
            case _ if pinned is None:
                raise AssertionError(f"{effect} before the Release has begun")
            case Deploy():
                self._hands.deploy(release.namespace, effect)
            case Scale():
                self._scale(release, pinned.application, effect)
            case SetMinimum():
                self._scalers.ask(key, effect)
            case PointPreview():
                key_ = pinned.application.spec.selector_key
                self._hands.point_preview(release.namespace, effect.service, key_, effect.color)
            case SwapSelector():
                self._swap(release, pinned.application, effect)
            case RunCheck():
                begin(self._checks, self._caches, release, pinned.application, effect)
            case FetchLogs():
                self._fetch_logs(key, effect)

    def _tell(self, release: Release, tell: Tell) -> None:
        pinned = release.status.pinned
        service: Mapping[str, str] | None = None
        if pinned and self._caches.synced(release.namespace):
            found = self._caches.world(pinned.application).service
            service = found.reference(release.namespace) if found else None
        self._teller.tell(release, tell, self._clock.now(), service)

    def _scale(self, release: Release, app: Application, effect: Scale) -> None:
        for pair in app.pairs if effect.only_if_idle else ():
            service = self._hands.read_service(app.namespace, pair.spec.service)
            if service and service.view.selector.get(app.spec.selector_key) == effect.only_if_idle:
                return
        hands = self._rescue_hands if release.phase is Phase.ROLLING_BACK else self._hands
        hands.scale(release.namespace, effect.deployment, effect.replicas)

    def _swap(self, release: Release, app: Application, effect: SwapSelector) -> None:
        hands = self._rescue_hands if effect.rescue else self._hands
        service = next((self._caches.service(pair) for pair in app.pairs if pair.spec.service == effect.service), None)
        if service is None:
            return
        mark = effect.flip.mark(release.uid)
        hands.swap_selector(service, app.namespace, app.spec.selector_key, effect.flip, mark, self._clock.now())

    def _fetch_logs(self, key: Key, effect: FetchLogs) -> None:
        try:
            text = self._hands.read_logs(key[0], effect.pod, effect.container, previous=effect.previous)
            text = text or self._hands.read_logs(key[0], effect.pod, effect.container, previous=False)
        except AdapterError as error:
            text = f"(its log cannot be read: {error})"
        self._logs.setdefault(key, {})[f"{effect.pod}/{effect.container}"] = text


def _patience(error: AdapterError, release: Release) -> timedelta:
    """How long to leave the API server alone: as long as it asks for, within limits. Users wait for a flip."""
    least, most = (SOON, FLIP_PATIENCE) if release.phase in FLIPPING else (AGAIN, PATIENCE)
    asked = timedelta(seconds=error.retry_after) if isinstance(error, Transient) else timedelta(0)
    return max(least, min(asked, most))


def _minds_others(release: Release) -> bool:
    """Whether what a Release does depends on the others of its Application."""
    return release.phase is Phase.PENDING or release.phase.terminal or release.observes
