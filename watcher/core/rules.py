"""What an SRE writes about a watch: rule sets, rules, and what an Application overrides in them.

A `Rule` is a template as it stands in a file. A `BoundRule` is what binding.py makes of it for one Release: queries
rendered, defaults filled in, a burn rate taken apart into thresholds. A BoundRule is plain JSON, so a Release can keep
the rules with which it started its watch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watcher.core.models import ApiVersion, Duration, Metadata, Mode, Model, Name, PositiveDuration, Value
from watcher.core.templates import variables_used
from watcher.core.units import Invalid, Quantity, refuse

Reduce = Literal["max", "min", "sum", "avg"]
OnBreach = Literal["rollback", "notify", "observe"]
OnNoData = Literal["hold", "pass", "breach"]
OnError = Literal["hold", "breach"]

MOST_EVALUATIONS = 1000
"""How far back `breaches: {of}` may look."""


def _is_template(query: str) -> str:
    if not query.strip():
        raise Invalid("the query is empty", "write a PromQL expression")
    variables_used(query)
    return query


Template = Annotated[str, AfterValidator(_is_template)]
"""A PromQL expression with placeholders."""


class Threshold(Model):
    """The limit of a rule. Comparison is strict: a value equal to the limit passes."""

    above: Value | None = None
    """Breached above it."""
    below: Value | None = None
    """Breached below it."""
    outside: tuple[Value, Value] | None = None
    """Breached outside of the range."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [key for key in ("above", "below", "outside") if getattr(self, key) is not None]
        if len(given) != 1:
            problem = f"a threshold has {' and '.join(given) if given else 'no limit'}"
            raise Invalid(problem, "write exactly one of above, below, outside")
        if self.outside is not None and self.outside[0].number >= self.outside[1].number:
            low, high = self.outside
            raise Invalid(f"the range from {low} to {high} is empty", "write the lower limit first", path=("outside",))
        return self

    def breached_by(self, value: float) -> bool:
        """Whether a number (never NaN) is past the limit."""
        if self.above is not None:
            return value > self.above.number
        if self.below is not None:
            return value < self.below.number
        low, high = self.range
        return value < low.number or value > high.number

    @property
    def range(self) -> tuple[Value, Value]:
        """The limits of `outside`, or the one limit twice."""
        one = self.above or self.below
        if one is not None:
            return one, one
        assert self.outside is not None
        return self.outside

    @property
    def limit(self) -> str:
        """The limit alone, as written: `1%`, or `1% to 5%`."""
        low, high = self.range
        return low.text if self.outside is None else f"{low} to {high}"

    def __str__(self) -> str:
        sign = ">" if self.above is not None else "<" if self.below is not None else "outside"
        return f"{sign} {self.limit}"


class Breaches(Model):
    """`count` breaching evaluations among the last `of` that gave a number."""

    count: Annotated[int, Field(ge=1, le=MOST_EVALUATIONS)]
    of: Annotated[int, Field(ge=1, le=MOST_EVALUATIONS)]

    @model_validator(mode="after")
    def _count_fits(self) -> Self:
        if self.count > self.of:
            problem = f"{self.count} of {self.of} can never be"
            raise Invalid(problem, f"write a count of at most {self.of}", path=("count",))
        return self


class Traffic(Model):
    """How much traffic there must be before a rule's number means anything."""

    query: Template
    """PromQL, asked at the same times."""
    at_least: Value
    """Below it the evaluation is `thin`."""


def _is_objective(objective: Quantity) -> Quantity:
    if not 0 < objective.number < 1:
        raise Invalid(f"{objective} is no objective", 'write the share of good events, such as "99.9%"')
    return objective


def _uses_window(query: str) -> str:
    if "window" not in variables_used(query):
        raise Invalid("this is asked over two windows and names none", 'write "[{{ window }}]" for its range')
    return query


WindowTemplate = Annotated[Template, AfterValidator(_uses_window)]
"""A PromQL expression that has to name its window."""


class BurnRate(Model):
    """How fast the error budget goes: over pairs of windows that fit into the watch."""

    objective: Annotated[Value, AfterValidator(_is_objective)]
    bad: WindowTemplate
    """Bad events, as a count or a rate over the window. All series of it are added up."""
    total: WindowTemplate
    """All events, likewise."""

    @property
    def budget(self) -> float:
        """The share of bad events that the objective allows."""
        return float(1 - Decimal(repr(self.objective.number)))


Reference = Literal["before", "yesterday", "lastWeek"]
Direction = Literal["increase", "decrease", "both"]


def _not_negative(value: Quantity) -> Quantity:
    if value.number < 0:
        raise Invalid(f"{value} is below zero", 'write how far it may move either way, such as "20%"')
    return value


def _is_confidence(confidence: Quantity) -> Quantity:
    if not 0.5 <= confidence.number < 1:
        raise Invalid(f"{confidence} is no confidence", 'write at least "50%" and less than "100%", such as "99%"')
    return confidence


