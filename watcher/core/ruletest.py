"""Unit tests for rules, as a file has them: made-up series, and what the rules have to say of them at which time.

It exists so that a rule is known to breach, to pass, and to see nothing, before it may move traffic. What always holds:
a test's rules are bound as those of a Release are, through an Application, so what is tested is what is watched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watcher.core.application import Application, Color, Colors, ColorSpec, RuleUse, Spec, Watch, other
from watcher.core.application import Metadata as AppMetadata
from watcher.core.binding import bind_rules
from watcher.core.models import ApiVersion, Duration, Metadata, Model, Name, PositiveDuration, Value
from watcher.core.rules import BoundRule, RuleSet
from watcher.core.series_notation import Value as SeriesValue
from watcher.core.series_notation import parse_series, parse_values
from watcher.core.units import Invalid, format_duration, near_miss, shown

MOST_EVALUATIONS = 10_000
"""Evaluations of one rule in one test."""

OutcomeName = Literal["pass", "breach", "noData", "thin", "error", "pending"]
VerdictName = Literal["rollback", "hold", "pass", "inconclusive"]


def _is_series(text: str) -> str:
    parse_series(text)
    return text


def _are_values(text: str) -> str:
    parse_values(text)
    return text


class InputSeries(Model):
    """One made-up series, in promtool's notation."""

    series: Annotated[str, AfterValidator(_is_series)]
    values: Annotated[str, AfterValidator(_are_values)]

    @property
    def labels(self) -> Mapping[str, str]:
        return parse_series(self.series)

    def points(self) -> tuple[SeriesValue, ...]:
        return parse_values(self.values)


class Variables(Model):
    """Whom the rules are rendered for. `service` is the application without saying so, `deployment` its colour's."""

    namespace: Name = "default"
    application: Name = "app"
    service: Name | None = None
    color: Color = "green"
    deployment: Name | None = None
    version: str = "1.0.0"

    @model_validator(mode="after")
    def _deployment_fits(self) -> Self:
        if len(self.application) > 57:
            raise Invalid("the name leaves no room for a colour", "write a shorter one", path=("application",))
        return self

    def application_with(self, rules: Sequence[str | RuleUse], duration: timedelta, interval: timedelta) -> Application:
        """An Application that has these names and watches these rules."""
        deployment = self.deployment or f"{self.application}-{self.color}"
        before = f"{self.application}-{other(self.color)}"
        names = {self.color: deployment, other(self.color): before if before != deployment else f"{before[:61]}-0"}
        return Application(
            api_version="watcher.bluegreen.dev/v1alpha1",
            kind="Application",
            metadata=AppMetadata(name=self.application, namespace=self.namespace),
            spec=Spec(
                service=self.service or self.application,
                colors=Colors(**{color: ColorSpec(deployment=name) for color, name in names.items()}),
                watch=Watch(duration=duration, interval=interval, rules=list(rules)),
            ),
        )


class TestWatch(Model):
    """How long the watch lasts, and how often it evaluates. Without a duration it ends with the series."""

    __test__: ClassVar[bool] = False

    duration: PositiveDuration | None = None
    interval: PositiveDuration = timedelta(seconds=10)

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.interval < timedelta(seconds=1):
            raise Invalid("an interval under 1s is too short", "write 1s or more", path=("interval",))
        return self


class Expected(Model):
    """What has to be so at one time after the switch: of one rule, or of all of them together."""

    at: Duration
    rule: str | None = None
    outcome: OutcomeName | None = None
    value: Value | None = None
    breached: bool | None = None
    verdict: VerdictName | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        of_rule = [key for key in ("outcome", "value", "breached") if getattr(self, key) is not None]
        if self.verdict is not None and (self.rule is not None or of_rule):
            problem = "a verdict is that of all rules together"
            raise Invalid(problem, "give it an item of its own, with at and verdict", path=("verdict",))
        if self.verdict is None and self.rule is None:
            raise Invalid("this expects nothing of anyone", "add rule, or verdict")
        if self.verdict is None and not of_rule:
            raise Invalid(f"nothing is expected of {shown(self.rule or '')}", "add outcome, value or breached")
        return self


