"""The Application file: one blue/green pair, and how its releases are tested, watched and kept.

Every default of a release's life stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watcher.core.jobs import JobCheck
from watcher.core.models import ApiVersion, Duration, Model, Name, PositiveDuration, Url, UrlPath
from watcher.core.rules import RuleOverride
from watcher.core.units import Invalid
from watcher.core.windows import Day, clock_time, start_time, zone_name

Color = Literal["blue", "green"]
COLORS: tuple[Color, Color] = ("blue", "green")


class Metadata(Model):
    """Name and namespace, as in every Kubernetes-style file."""

    name: Name
    namespace: Name


class ColorSpec(Model):
    """The Deployment behind one colour."""

    deployment: Name


class Colors(Model):
    """Both colours."""

    blue: ColorSpec
    green: ColorSpec

    def of(self, color: str) -> ColorSpec:
        return self.blue if color == "blue" else self.green

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.blue.deployment == self.green.deployment:
            raise Invalid("blue and green name the same deployment", "give each colour one of its own", path=("green",))
        return self


class Preview(Model):
    """A Service that always selects the idle colour, for tests before the switch."""

    service: Name


class Window(Model):
    """A time in which releases may move traffic. Going back never waits for one."""

    days: Annotated[list[Day], Field(min_length=1)]
    from_: Annotated[str, AfterValidator(start_time)] = Field(alias="from")
    to: Annotated[str, AfterValidator(clock_time)]
    timezone: Annotated[str, AfterValidator(zone_name)] = "UTC"


class Freeze(Model):
    """Days (both included) in which no release begins."""

    from_: date = Field(alias="from")
    to: date
    reason: str = ""
    timezone: Annotated[str, AfterValidator(zone_name)] = "UTC"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.to < self.from_:
            raise Invalid("a freeze ends before it begins", "swap from and to", path=("to",))
        return self


class Expect(Model):
    """What a good answer looks like. Without a status any 2xx is good."""

    status: int | list[int] | None = None
    text: str | None = None
    json_: dict[str, str | int | float | bool | None] = Field(default={}, alias="json")
    latency: Duration | None = None


class HttpCheck(Model):
    """One HTTP request, tried until it succeeds `within`, and then required to keep succeeding `for` a time."""

    path: UrlPath
    method: Literal["GET", "HEAD", "POST", "PUT"] = "GET"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    headers: dict[str, str] = {}
    body: str | None = None
    expect: Expect = Expect()
    every: PositiveDuration = timedelta(seconds=1)
    for_: Duration = Field(default=timedelta(0), alias="for")
    within: Duration = timedelta(seconds=10)
    timeout: PositiveDuration = timedelta(seconds=5)


class Probe(Model):
    """One thing that is tried on a version, or told to somebody else, in exactly one way."""

    name: Name | None = None
    job: JobCheck | None = None

    def title(self, index: int) -> str:
        return self.name or f"{index}"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in ("http", "job") if getattr(self, way) is not None]
        if len(given) != 1:
            problem = f"this has {' and '.join(given) if given else 'neither http nor job'}"
            raise Invalid(problem, "write exactly one of http, job")
        return self


class Check(Probe):
    """One check of a stage."""

    http: HttpCheck | None = None


def _names_differ(kind: str, stage: str, probes: Sequence[Probe]) -> None:
    """A result is kept by the name of what gave it."""
    seen: set[str] = set()
    for index, probe in enumerate(probes):
        title = probe.title(index)
        if title in seen:
            problem = f'a second {kind} is called "{title}"'
            raise Invalid(problem, f"give each {kind} of a list a name of its own", path=(stage, index))
        seen.add(title)


class Tests(Model):
    """What the new version must pass: smoke and verification before the switch, health before and after it."""

    smoke: list[Check] = []
    verification: list[Check] = []
    health: list[Check] = []

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for stage in ("smoke", "verification", "health"):
            seen: set[str] = set()
            for index, check in enumerate(getattr(self, stage)):
                title = check.title(index)
                if title in seen:
                    problem = f'a second check is called "{title}"'
                    raise Invalid(problem, "give each check of a stage a name of its own", path=(stage, index))
                if stage == "health" and check.job:
                    problem = "a Job cannot be a health check: those are repeated before and after the switch"
                    raise Invalid(problem, "write http, or make it a check of verification", path=(stage, index, "job"))
                seen.add(title)
        return self


class HookHttp(Model):
    """One HTTP request, sent once. Without a body it carries a JSON document that names the Release, its version,
    both colours and its phase.
    """

    url: Url
    method: Literal["GET", "POST", "PUT", "DELETE"] = "POST"
    headers: dict[str, str] = {}
    body: str | None = None
    expect: Expect = Expect()
    timeout: PositiveDuration = timedelta(seconds=10)


class Hook(Probe):
    """Something else that is told to act at a point of a release's life."""

    http: HookHttp | None = None