class Tolerance(Model):
    """How far a number may move. It breaches only when it moved further than both."""

    relative: Annotated[Value, AfterValidator(_not_negative)]
    absolute: Annotated[Value, AfterValidator(_not_negative)]


class Compare(Model):
    """A rule whose limit is what the same query gave before the switch, on the colour that was live then."""

    with_: Annotated[tuple[Reference, ...], Field(alias="with", min_length=1)] = ("before", "yesterday", "lastWeek")
    direction: Direction = "increase"
    tolerance: Tolerance
    confidence: Annotated[Value, AfterValidator(_is_confidence)] = Quantity(0.99, "99%", "%")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for index, reference in enumerate(self.with_):
            if reference in self.with_[:index]:
                raise Invalid(f'"{reference}" stands here twice', "keep one of them", path=("with", index))
        return self


def _says_why(reason: str) -> str:
    if not reason.strip():
        raise Invalid("the reason is empty", "say why this is right as it is")
    return reason


class Ignored(Model):
    """One code of `watcher rules lint` that is right as it is here, and why."""

    code: Annotated[str, Field(pattern=r"^BW[0-9]{3}$")]
    reason: Annotated[str, AfterValidator(_says_why)]


class Lint(Model):
    """What lint is to leave alone in a rule."""

    ignore: tuple[Ignored, ...] = ()


