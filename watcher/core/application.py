"""The Application file: one blue/green pair, and how its releases are tested, watched and kept.

Every default of a release's life stands here, or in checks.py, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watcher.core.alerts import AlertUse
from watcher.core.channels import NotifyUse
from watcher.core.checks import Hooks, Tests
from watcher.core.models import ApiVersion, Duration, Model, Name
from watcher.core.rules import RuleOverride
from watcher.core.units import Invalid, near_miss
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


class Pair(Model):
    """A further pair: it moves together with the first one."""

    service: Name
    colors: Colors
    preview: Preview | None = None


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


ForeignFlips = Literal["ignore", "observe", "enforce"]
"""What a flip gets that was made outside, with no Release running: nothing, a watch that only tells, or a watch."""


class Previous(Model):
    """What becomes of the colour that is idle after a Release has ended."""

    keep: Duration = timedelta(minutes=30)
    then: Literal["scaleDown", "keep"] = "scaleDown"
    to: Annotated[int, Field(ge=0)] = 0
    """How many pods are left when it was scaled down."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.then == "keep" and self.to:
            raise Invalid("a colour that is kept is not scaled to a number", "write then: scaleDown", path=("to",))
        return self


class Deadlines(Model):
    """How long each phase may take before it gives up (before the flip) or shouts (after it)."""

    queue: Duration = timedelta(hours=24)
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
    also: list[Pair] = []
    windows: list[Window] = []
    freezes: list[Freeze] = []
    tests: Tests = Tests()
    hooks: Hooks = Hooks()
    approval: Literal["none", "beforeSwitch"] = "none"
    watch: Watch = Watch()
    alerts: list[AlertUse] = []
    notify: list[Name | NotifyUse] | None = None
    """The channels that hear of this Application; without it all of them."""
    foreign_flips: ForeignFlips = "observe"
    while_running: Literal["refuse", "queue"] = "refuse"
    history: Annotated[int, Field(ge=1)] = 20
    previous: Previous = Previous()
    deadlines: Deadlines = Deadlines()

    @model_validator(mode="after")
    def _pairs_differ(self) -> Self:
        """Nothing belongs to two pairs: what one flip does the other would undo."""
        seen = {what for what, _ in _parts(self)}
        for index, pair in enumerate(self.also):
            for what, path in _parts(pair):
                if what in seen:
                    problem = f"two pairs have the same {what}"
                    raise Invalid(problem, "give each pair its own", path=("also", index, *path))
            seen |= {what for what, _ in _parts(pair)}
        return self

    @model_validator(mode="after")
    def _checks_are_aimed(self) -> Self:
        known = [self.service, *(pair.service for pair in self.also)]
        for path, _, check in self.tests.checks():
            if check.service is not None and check.service not in known:
                near = near_miss(check.service, known)
                cure = f'did you mean "{near}"?' if near else f"write one of {', '.join(known)}"
                raise Invalid(f"no pair has the Service {check.service}", cure, path=("tests", *path, "service"))
        return self


def _parts(pair: Spec | Pair) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The objects of a pair, and where in it they are named."""
    yield f"Service {pair.service}", ("service",)
    for color in COLORS:
        yield f"Deployment {pair.colors.of(color).deployment}", ("colors", color, "deployment")
    if pair.preview:
        yield f"Service {pair.preview.service}", ("preview", "service")


class Application(Model):
    """What is released as one: a blue/green pair, or several that move together."""

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

    @property
    def pairs(self) -> tuple[Application, ...]:
        """The Application as one for each pair that it moves, in the order in which they are flipped."""
        return (self, *(self._of(pair) for pair in self.spec.also))

    def aimed_at(self, service: str | None) -> Application:
        """The one whose live Service has this name; the first without a name."""
        return next((pair for pair in self.pairs if pair.spec.service == service), self)

    def _of(self, pair: Pair) -> Application:
        """The Application as if this were its only pair."""
        own = {"service": pair.service, "colors": pair.colors, "preview": pair.preview, "also": []}
        return self.model_copy(update={"spec": self.spec.model_copy(update=own)})

    def deployment(self, color: str) -> str:
        """The name of the Deployment behind a colour."""
        return self.spec.colors.of(color).deployment


def other(color: str) -> Color:
    """The opposite colour."""
    return "green" if color == "blue" else "blue"


def by_hand(namespace: str, service: str, key: str, color: str) -> str:
    """The command with which a person has a Service select a colour, whatever the watcher does."""
    patch = f'{{"spec":{{"selector":{{"{key}":"{color}"}}}}}}'
    return f"kubectl patch service {service} -n {namespace} -p '{patch}'"
