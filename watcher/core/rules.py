"""What an SRE writes about a watch: rule sets, rules, and what an Application overrides in them.

A `Rule` is a template as it stands in a file. `bind` makes a `BoundRule` of it for one Release: queries rendered,
defaults filled in. A BoundRule is plain JSON, so a Release can keep the rules with which it started its watch.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watcher.core.models import ApiVersion, Duration, Metadata, Mode, Model, Name, PositiveDuration, Value
from watcher.core.templates import render, variables_used
from watcher.core.units import Invalid, format_duration

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
    below: Value | None = None
    outside: tuple[Value, Value] | None = None

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
    at_least: Value


class Rule(Model):
    """A named check on a PromQL query, as a file has it."""

    hints: ClassVar[Mapping[str, str]] = {
        "compare": "comparison with the time before the switch is not there yet; write a threshold",
        "burnRate": "burn rates are not there yet; write a threshold on the share of bad requests",
        "severity": "write onBreach: rollback, notify or observe",
        "expr": 'did you mean "query"?',
        "promql": 'did you mean "query"?',
    }

    name: Name
    description: str = ""
    query: Template
    window: PositiveDuration = timedelta(minutes=1)
    threshold: Threshold
    for_: Annotated[Duration | None, Field(alias="for")] = None
    breaches: Breaches | None = None
    traffic: Traffic | None = None
    reduce: Reduce | None = None
    warm_up: Duration | None = None
    on_breach: OnBreach = "rollback"
    on_no_data: OnNoData = "hold"
    on_error: OnError = "hold"

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        if self.for_ is not None and self.breaches is not None:
            raise Invalid('a rule has "for" and "breaches"', "write one of them", path=("breaches",))
        for key, choice in (("onNoData", self.on_no_data), ("onError", self.on_error)):
            if choice == "breach" and not self.for_:
                problem = f'"{key}: breach" without "for" would roll back at the first gap'
                raise Invalid(problem, 'write how long it must last, as in "for: 2m"', path=(key,))
        return self


class RuleSetSpec(Model):
    """The rules of one set, at least one, no name twice."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        seen: set[str] = set()
        for index, rule in enumerate(self.rules):
            if rule.name in seen:
                problem = f'a second rule is called "{rule.name}"'
                raise Invalid(problem, "give each rule a name of its own", path=("rules", index, "name"))
            seen.add(rule.name)
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


class BoundRule(Model):
    """A rule as one Release watches it: queries rendered, every default filled in."""

    id: str
    """`ruleset/rule`"""
    description: str
    query: str
    traffic_query: str | None = None
    traffic_at_least: Value | None = None
    threshold: Threshold
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


def bind(ruleset: RuleSet, rule: Rule, variables: Mapping[str, str], interval: timedelta, mode: Mode) -> BoundRule:
    """The rule for one Release. `variables` has all of `templates.VARIABLES` that are known, except the rule's own
    `window`. Raises TemplateError (an Invalid) when a value is missing or cannot stand where the query wants it."""
    values = {**variables, "window": format_duration(rule.window)}
    traffic = rule.traffic
    return BoundRule(
        id=f"{ruleset.metadata.name}/{rule.name}",
        description=rule.description,
        query=render(rule.query, values).strip(),
        traffic_query=None if traffic is None else render(traffic.query, values).strip(),
        traffic_at_least=None if traffic is None else traffic.at_least,
        threshold=rule.threshold,
        window=rule.window,
        for_=rule.for_ or timedelta(),
        breaches=rule.breaches,
        reduce=rule.reduce,
        warm_up=rule.window if rule.warm_up is None else rule.warm_up,
        interval=interval,
        on_breach=rule.on_breach,
        on_no_data=rule.on_no_data,
        on_error=rule.on_error,
        mode=mode,
    )
