"""A tiny simulated world for the lifecycle: a live Service, a preview, two colours, checks, rules and people.

What always holds: a `World` is a value; every event and every effect gives a new one, so that a test can go on from the
same world in several ways. It does to the effects what a cluster does: a swap compares and leaves its mark in one go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from watcher.core.application import Application
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
)
from watcher.core.evaluation import Outcome, RuleReport
from watcher.core.observed import (
    CheckResult,
    ColorView,
    ContainerView,
    DeploymentView,
    Held,
    Observed,
    Other,
    PairView,
    PodView,
    ScalerView,
    ServiceView,
    WatchReading,
)
from watcher.core.release import Phase, Release, Spec, Status
from watcher.core.rules import BoundRule

START = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
OLD, NEW = "registry.example/chat:2.4.0", "registry.example/chat:2.4.1"
RULE = "http/error-rate"
BREACH = "error-rate was 4.2% (limit 1%) for 30 s"


def application(**spec: Any) -> Application:
    """The chatbot platform of the guide, with other settings where they are given (camelCase, as in the file)."""
    whole = {
        "service": "chatbot-platform",
        "colors": {"blue": {"deployment": "chatbot-blue"}, "green": {"deployment": "chatbot-green"}},
        "preview": {"service": "chatbot-preview"},
        "tests": {
            "smoke": [{"http": {"path": "/healthz"}}],
            "verification": [{"name": "chat", "http": {"path": "/chat"}}],
            "health": [{"http": {"path": "/readyz"}}],
        },
        "watch": {"duration": "60s", "interval": "10s", "rules": ["http"]},
        "previous": {"keep": "5m"},
        "deadlines": {"deploying": "2m", "testing": "2m", "switching": "30s", "verifying": "30s"},
    } | spec
    kept = {key: value for key, value in whole.items() if value is not None}
    document = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "chatbot-platform", "namespace": "prod"},
        "spec": kept,
    }
    return Application.model_validate_json(_json(document))


def rule(id_: str = RULE, on_breach: str = "rollback", mode: str = "enforce") -> BoundRule:
    """A rule as a Release is bound to it."""
    document = {
        "id": id_,
        "description": "",
        "query": "error_ratio",
        "trafficQuery": None,
        "trafficAtLeast": None,
        "threshold": {"above": "1%"},
        "window": "1m",
        "for": "30s",
        "breaches": None,
        "reduce": None,
        "warmUp": "1m",
        "interval": "10s",
        "onBreach": on_breach,
        "onNoData": "hold",
        "onError": "hold",
        "mode": mode,
    }
    return BoundRule.model_validate_json(_json(document))


def report(outcome: Outcome, id_: str = RULE, **changes: Any) -> RuleReport:
    """What a rule says."""
    breached = outcome is Outcome.BREACH
    values: dict[str, Any] = {
        "id": id_,
        "outcome": outcome,
        "value": {Outcome.PASS: 0.001, Outcome.BREACH: 0.042}.get(outcome),
        "threshold": "> 1%",
        "message": BREACH if breached else f"error-rate: {outcome}",
        "since": START.timestamp(),
        "evaluated": 6,
        "breached": breached,
        "breached_at": START.timestamp() if breached else None,
    }
    return RuleReport(**(values | changes))


def _json(document: Any) -> str:
    import json

    return json.dumps(document)


@dataclass(frozen=True)
class Side:
    """One colour. Pods that are not ready become ready as time passes, unless `sick`."""

    color: str
    name: str = "chatbot"
    holds: str = "chat"
    """Its container."""
    image: str = OLD
    version: str = ""
    replicas: int = 2
    ready: int = 2
    restarts: int = 0
    created_at: datetime = START - timedelta(days=1)
    changed_at: datetime = START - timedelta(days=1)
    sick: bool = False
    exists: bool = True
    seen: bool = True
    trouble: str = ""
    container: ContainerView | None = None
    """What the first pod's container shows instead of being well."""
    unschedulable: str = ""
    pods: tuple[PodView, ...] | None = None
    """The very pods, where a test wants to say them one by one."""
    scaler: ScalerView | None = None

    @property
    def deployment(self) -> str:
        return f"{self.name}-{self.color}"

    def later(self, now: datetime) -> Side:
        """What time alone does."""
        if self.sick or self.ready == self.replicas:
            return self
        return replace(self, ready=self.replicas, changed_at=now)

    def scaled(self, *, serves: bool) -> Side:
        """What its autoscaler makes of it: without traffic it shrinks it as far as it may; zero it leaves alone."""
        if self.scaler is None or not self.replicas:
            return self
        wanted = max(self.replicas, self.scaler.minimum) if serves else self.scaler.minimum
        size = min(wanted, self.scaler.maximum)
        return replace(self, replicas=size, ready=min(self.ready, size))

    def dies(self, now: datetime, *, crashed: bool = False) -> Side:
        """All its pods stop to be ready, each by a crash or for a reason of their own."""
        return replace(self, ready=0, changed_at=now, sick=True, restarts=self.restarts + crashed)

    def recovers(self, now: datetime) -> Side:
        return replace(self, sick=False, container=None, trouble="", unschedulable="", seen=True).later(now)

    @lru_cache(maxsize=1000)  # noqa: B019 - a Side is a value, and the exploration looks at few of them very often
    def view(self, endpoints: bool) -> ColorView:
        deployment = DeploymentView(
            name=self.deployment,
            replicas=self.replicas,
            images={self.holds: self.image},
            observed=True,
            total=self.replicas,
            updated=self.replicas,
            ready=self.ready,
            trouble=self.trouble,
            version=self.version,
        )
        pods = tuple(self._pod(i) for i in range(self.replicas)) if self.pods is None else self.pods
        counted = self.ready if endpoints else None
        if not self.exists:
            return ColorView(self.color, None, (), counted, self.scaler)
        return ColorView(self.color, deployment, pods, counted, self.scaler)

    def _pod(self, index: int) -> PodView:
        ready = index < self.ready
        container = ContainerView(self.holds, ready=ready, restarts=self.restarts if index == 0 else 0)
        if index == 0 and self.container:
            container = self.container
        return PodView(
            name=f"{self.deployment}-{index}",
            uid=f"{self.deployment.removeprefix('chatbot-')}/{self.image}/{index}",
            ip=f"10.0.0.{index}",
            ready=ready,
            created_at=self.created_at,
            ready_changed_at=self.changed_at,
            unschedulable=self.unschedulable if index == 0 else "",
            containers=(container,),
        )