class Test(Model):
    """Series, a switch among them, and what the rules have to say."""

    __test__: ClassVar[bool] = False
    hints: ClassVar[Mapping[str, str]] = {
        "inputSeries": 'did you mean "input_series"? It is written as promtool writes it',
        "promql_expr_test": 'write "expect", with what the rules say',
        "alert_rule_test": 'write "expect", with what the rules say',
        "eval_time": 'write "expect: [{at: 2m, ...}]", with the time since the switch',
    }

    name: Annotated[str, Field(min_length=1)]
    rules: Annotated[tuple[Name | RuleUse, ...] | None, Field(min_length=1)] = None
    interval: PositiveDuration = timedelta(seconds=15)
    input_series: Annotated[tuple[InputSeries, ...], Field(alias="input_series")]
    switched_at: Duration = timedelta()
    watch: TestWatch = TestWatch()
    expect: tuple[Expected, ...] = ()
    verdict: VerdictName | None = None

    @property
    def duration(self) -> timedelta:
        """How long the watch lasts."""
        if self.watch.duration is not None:
            return self.watch.duration
        longest = max((len(one.points()) for one in self.input_series), default=1)
        return (longest - 1) * self.interval - self.switched_at

    @model_validator(mode="after")
    def _series_differ(self) -> Self:
        seen: set[frozenset[tuple[str, str]]] = set()
        for index, one in enumerate(self.input_series):
            labels = frozenset(one.labels.items())
            if labels in seen:
                problem = f"{shown(one.series)} stands here twice"
                raise Invalid(problem, "put all its values into one", path=("input_series", index, "series"))
            seen.add(labels)
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.duration < self.watch.interval:
            long = format_duration(self.duration)
            problem = f"the watch would last {long}, less than its interval: nothing would be evaluated"
            raise Invalid(problem, "write longer series, or watch: {duration: 5m}", path=("watch",))
        if self.duration // self.watch.interval > MOST_EVALUATIONS:
            problem = f"the watch would evaluate more than {MOST_EVALUATIONS} times"
            raise Invalid(problem, "write a shorter one, or a longer interval", path=("watch",))
        for index, one in enumerate(self.expect):
            if one.at > self.duration:
                problem = f"{format_duration(one.at)} is after the end of the watch ({format_duration(self.duration)})"
                raise Invalid(problem, "write an earlier time, or a longer watch", path=("expect", index, "at"))
        if not self.expect and self.verdict is None:
            raise Invalid(f"the test {shown(self.name)} expects nothing", "add expect or verdict")
        return self


class RuleTestSpec(Model):
    """Tests of one or more RuleSets. `rules` is what an Application's `watch.rules` is."""

    rules: Annotated[tuple[Name | RuleUse, ...], Field(min_length=1)]
    variables: Variables = Variables()
    tests: Annotated[tuple[Test, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        seen: set[str] = set()
        for index, test in enumerate(self.tests):
            if test.name in seen:
                problem = f"a second test is called {shown(test.name)}"
                raise Invalid(problem, "give each test a name of its own", path=("tests", index, "name"))
            seen.add(test.name)
        return self


class RuleTest(Model):
    """A file of tests."""

    __test__: ClassVar[bool] = False

    api_version: ApiVersion
    kind: Literal["RuleTest"]
    metadata: Metadata
    spec: RuleTestSpec


def rules_of(spec: RuleTestSpec, test: Test, rule_sets: Mapping[str, RuleSet]) -> tuple[BoundRule, ...]:
    """The rules of one test, bound as for a Release. Raises Invalid when one cannot be, or an expected one is not
    among them; its path leads from the test (`("rules",)`, `("expect", 3, "rule")`)."""
    app = spec.variables.application_with(test.rules or spec.rules, test.duration, test.watch.interval)
    color = spec.variables.color
    try:
        rules = bind_rules(app, rule_sets, color, other(color), spec.variables.version)
    except Invalid as error:
        raise Invalid(error.problem, error.cure, path=("rules",) if test.rules else ()) from error
    for index, one in enumerate(test.expect):
        if one.rule is not None:
            try:
                named(one.rule, rules)
            except Invalid as error:
                raise Invalid(error.problem, error.cure, path=("expect", index, "rule")) from error
    return rules


def named(name: str, rules: Sequence[BoundRule]) -> BoundRule:
    """The rule that is meant by `set/rule`, or by `rule` alone where that is clear. Raises Invalid."""
    found = [rule for rule in rules if name in (rule.id, rule.name)]
    if len(found) == 1:
        return found[0]
    if found:
        both = " or ".join(rule.id for rule in found)
        raise Invalid(f"several rules are called {shown(name)}", f"write {both}")
    known = [rule.name for rule in rules]
    meant = near_miss(name, [*known, *(rule.id for rule in rules)])
    cure = f'did you mean "{meant}"?' if meant else f"the rules here are {', '.join(known)}"
    raise Invalid(f"no rule {shown(name)} is tested here", cure)
