"""From an Application and the rule sets to the rules of one watch, rendered for one Release.

A rule becomes one BoundRule, a burn rate one for each pair of windows that fits into the watch. What a comparison asks
of the past is rendered too, as it would have been for the colour that was live then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from watcher.core.application import COLORS, Application, RuleUse, other
from watcher.core.burnrate import pairs_within, share_query
from watcher.core.models import Mode
from watcher.core.rules import (
    BoundCompare,
    BoundRule,
    BurnRate,
    ColorQuery,
    Compare,
    Rule,
    RuleSet,
    Threshold,
    apply_override,
)
from watcher.core.templates import render
from watcher.core.units import Invalid, format_duration, format_value, near_miss, parse_value

SHORTEST_PAST = timedelta(minutes=10)
LONGEST_PAST = timedelta(hours=2)
"""How much of the time before the switch a comparison asks for: as much as the watch is long, within these bounds."""

_LIVE = (
    'max(watcher_active_color{application_namespace="{{ namespace }}",'
    'application="{{ application }}",active="{{ color }}"})'
)
"""1 where the watcher itself saw the colour live, if its own metrics are there to be asked."""


def bind_rules(
    app: Application, rule_sets: Mapping[str, RuleSet], color: str, previous: str, version: str
) -> tuple[BoundRule, ...]:
    """The rules of a watch on `color`. A rule named later replaces the same rule named earlier, so that a whole set
    can be used and one of its rules changed. Raises Invalid, naming the rule, when one cannot be bound.
    """
    bound: dict[str, BoundRule] = {}
    for found in _bound_rules(app, rule_sets, color, previous, version):
        if isinstance(found, Invalid):
            raise found
        bound |= {one.id: one for one in found}
    return tuple(bound.values())


def binding_problems(app: Application, rule_sets: Mapping[str, RuleSet]) -> list[Invalid]:
    """Everything that keeps the rules of an Application from being bound, with its path in the Application."""
    problems: dict[tuple[str, tuple[str | int, ...]], Invalid] = {}
    for color in COLORS:
        for found in _bound_rules(app, rule_sets, color, other(color), "0"):
            if isinstance(found, Invalid):
                problems.setdefault((found.problem, found.path), found)
    return list(problems.values())


def _bound_rules(
    app: Application, rule_sets: Mapping[str, RuleSet], color: str, previous: str, version: str
) -> Iterator[tuple[BoundRule, ...] | Invalid]:
    """What each rule of each entry becomes, or why it becomes nothing."""
    watch = app.spec.watch
    now, before = variables(app, color, previous, version), variables(app, previous, color, "")
    watched = Watched(now, before, watch.interval, watch.duration, watch.mode)
    for index, entry in enumerate(watch.rules):
        path = ("spec", "watch", "rules", index)
        use = entry if isinstance(entry, RuleUse) else RuleUse(rule_set=entry)
        rule_set = rule_sets.get(use.rule_set)
        if rule_set is None:
            problem = f'there is no RuleSet "{use.rule_set}"'
            yield Invalid(problem, _meant(use.rule_set, rule_sets), path=(*path, "ruleSet"))
            continue
        chosen = [rule for rule in rule_set.spec.rules if use.rule in (None, rule.name)]
        if use.rule is not None and not chosen:
            problem = f'RuleSet "{rule_set.metadata.name}" has no rule "{use.rule}"'
            names = [rule.name for rule in rule_set.spec.rules]
            yield Invalid(problem, _meant(use.rule, names), path=(*path, "rule"))
        for rule in chosen:
            try:
                changed = apply_override(rule, use.override)
            except Invalid as error:
                yield _in(rule_set, rule, error, (*path, "override", *error.path))
                continue
            try:
                yield bind(rule_set, changed, watched)
            except Invalid as error:
                yield _in(rule_set, rule, error, path)


def _in(rule_set: RuleSet, rule: Rule, error: Invalid, path: tuple[str | int, ...]) -> Invalid:
    return Invalid(f"rule {rule_set.metadata.name}/{rule.name}: {error.problem}", error.cure, path=path)


def variables(app: Application, color: str, previous: str, version: str) -> dict[str, str]:
    """What a query may name, for a Release that brings `version` to `color`; all but the window."""
    return {
        "namespace": app.namespace,
        "application": app.name,
        "service": app.spec.service,
        "color": color,
        "previousColor": previous,
        "deployment": app.deployment(color),
        "version": version,
    }


def _meant(name: str, known: Mapping[str, object] | list[str]) -> str:
    meant = near_miss(name, known)
    return f'did you mean "{meant}"?' if meant else f"write one of {', '.join(sorted(known)) or '(none is loaded)'}"


@dataclass(frozen=True, slots=True)
class Watched:
    """The watch that rules are bound to. `variables` has all of `templates.VARIABLES` that are known, except the rule's
    own `window`; `previously` the same as they were for the colour that was live before the switch."""

    variables: Mapping[str, str]
    previously: Mapping[str, str]
    interval: timedelta
    duration: timedelta
    mode: Mode


def bind(ruleset: RuleSet, rule: Rule, watched: Watched) -> tuple[BoundRule, ...]:
    """The rule for one Release; several of a burn rate. Raises TemplateError (an Invalid) when a value is missing or
    cannot stand where the query wants it, and Invalid when a burn rate does not fit into the watch."""
    id_ = f"{ruleset.metadata.name}/{rule.name}"
    if rule.burn_rate is not None:
        return tuple(_burning(id_, rule, rule.burn_rate, watched))
    assert rule.query is not None
    values = _values(watched.variables, rule.window)
    query = render(rule.query, values).strip()
    warm_up = rule.window if rule.warm_up is None else rule.warm_up
    compare = None if rule.compare is None else _comparing(rule, rule.compare, watched)
    return (_bound(id_, rule, watched, query, warm_up, threshold=rule.threshold, compare=compare),)


def _values(variables: Mapping[str, str], window: timedelta) -> dict[str, str]:
    return {**variables, "window": format_duration(window)}


def _bound(
    id_: str,
    rule: Rule,
    watched: Watched,
    query: str,
    warm_up: timedelta,
    *,
    window: timedelta | None = None,
    threshold: Threshold | None = None,
    compare: BoundCompare | None = None,
    description: str | None = None,
) -> BoundRule:
    window = window or rule.window
    traffic = rule.traffic
    values = _values(watched.variables, window)
    return BoundRule(
        id=id_,
        description=rule.description if description is None else description,
        query=query,
        traffic_query=None if traffic is None else render(traffic.query, values).strip(),
        traffic_at_least=None if traffic is None else traffic.at_least,
        threshold=threshold,
        compare=compare,
        window=window,
        for_=rule.for_ or timedelta(),
        breaches=rule.breaches,
        reduce=rule.reduce,
        warm_up=warm_up,
        interval=watched.interval,
        # A comparison moves no traffic until somebody wrote that it may.
        on_breach=rule.on_breach or ("rollback" if compare is None else "notify"),
        on_no_data=rule.on_no_data,
        on_error=rule.on_error,
        mode=watched.mode,
    )


def _burning(id_: str, rule: Rule, burn: BurnRate, watched: Watched) -> Iterator[BoundRule]:
    """One threshold for each pair of windows."""
    for pair in pairs_within(burn.budget, watched.duration, watched.interval):
        windows = [_values(watched.variables, window) for window in (pair.long, pair.short)]
        query = share_query([render(burn.bad, v) for v in windows], [render(burn.total, v) for v in windows])
        limit = parse_value(format_value(pair.rate * burn.budget, "%", 4))
        said = f"{pair.rate:g} times what {burn.objective} allows, over {pair.suffix.replace('-', ' and ')}"
        yield _bound(
            f"{id_}-{pair.suffix}",
            rule,
            watched,
            query,
            pair.long,
            window=pair.long,
            threshold=Threshold(above=limit),
            description=f"{rule.description} ({said})" if rule.description else said,
        )


def _comparing(rule: Rule, compare: Compare, watched: Watched) -> BoundCompare:
    return BoundCompare(
        with_=compare.with_,
        direction=compare.direction,
        tolerance=compare.tolerance,
        confidence=compare.confidence,
        previous=_of_color(rule, watched.previously),
        current=_of_color(rule, watched.variables),
        length=min(max(watched.duration, SHORTEST_PAST), LONGEST_PAST),
    )


def _of_color(rule: Rule, variables: Mapping[str, str]) -> ColorQuery:
    assert rule.query is not None
    values = _values(variables, rule.window)
    return ColorQuery(
        color=variables["color"],
        query=render(rule.query, values).strip(),
        traffic_query=None if rule.traffic is None else render(rule.traffic.query, values).strip(),
        live_query=render(_LIVE, values),
    )