class Hooks(Model):
    """One after the other. A failing `pre` hook fails the Release; any other that fails is told and undoes nothing."""

    pre_deploy: list[Hook] = []
    pre_switch: list[Hook] = []
    post_switch: list[Hook] = []
    post_rollback: list[Hook] = []
    on_failure: list[Hook] = []

    @model_validator(mode="after")
    def _fit_their_points(self) -> Self:
        for point, field in type(self).model_fields.items():
            _names_differ("hook", str(field.alias), getattr(self, point))
        return self


class PodHealth(Model):
    """What the watch demands of the new colour's pods; it needs no Prometheus."""

    restarts: Annotated[int, Field(ge=0)] = 0
    """More container failures than this after the flip, over all pods, and traffic goes back."""
    not_ready: Duration = timedelta(seconds=30)
    """One pod not ready for this long, and traffic goes back."""
    no_endpoints: Duration = timedelta(seconds=3)
    """No ready endpoint at all for this long, and traffic goes back."""


class RuleUse(Model):
    """A RuleSet in this Application, with what is different here. `rule` narrows it to one rule."""

    rule_set: Name
    rule: Name | None = None
    override: RuleOverride = RuleOverride()


class Watch(Model):
    """The time after the flip."""

    duration: Duration = timedelta(minutes=15)
    interval: Duration = timedelta(seconds=10)
    rules: list[Name | RuleUse] = []
    mode: Literal["enforce", "observe"] = "enforce"
    on_inconclusive: Literal["hold", "rollback"] = "hold"
    pods: PodHealth = PodHealth()

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.interval < timedelta(seconds=1):
            raise Invalid("an interval under 1s is too short", "write 1s or more", path=("interval",))
        if self.duration < self.interval:
            raise Invalid(
                "the watch is shorter than its interval: nothing would be evaluated", "write more", path=("duration",)
            )
        return self


class Previous(Model):
    """What becomes of the colour that is idle after a Release has ended."""

    keep: Duration = timedelta(minutes=30)
    then: Literal["scaleDown", "keep"] = "scaleDown"


class Deadlines(Model):
    """How long each phase may take before it gives up (before the flip) or shouts (after it)."""

    deploying: Duration = timedelta(minutes=10)
    testing: Duration = timedelta(minutes=15)
    approval: Duration = timedelta(hours=24)
    switching: Duration = timedelta(minutes=1)
    verifying: Duration = timedelta(minutes=2)


class Spec(Model):
    """What docs/applications.md describes, key by key."""

    service: Name
    selector_key: Annotated[str, Field(min_length=1)] = "color"
    colors: Colors
    preview: Preview | None = None
    windows: list[Window] = []
    freezes: list[Freeze] = []
    tests: Tests = Tests()
    hooks: Hooks = Hooks()
    approval: Literal["none", "beforeSwitch"] = "none"
    watch: Watch = Watch()
    previous: Previous = Previous()
    deadlines: Deadlines = Deadlines()


class Application(Model):
    """One blue/green pair."""

    api_version: ApiVersion
    kind: Literal["Application"]
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    def deployment(self, color: str) -> str:
        """The name of the Deployment behind a colour."""
        return self.spec.colors.of(color).deployment


def other(color: str) -> Color:
    """The opposite colour."""
    return "green" if color == "blue" else "blue"
