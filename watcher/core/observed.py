"""What a worker sees of the world when it takes a step: plain data, made by adapters, consumed by the lifecycle.

What always holds: a thing that could not be read is None or absent, never a default that looks like a fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from watcher.core.application import Application
from watcher.core.evaluation import RuleReport
from watcher.core.release import Phase, Release
from watcher.core.rules import BoundRule


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A Service: its selector, and the mark that the last flip of ours left on it (see release.Flip.mark)."""

    name: str
    uid: str
    resource_version: str
    selector: Mapping[str, str]
    mark: str = ""
    marked_at: datetime | None = None
    marked_to: str = ""
    """The colour that the marked flip made live."""
    by: str = ""
    """Who wrote the selector, as the API server names it; empty when that is not known."""


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """A Deployment: what it should be (`replicas`, `images` by container) and how far it is."""

    name: str
    replicas: int
    images: Mapping[str, str]
    observed: bool
    """The controller has seen the latest spec: the counts below speak of it."""
    total: int = 0
    updated: int = 0
    ready: int = 0
    trouble: str = ""
    """The controller's own words when it cannot make pods (quota, admission); empty when it can."""
    version: str = ""
    """The version that a Release of ours last deployed here; empty when none did."""

    @property
    def rolled_out(self) -> bool:
        """Every pod is of the latest template and ready, and no older one is left."""
        return self.observed and self.updated == self.ready == self.total == self.replicas


@dataclass(frozen=True, slots=True)
class Held:
    """What a Release of ours did to an autoscaler's minimum, as the autoscaler itself remembers: what it was `before`,
    and what it was raised `to`."""

    before: int
    to: int


@dataclass(frozen=True, slots=True)
class ScalerView:
    """A HorizontalPodAutoscaler of a colour's Deployment: the sizes between which it moves."""

    name: str
    minimum: int
    maximum: int
    held: Held | None = None
    owner: str = ""
    """Another controller that writes it (KEDA's ScaledObject, say), and would take back whatever we write."""
    resource_version: str = field(default="", compare=False)
    """Not compared: the autoscaler's own reports change it every few seconds, and nobody is to be woken for that."""

    @property
    def ours(self) -> bool:
        """The minimum is still the one that a Release gave it."""
        return self.held is not None and self.held.to == self.minimum

    @property
    def own_minimum(self) -> int:
        """The minimum without what a Release did to it."""
        return self.held.before if self.held and self.ours else self.minimum


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container of a pod. `exit_code` and `reason` speak of its last end, None and empty when it never ended."""

    name: str
    ready: bool = False
    restarts: int = 0
    waiting: str = ""
    waiting_message: str = ""
    ended_now: bool = False
    exit_code: int | None = None
    reason: str = ""

    @property
    def failures(self) -> int:
        """How often it has failed: each restart was one, and so is an end with a code that waits for its restart."""
        return self.restarts + (1 if self.ended_now and self.exit_code else 0)


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of a colour. `latest` says that it is of its Deployment's latest template."""

    name: str
    uid: str
    ip: str
    ready: bool
    created_at: datetime
    ready_changed_at: datetime | None = None
    deleting: bool = False
    latest: bool = True
    unschedulable: str = ""
    containers: tuple[ContainerView, ...] = ()

    @property
    def failures(self) -> int:
        """How often its containers have failed. One that is told to stop may end with any code: that is no failure."""
        return sum(c.restarts if self.deleting else c.failures for c in self.containers)


@dataclass(frozen=True, slots=True)
class ColorView:
    """One side of the pair. `endpoints` is the number of ready endpoints in the EndpointSlices of a Service that
    selects this colour right now (live or preview); None when no Service selects it, and the pods must speak.
    """

    color: str
    deployment: DeploymentView | None
    pods: tuple[PodView, ...] = ()
    endpoints: int | None = None
    scaler: ScalerView | None = None
    silent_since: datetime | None = None
    """Since when the worker has seen no ready endpoint. EndpointSlices and pods come by streams of their own, and pods
    may still seem ready for a while: then nothing else tells how long it has lasted.
    """

    @property
    def ready(self) -> int:
        """Ready endpoints behind this colour; by the pods' own readiness where no Service selects it."""
        if self.endpoints is not None:
            return self.endpoints
        return sum(1 for pod in self.pods if pod.ready and not pod.deleting)