@dataclass(frozen=True)
class World:
    """Everything outside the Release. `checks`, `logs` and `asked` are a worker's memory and die with it."""

    app: Application | None
    now: datetime = START
    selector: str = "blue"
    mark: str = ""
    marked_at: datetime | None = None
    version: int = 1
    """The live Service's resourceVersion."""
    service: bool = True
    service_known: bool = True
    removed: bool = False
    """No file defines the Application any more."""
    preview: str | None = "blue"
    blue: Side = Side("blue", version="2.4.0")
    green: Side = Side("green", image="registry.example/chat:2.3.9", version="2.3.9")
    fails: Mapping[str, str] = field(default_factory=dict)
    """What a check answers, by id, when it does not pass; "hang" never answers."""
    checks: Mapping[str, CheckResult] = field(default_factory=dict)
    lines: str = "Traceback: no such model"
    logs: Mapping[str, str] = field(default_factory=dict)
    verdict: str = "pass"
    """What the rules would say if they are asked: pass, hold (blind) or rollback."""
    reading: WatchReading | None = None
    """The very reading, where a test wants to say it."""
    asked: bool = False
    rules: tuple[BoundRule, ...] = (rule(),)
    rules_problem: str = ""
    others: tuple[Other, ...] = ()
    scalers_known: bool = True
    scalers_obey: bool = True
    """Whether autoscalers take what is written to them."""
    edited: Mapping[str, int] = field(default_factory=dict)
    """The minimums that a person has written, by colour."""
    made: tuple[str, ...] = ()
    """The colours that our flips brought live, in order: the truth that the status must agree with. Those of the worker
    are written `worker/green`.
    """
    names: tuple[str, str] = ("chatbot-platform", "chatbot-preview")
    """Of the live Service and of the preview."""
    worker: World | None = None
    """The second pair's part of the world, where there is one. Whatever belongs to no pair is not looked at there."""
    touched: bool = False
    """A person moved a selector."""

    # -- looking ------------------------------------------------------------------------------------------------------

    def side(self, color: str) -> Side:
        return self.blue if color == "blue" else self.green

    def with_side(self, side: Side) -> World:
        return replace(self, blue=side) if side.color == "blue" else replace(self, green=side)

    def observe(self, release: Release) -> Observed:
        """What a worker sees."""
        if self.app is None:
            return Observed(known_applications=("shop",))
        if not self.service_known:
            return Observed(application=self.app, service_known=False)
        view = self.view()
        return Observed(
            application=self.app,
            removed=self.removed,
            rules=self.rules,
            rules_problem=self.rules_problem,
            service=view.service,
            preview=view.preview,
            colors=view.colors,
            also=(self.worker.view(),) if self.worker else (),
            scalers_known=self.scalers_known,
            checks=self.checks,
            watch=self._watch(release.status),
            others=self.others,
            logs=self.logs,
        )

    def view(self) -> PairView:
        """What a worker sees of this pair."""
        selected = (self.selector, self.preview)
        live, preview = self.names
        service = ServiceView(live, "s", str(self.version), {"color": self.selector}, self.mark, self.marked_at)
        return PairView(
            service if self.service else None,
            ServiceView(preview, "p", "1", {"color": self.preview}) if self.preview else None,
            {s.color: s.view(s.color in selected) for s in (self.blue, self.green) if s.seen},
        )

    @property
    def pairs(self) -> tuple[World, ...]:
        """Each pair's part of the world."""
        return (self, self.worker) if self.worker else (self,)

    @property
    def versions(self) -> tuple[int, ...]:
        """The resourceVersions of the live Services."""
        return tuple(pair.version for pair in self.pairs)

    @property
    def mixed(self) -> bool:
        """Whether the live Services select different colours."""
        return len({pair.selector for pair in self.pairs}) > 1

    def pair(self, service: str) -> World:
        return next(pair for pair in self.pairs if service in pair.names)

    def with_pair(self, pair: World) -> World:
        """The same with other news of one pair."""
        return pair if self.worker is None or pair.names == self.names else replace(self, worker=pair)

    def _watch(self, status: Status) -> WatchReading | None:
        if status.phase is not Phase.WATCHING or not self.asked:
            return None
        if self.reading:
            return self.reading
        ended = status.watch_until is not None and self.now >= status.watch_until
        outcomes = {"rollback": Outcome.BREACH, "hold": Outcome.NO_DATA}
        verdict = "inconclusive" if ended and self.verdict == "hold" else self.verdict
        found = report(outcomes.get(self.verdict, Outcome.PASS))
        return WatchReading((found,), verdict, (found.message,), ended=ended)

    # -- what happens -------------------------------------------------------------------------------------------------

    def later(self, seconds: float) -> World:
        """Time passes: pods start, checks end, rules are asked."""
        now = self.now + timedelta(seconds=seconds)
        checks = {id_: self._ended(id_, result) for id_, result in self.checks.items()}
        blue, green = (s.scaled(serves=s.color == self.selector).later(now) for s in (self.blue, self.green))
        worker = self.worker and self.worker.later(seconds)
        return replace(self, now=now, checks=checks, asked=True, blue=blue, green=green, worker=worker)

    def _ended(self, id_: str, result: CheckResult) -> CheckResult:
        said = self.fails.get(id_)
        if not result.running or said == "hang":
            return result
        return CheckResult(ok=False, message="got status 500", output=said) if said else CheckResult(True, "got 200")

    def forget(self) -> World:
        """What dies with a worker."""
        return replace(self, checks={}, logs={}, asked=False)

    def moved(self, color: str) -> World:
        """A person patches the selector."""
        return replace(self, selector=color, version=self.version + 1, touched=True)

    def edits(self, color: str, minimum: int) -> World:
        """A person writes an autoscaler's minimum, and leaves what is noted on it."""
        side = self.side(color)
        assert side.scaler
        edited = self.with_side(replace(side, scaler=changed(side.scaler, minimum, side.scaler.held)))
        return replace(edited, edited={**self.edited, color: minimum})

    def sick(self, color: str, *, crashed: bool = False) -> World:
        return self.with_side(self.side(color).dies(self.now, crashed=crashed))

    def calm(self) -> World:
        """All trouble is over: pods recover, the API answers, Prometheus sees."""
        verdict = "rollback" if self.verdict == "rollback" else "pass"
        blue, green = self.blue.recovers(self.now), self.green.recovers(self.now)
        worker = self.worker and self.worker.calm()
        well = replace(self, blue=blue, green=green, worker=worker)
        well = replace(well, scalers_known=True, scalers_obey=True)
        return replace(well, service_known=True, verdict=verdict, fails={})

    # -- effects ------------------------------------------------------------------------------------------------------

    def done(self, effect: Effect, uid: str, seen: tuple[int, ...] | None = None) -> World:
        """An effect is carried out; one that the cluster refuses changes nothing. `seen` has the resourceVersions of
        the Services that the swap was decided on: a swap tests it.
        """
        if self.worker and _of(self.worker, effect):
            return self._worker_done(self.worker, effect, uid, seen)
        match effect:
            case Deploy():
                return self._deployed(effect)
            case Scale():
                side = next(s for s in (self.blue, self.green) if s.deployment == effect.deployment)
                if effect.only_if_idle in {pair.selector for pair in self.pairs}:
                    return self
                return self.with_side(replace(side, replicas=effect.replicas, ready=min(side.ready, effect.replicas)))
            case SetMinimum():
                return self._minimum(effect)
            case PointPreview():
                return replace(self, preview=effect.color)
            case SwapSelector():
                stale = seen is not None and seen[0] != self.version
                if stale or not self.service or self.selector != effect.flip.from_:
                    return self
                mark = effect.flip.mark(uid)
                swapped = replace(self, selector=effect.flip.to, mark=mark, marked_at=self.now)
                return replace(swapped, version=self.version + 1, made=(*self.made, effect.flip.to))
            case RunCheck():
                running = CheckResult(running=True, since=self.now, tries=1, last="got status 503")
                return replace(self, checks={effect.id: running, **self.checks})
            case FetchLogs():
                return replace(self, logs={**self.logs, f"{effect.pod}/{effect.container}": self.lines})
            case CancelChecks():
                return replace(self, checks={})
            case _:
                return self

    def _worker_done(self, worker: World, effect: Effect, uid: str, seen: tuple[int, ...] | None) -> World:
        if isinstance(effect, Scale) and effect.only_if_idle == self.selector:
            return self
        after = worker.done(effect, uid, seen and seen[1:])
        made = (f"worker/{color}" for color in after.made[len(worker.made) :])
        return replace(self, worker=after, made=(*self.made, *made))

    def _deployed(self, effect: Deploy) -> World:
        side = next(s for s in (self.blue, self.green) if s.deployment == effect.deployment)
        image = effect.images.get(side.holds, side.image)
        new = image != side.image
        changed = replace(side, image=image, version=effect.version, replicas=effect.replicas)
        if new:
            fresh = {"ready": 0, "restarts": 0, "created_at": self.now, "changed_at": self.now}
            changed = replace(changed, **fresh)  # type: ignore[arg-type]
        return self.with_side(changed)

    def _minimum(self, effect: SetMinimum) -> World:
        found = next((s for s in (self.blue, self.green) if s.scaler and s.scaler.name == effect.scaler), None)
        if not self.scalers_obey or found is None or found.scaler is None:
            return self
        if found.scaler.resource_version != effect.version:
            return self
        return self.with_side(replace(found, scaler=changed(found.scaler, effect.minimum, effect.held)))


