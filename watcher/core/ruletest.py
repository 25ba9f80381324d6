"""Unit tests for rules, as a file has them: made-up series, and what the rules have to say of them at which time.

It exists so that a rule is known to breach, to pass, and to see nothing, before it may move traffic. What always holds:
the rules are bound as for a Release, evaluated at the times of a watch and judged by its verdict, so a test that passes
says something about the daemon; and no two tests of a run see each other's series (`layout`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watcher.core.application import Application, Color, Colors, ColorSpec, RuleUse, Spec, Watch, other
from watcher.core.application import Metadata as AppMetadata
from watcher.core.binding import bind_rules
from watcher.core.evaluation import SAME_TIME, RuleState, initial
from watcher.core.models import ApiVersion, Duration, Metadata, Model, Name, PositiveDuration, Value
from watcher.core.rules import BoundRule, RuleSet
from watcher.core.series_notation import Value as SeriesValue
from watcher.core.series_notation import parse_series, parse_values
from watcher.core.units import Invalid, format_duration, format_value, near_miss, shown
from watcher.core.verdict import verdict

MOST_EVALUATIONS = 10_000
"""Evaluations of one rule in one test."""

NEAR = 0.005
"""Values are equal when they differ by less than this share: three significant digits."""

WEEK = 7 * 24 * 3600
LONGEST_RUN = 150 * 365 * 24 * 3600
"""Seconds that all tests of a run may span."""

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


# -- times -------------------------------------------------------------------------------------------------------------

_LENGTHS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": WEEK, "y": 365 * 86_400}
_LENGTH = re.compile(r"([0-9]+)(ms|[smhdwy])")


def reach(rule: BoundRule) -> float:
    """Seconds that a rule's queries can see from their time, either way: no more than all its durations together."""
    queries = [rule.query, rule.traffic_query or ""]
    past = 0.0
    if rule.compare is not None:
        queries += [query for one in (rule.compare.previous, rule.compare.current) for query in _asked(one)]
        past = WEEK + 2 * rule.compare.length.total_seconds()
    longest = max(sum(int(count) * _LENGTHS[unit] for count, unit in _LENGTH.findall(query)) for query in queries)
    return longest + past


def _asked(query: object) -> list[str]:
    return [text for name in ("query", "traffic_query", "live_query") if (text := getattr(query, name, None))]


def layout(tests: Iterable[tuple[Test, Sequence[BoundRule]]]) -> list[float]:
    """Where each test's series begin (Unix seconds): so far apart that no query of one sees what another left. Each
    begins at a Thursday's midnight (UTC), as promtool's do. Raises Invalid when that takes more time than there is.
    """
    starts: list[float] = []
    free = 0.0
    for test, rules in tests:
        sight = max((reach(rule) for rule in rules), default=0.0)
        longest = max((len(one.points()) for one in test.input_series), default=0)
        length = max(longest * test.interval.total_seconds(), (test.switched_at + test.duration).total_seconds())
        start = (math.ceil((free + sight) / WEEK) + 1) * float(WEEK)
        starts.append(start)
        free = start + length + sight
        if free > LONGEST_RUN:
            raise Invalid("the tests together look back over more than 150 years", "test fewer rules at once")
    return starts


# -- judging -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation and what came of it. `index` is its place in `expect`; None is the test's own verdict."""

    index: int | None
    at: timedelta
    subject: str
    expected: str
    got: str
    ok: bool


Course = tuple[BoundRule, tuple[RuleState, ...]]
"""A rule and its states after each evaluation, in the order of their times."""


def check(test: Test, courses: Sequence[Course], switched_at: float) -> list[Finding]:
    """What came of each expectation. `switched_at` is where the switch lay (Unix seconds)."""
    found = []
    for index, one in enumerate(test.expect):
        if one.verdict is not None:
            found.append(_verdict(test, courses, switched_at, one.at, one.verdict, index))
            continue
        rule = named(one.rule or "", [rule for rule, _ in courses])
        states = next(states for known, states in courses if known is rule)
        found.append(_of_rule(one, rule, state_at(rule, states, switched_at + one.at.total_seconds()), index))
    if test.verdict is not None:
        found.append(_verdict(test, courses, switched_at, test.duration, test.verdict, None))
    return found


def state_at(rule: BoundRule, states: Sequence[RuleState], at: float) -> RuleState:
    """The state after the last evaluation until then."""
    return next((one for one in reversed(states) if one.at is not None and one.at <= at + SAME_TIME), initial(rule))


def _verdict(
    test: Test, courses: Sequence[Course], switched_at: float, at: timedelta, expected: str, index: int | None
) -> Finding:
    moment = switched_at + at.total_seconds()
    states = [(rule, state_at(rule, states, moment)) for rule, states in courses]
    ended = at >= test.duration
    judged = verdict(states, switched_at=switched_at, at=moment, ended=ended)
    ok = judged.verdict.value == expected
    why = "" if ok else f": {'; '.join(judged.reasons)}"
    return Finding(index, at, "verdict", expected, f"{judged.verdict.value}{why}", ok)


def _of_rule(one: Expected, rule: BoundRule, state: RuleState, index: int) -> Finding:
    unit = one.value.unit if one.value is not None else rule.threshold.range[0].unit if rule.threshold else ""
    right = [
        one.outcome is None or state.outcome.value == one.outcome,
        one.value is None or (state.value is not None and near(state.value, one.value.number)),
        one.breached is None or (state.breach is not None) == one.breached,
    ]
    wanted = [word for word in (one.outcome, str(one.value) if one.value else "", _breached(one.breached)) if word]
    got = state.outcome.value
    if state.value is not None:
        got += f" {_told_apart(state.value, one.value.number if one.value else math.nan, unit)}"
    if one.breached is not None:
        got += f", {_breached(state.breach is not None)}"
    if state.value is None and state.detail:
        got += f" ({state.detail})"
    return Finding(index, one.at, rule.name, ", ".join(wanted), got, all(right))


def _breached(breached: bool | None) -> str:
    return "" if breached is None else "breached" if breached else "not breached"


def near(got: float, wanted: float) -> bool:
    """Whether two numbers are equal to three significant digits. Nothing but zero is near zero."""
    return math.isclose(got, wanted, rel_tol=NEAR, abs_tol=1e-12)


def _told_apart(value: float, wanted: float, unit: str) -> str:
    """The value with as many digits as it takes to differ from what was wanted, when it does."""
    text = format_value(value, unit)
    if not near(value, wanted) and text == format_value(wanted, unit):
        return format_value(value, unit, 6)
    return text