@dataclass(frozen=True, slots=True)
class PairView:
    """One pair: its Services, and its colours."""

    service: ServiceView | None = None
    preview: ServiceView | None = None
    colors: Mapping[str, ColorView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check gave; `running` until then."""

    ok: bool = False
    message: str = ""
    output: str = ""
    running: bool = False
    since: datetime | None = None
    """When this worker started it. A check that a new worker must run anew has its whole time again."""
    tries: int = 0
    """How often it was tried so far, at all its addresses together."""
    last: str = ""
    """What the last try gave."""


@dataclass(frozen=True, slots=True)
class WatchReading:
    """What the rules say: a report each, and together. `evaluated_until` is the last time that was answered."""

    reports: tuple[RuleReport, ...] = ()
    verdict: str = "hold"
    reasons: tuple[str, ...] = ()
    ended: bool = False
    """The verdict speaks of the whole watch: its last evaluation time has passed and was asked for."""
    late: float = 0.0
    """Seconds between the evaluation time of a breach and the moment it was seen."""


@dataclass(frozen=True, slots=True)
class Other:
    """Another Release of the same Application."""

    name: str
    phase: str
    created_at: datetime
    images: Mapping[str, str]
    """What it asked for; of a rolled-back one the images that traffic was taken from (`status.rejected`)."""
    ended_at: datetime | None = None
    foreign: bool = False
    """It was there for a flip that somebody else made."""
    gives_way: bool = False
    """It only observes such a flip, and ends when another Release begins."""

    @classmethod
    def of(cls, release: Release) -> Other:
        return cls(
            name=release.name,
            phase=release.phase.value,
            created_at=release.created_at,
            images=release.status.rejected or release.spec.images,
            ended_at=release.status.ended_at,
            foreign=release.spec.foreign_flip is not None,
            gives_way=release.observes and release.phase is not Phase.ROLLING_BACK,
        )

    @property
    def proves(self) -> bool:
        """Whether its end says how good its images are: one that was refused says nothing of them, nor does a watch of
        what somebody else made live."""
        good = self.phase == Phase.COMPLETED and not self.foreign
        return self.ended_at is not None and (good or self.phase == Phase.ROLLED_BACK)

    @property
    def running(self) -> bool:
        return self.ended_at is None and self.phase not in ("", "Pending") and not self.gives_way


@dataclass(frozen=True, slots=True)
class Observed:
    """The world of one Release."""

    application: Application | None = None
    """The Application as the files say now; None when there is none of that name."""
    watcher: str = ""
    """This watcher's name."""
    removed: bool = False
    """No file defines the Application any more; `application` is what the Release holds on to."""
    known_applications: tuple[str, ...] = ()
    rules: tuple[BoundRule, ...] = ()
    """The Application's rules as the files say now, bound to this Release."""
    rules_problem: str = ""
    """Why the rules of the Application cannot be bound (an unknown RuleSet, say); empty when they can."""
    service: ServiceView | None = None
    service_known: bool = True
    """False when the API could not be asked: then `service` says nothing."""
    preview: ServiceView | None = None
    colors: Mapping[str, ColorView] = field(default_factory=dict)
    also: tuple[PairView, ...] = ()
    """The Application's further pairs; `service`, `preview` and `colors` are the first one's."""
    scalers_known: bool = True
    """False until the autoscalers were listed: then a colour without one says nothing."""
    checks: Mapping[str, CheckResult] = field(default_factory=dict)
    watch: WatchReading | None = None
    others: tuple[Other, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    """The last lines of a container that failed, by `pod/container`; empty text when there are none to be had."""

    def pair(self, index: int) -> PairView:
        """What is seen of a pair; nothing of one that could not be looked at."""
        if index == 0:
            return PairView(self.service, self.preview, self.colors)
        return self.also[index - 1] if index <= len(self.also) else PairView()