def scaler(color: str, minimum: int = 1, maximum: int = 10, **more: Any) -> ScalerView:
    """The autoscaler of a colour."""
    return ScalerView(f"chatbot-{color}-hpa", minimum, maximum, resource_version="1", **more)


def changed(found: ScalerView, minimum: int, held: Held | None) -> ScalerView:
    """An autoscaler after somebody wrote it."""
    version = str(int(found.resource_version) + 1)
    return replace(found, minimum=minimum, held=held, resource_version=version)


def _of(pair: World, effect: Effect) -> bool:
    """Whether an effect is carried out on one of the pair's objects."""
    match effect:
        case Deploy() | Scale():
            return effect.deployment in (pair.blue.deployment, pair.green.deployment)
        case PointPreview() | SwapSelector():
            return effect.service in pair.names
        case SetMinimum():
            return effect.scaler in {s.scaler.name for s in (pair.blue, pair.green) if s.scaler}
        case _:
            return False


ALSO = {
    "service": "worker",
    "colors": {"blue": {"deployment": "worker-blue"}, "green": {"deployment": "worker-green"}},
    "preview": {"service": "worker-preview"},
}
"""The second pair, as the Application's file has it."""

BOTH = {"chat": NEW, "work": "registry.example/work:2.4.1"}
"""What a Release of both pairs asks for."""


def worker(**changes: Any) -> World:
    """The second pair's part of a world."""
    blue = Side("blue", "worker", "work", "registry.example/work:2.4.0", "2.4.0")
    green = Side("green", "worker", "work", "registry.example/work:2.3.9", "2.3.9")
    return replace(World(None, blue=blue, green=green, names=("worker", "worker-preview")), **changes)


Command = Literal["approve", "pause", "resume", "abort", "rollback", "override_window"]


def release(**spec: Any) -> Release:
    """A Release of version 2.4.1, asked for by a pipeline."""
    asked = {"images": {"chat": NEW}, "version": "2.4.1", "requested_by": "pipeline/4711"} | spec
    return Release(
        name="chatbot-platform-x7k2p",
        namespace="prod",
        uid="u1",
        resource_version="1",
        created_at=START,
        spec=Spec(application="chatbot-platform", **asked),
    )