class Rule(Model):
    """A named check on a PromQL query, as a file has it: exactly one of `threshold`, `compare`, `burnRate`."""

    hints: ClassVar[Mapping[str, str]] = {
        "severity": "write onBreach: rollback, notify or observe",
        "mode": "write onBreach: observe here, or mode: observe in the Application's watch",
        "expr": 'did you mean "query"?',
        "promql": 'did you mean "query"?',
    }

    name: Name
    """In messages the rule is `<set>/<name>`."""
    description: str = ""
    """For people."""
    query: Template | None = None
    """PromQL that gives one number, or several with `reduce`."""
    window: PositiveDuration = timedelta(minutes=1)
    """What `{{ window }}` stands for."""
    threshold: Threshold | None = None
    """A fixed limit."""
    compare: Compare | None = None
    """Against the same query before the switch."""
    burn_rate: BurnRate | None = None
    """Against an objective, over pairs of windows."""
    for_: Annotated[Duration | None, Field(alias="for")] = None
    """How long the breach must last; without it the first breaching evaluation is enough."""
    breaches: Breaches | None = None
    """Instead of `for`: so many of the last evaluations."""
    traffic: Traffic | None = None
    """How much traffic there must be before the rule's number means anything."""
    reduce: Reduce | None = None
    """What to make of several series."""
    warm_up: Duration | None = None
    """Time after the switch before the first evaluation; without it, the window."""
    on_breach: OnBreach | None = None
    """What a breach does: by default `rollback`, and `notify` for `compare`."""
    on_no_data: OnNoData = "hold"
    """What lasting absence of data means."""
    on_error: OnError = "hold"
    """What lasting errors mean."""
    lint: Lint = Lint()
    """What `watcher rules lint` is to leave alone."""

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        refuse(self._disagreements())
        return self

    def _disagreements(self) -> Iterator[Invalid]:
        given = [key for key in ("threshold", "compare", "burnRate") if getattr(self, _field(key)) is not None]
        if len(given) != 1:
            problem = f"a rule has {' and '.join(given) if given else 'no threshold, compare or burnRate'}"
            path = (given[1],) if given else ()
            yield Invalid(problem, "write exactly one of threshold, compare, burnRate", path=path)
        elif self.burn_rate is not None:
            for key in ("query", "window", "warmUp", "reduce"):
                if _field(key) in self.model_fields_set:
                    yield Invalid(f'"{key}" has no meaning beside burnRate', _BESIDE_BURN_RATE[key], path=(key,))
        elif self.query is None:
            yield Invalid('"query" is missing', 'add "query: ..."')
        if self.for_ is not None and self.breaches is not None:
            yield Invalid('a rule has "for" and "breaches"', "write one of them", path=("breaches",))
        for key, choice in (("onNoData", self.on_no_data), ("onError", self.on_error)):
            if choice == "breach" and not self.for_:
                problem = f'"{key}: breach" without "for" would roll back at the first gap'
                yield Invalid(problem, 'write how long it must last, as in "for: 2m"', path=(key,))
        if self.compare is not None:
            yield from self._disagree_with_the_past()

    def _disagree_with_the_past(self) -> Iterator[Invalid]:
        if self.on_no_data == "breach":
            problem = '"onNoData: breach" beside compare would go back when only the past is missing'
            yield Invalid(problem, "give the new colour's data a rule with a threshold", path=("onNoData",))
        for path, query in self.queries():
            if "version" in variables_used(query):
                problem = "before the switch another version was live, and this asks for the new one's past"
                yield Invalid(problem, 'take "{{ version }}" out', path=path)

    def queries(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every query as written, with the path of its key."""
        if self.query is not None:
            yield ("query",), self.query
        if self.burn_rate is not None:
            yield ("burnRate", "bad"), self.burn_rate.bad
            yield ("burnRate", "total"), self.burn_rate.total
        if self.traffic is not None:
            yield ("traffic", "query"), self.traffic.query


_BESIDE_BURN_RATE = {
    "query": "leave it out: it is made of bad and total",
    "window": "leave it out: it is asked over pairs of windows",
    "warmUp": "leave it out: each pair waits until its longer window lies behind the switch",
    "reduce": "leave it out: bad and total are added up",
}


def _field(key: str) -> str:
    return {"burnRate": "burn_rate", "warmUp": "warm_up"}.get(key, key)


class RuleSetSpec(Model):
    """The rules of one set, at least one, no name twice."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        first: dict[str, int] = {}
        again = [index for index, rule in enumerate(self.rules) if first.setdefault(rule.name, index) != index]
        refuse(
            Invalid(
                f'a second rule is called "{self.rules[index].name}"',
                "give each rule a name of its own",
                path=("rules", index, "name"),
            )
            for index in again
        )
        return self


class RuleSet(Model):
    """A file of rules."""

    api_version: ApiVersion
    kind: Literal["RuleSet"]
    metadata: Metadata
    spec: RuleSetSpec


class TrafficOverride(Model):
    """Another floor for a rule's traffic."""

    at_least: Value


class RuleOverride(Model):
    """What an Application changes in a rule. What it does not name stays as the rule has it."""

    window: PositiveDuration | None = None
    threshold: Threshold | None = None
    for_: Annotated[Duration | None, Field(alias="for")] = None
    traffic: TrafficOverride | None = None
    on_breach: OnBreach | None = None


def apply_override(rule: Rule, override: RuleOverride) -> Rule:
    """The rule as an Application wants it; raises Invalid when the two do not go together."""
    if override.for_ is not None and rule.breaches is not None:
        raise Invalid(f'"{rule.name}" counts breaches, so "for" cannot change it', "leave it out", path=("for",))
    if override.traffic is not None and rule.traffic is None:
        problem = f'"{rule.name}" asks for no traffic'
        raise Invalid(problem, "leave it out, or give the rule a traffic query", path=("traffic",))
    if override.threshold is not None and rule.threshold is None:
        raise Invalid(f'"{rule.name}" has no threshold', "leave it out", path=("threshold",))
    if override.window is not None and rule.burn_rate is not None:
        raise Invalid(f'"{rule.name}" has a burnRate with windows of its own', "leave it out", path=("window",))
    blind = "onNoData" if rule.on_no_data == "breach" else "onError" if rule.on_error == "breach" else ""
    if override.for_ == timedelta() and blind:
        raise Invalid(f'"{rule.name}" has {blind}: breach', "write a duration above zero", path=("for",))
    changes = {
        key: value
        for key in ("window", "threshold", "for_", "on_breach")
        if (value := getattr(override, key)) is not None
    }
    if override.traffic is not None and rule.traffic is not None:
        changes["traffic"] = rule.traffic.model_copy(update={"at_least": override.traffic.at_least})
    return rule.model_copy(update=changes)


class ColorQuery(Model):
    """A rule's queries as they are for one colour."""

    color: str
    query: str
    traffic_query: str | None = None
    live_query: str
    """1 where the watcher itself saw the colour live, if its metrics are there."""


class BoundCompare(Model):
    """A comparison as one Release makes it."""

    with_: Annotated[tuple[Reference, ...], Field(alias="with")]
    direction: Direction
    tolerance: Tolerance
    confidence: Value
    previous: ColorQuery
    """For the colour that was live before the switch."""
    current: ColorQuery
    """For the colour that is live now."""
    length: PositiveDuration
    """How long the reference windows are."""

    def __str__(self) -> str:
        sign = {"increase": "+", "decrease": "-", "both": "+/-"}[self.direction]
        return f"{sign}{self.tolerance.relative} and {sign}{self.tolerance.absolute} on {', '.join(self.with_)}"


class BoundRule(Model):
    """A rule as one Release watches it: queries rendered, every default filled in. It has a threshold or a compare."""

    id: str
    """`ruleset/rule`"""
    description: str
    query: str
    traffic_query: str | None = None
    traffic_at_least: Value | None = None
    threshold: Threshold | None = None
    compare: BoundCompare | None = None
    window: PositiveDuration
    for_: Annotated[Duration, Field(alias="for")]
    breaches: Breaches | None = None
    reduce: Reduce | None = None
    warm_up: Duration
    interval: PositiveDuration
    on_breach: OnBreach
    on_no_data: OnNoData
    on_error: OnError
    mode: Mode

    @property
    def name(self) -> str:
        """The rule's own name, without that of its set."""
        return self.id.rpartition("/")[2]

    @property
    def enforcing(self) -> bool:
        """Whether a breach of this rule moves traffic."""
        return self.mode == "enforce" and self.on_breach == "rollback"

    @property
    def limit(self) -> str:
        """What it is held against: `> 1%`, or `+20% and +50ms on before`."""
        return str(self.threshold if self.threshold is not None else self.compare)
