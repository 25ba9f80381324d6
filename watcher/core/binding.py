"""From an Application and the rule sets to the rules of one watch, rendered for one Release."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.core.application import Application, RuleUse
from watcher.core.rules import BoundRule, Rule, RuleSet, apply_override, bind
from watcher.core.units import Invalid, near_miss


def bind_rules(
    app: Application, rule_sets: Mapping[str, RuleSet], color: str, previous: str, version: str
) -> tuple[BoundRule, ...]:
    """The rules of a watch on `color`. A rule named later replaces the same rule named earlier, so that a whole set
    can be used and one of its rules changed. Raises Invalid, naming the rule, when one cannot be bound.
    """
    variables = {
        "namespace": app.namespace,
        "application": app.name,
        "service": app.spec.service,
        "color": color,
        "previousColor": previous,
        "deployment": app.deployment(color),
        "version": version,
    }
    bound: dict[str, BoundRule] = {}
    for entry in app.spec.watch.rules:
        use = entry if isinstance(entry, RuleUse) else RuleUse(rule_set=entry)
        rule_set = rule_sets.get(use.rule_set)
        if rule_set is None:
            raise Invalid(f'there is no RuleSet "{use.rule_set}"', _meant(use.rule_set, rule_sets))
        for rule in _chosen(rule_set, use.rule):
            try:
                found = bind(
                    rule_set,
                    apply_override(rule, use.override),
                    variables,
                    app.spec.watch.interval,
                    app.spec.watch.mode,
                )
            except Invalid as error:
                raise Invalid(f"rule {use.rule_set}/{rule.name}: {error.problem}", error.cure) from error
            bound[found.id] = found
    return tuple(bound.values())


def _chosen(rule_set: RuleSet, name: str | None) -> tuple[Rule, ...]:
    if name is None:
        return rule_set.spec.rules
    found = tuple(rule for rule in rule_set.spec.rules if rule.name == name)
    if not found:
        names = [rule.name for rule in rule_set.spec.rules]
        raise Invalid(f'RuleSet "{rule_set.metadata.name}" has no rule "{name}"', _meant(name, names))
    return found


def _meant(name: str, known: Mapping[str, object] | list[str]) -> str:
    meant = near_miss(name, known)
    return f'did you mean "{meant}"?' if meant else f"write one of {', '.join(sorted(known)) or '(none is loaded)'}"
