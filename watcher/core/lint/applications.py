"""Applications against the rules that they use: names, overrides, and what the length of a watch allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from watcher.core.application import Application, RuleUse
from watcher.core.binding import Watched, bind
from watcher.core.lint import limits, reach
from watcher.core.lint.checking import SAMPLE, understood
from watcher.core.lint.files import ApplicationAt, Linted, RuleAt
from watcher.core.lint.findings import Remark
from watcher.core.lint.places import Path
from watcher.core.lint.reach import Scrapes
from watcher.core.lint.rules import never_fires, too_few_scrapes
from watcher.core.rules import BoundRule, Rule, apply_override
from watcher.core.units import Invalid, near_miss


@dataclass(frozen=True, slots=True)
class Used:
    """A rule as one Application uses it."""

    at: ApplicationAt
    path: Path
    """Of its entry in the Application."""
    use: RuleUse
    rule_at: RuleAt
    rule: Rule
    """With what the Application changes in it."""
    bound: tuple[BoundRule, ...]


def lint_applications(linted: Linted, scrapes: Scrapes) -> list[Used]:
    """Add to `linted` what is wrong between Applications and rules; give the rules that are in force."""
    in_force: list[Used] = []
    for at in linted.applications:
        used: dict[str, Used] = {}
        for index, entry in enumerate(at.application.spec.watch.rules):
            path: Path = ("spec", "watch", "rules", index)
            use = entry if isinstance(entry, RuleUse) else RuleUse(rule_set=entry)
            # A rule named later replaces the same rule named earlier.
            used |= {one.rule_at.id: one for one in _used(linted, at, path, use)}
        for one in used.values():
            for found, remark in _doubts(one, scrapes):
                one.rule_at.findings.append(at.document.finding(found, remark, one.rule_at.id, in_text=False))
        in_force += used.values()
    return in_force


def _used(linted: Linted, at: ApplicationAt, path: Path, use: RuleUse) -> Iterator[Used]:
    """The rules of one entry; what does not fit is noted."""
    wrong = _missing(linted, use)
    if wrong is not None:
        key: Path = ("ruleSet",) if wrong[0] == "set" and at.document.node((*path, "ruleSet")) else ()
        key = ("rule",) if wrong[0] == "rule" else key
        linted.findings.append(at.document.finding((*path, *key), wrong[1], in_text=False))
        return
    wanted = f"{use.rule_set}/{use.rule or ''}"
    for rule_at in linted.rules:
        if rule_at.id != wanted and (use.rule or not rule_at.id.startswith(wanted)):
            continue
        try:
            rule = apply_override(rule_at.rule, use.override)
            bound = _bound(linted, at.application, use.rule_set, rule)
        except Invalid as error:
            remark = Remark("BW003", 0, f"rule {rule_at.id}: {error.problem}", error.cure)
            place = (*path, "override", *error.path)
            linted.findings.append(at.document.finding(place, remark, in_text=False))
        else:
            yield Used(at, path, use, rule_at, rule, bound)


def _missing(linted: Linted, use: RuleUse) -> tuple[str, Remark] | None:
    """What an entry names that there is not. Of a RuleSet that is not valid nothing is known."""
    if use.rule_set in linted.broken:
        return None
    found = linted.rule_sets.get(use.rule_set)
    if found is None:
        problem = f'there is no RuleSet "{use.rule_set}" among these files'
        meant = near_miss(use.rule_set, linted.rule_sets)
        cure = f'did you mean "{meant}"?' if meant else "name the file or directory with it as well"
        return "set", Remark("BW003", 0, problem, cure)
    names = [rule.name for rule in found.spec.rules]
    if use.rule is None or use.rule in names:
        return None
    meant = near_miss(use.rule, names)
    cure = f'did you mean "{meant}"?' if meant else f"write one of {', '.join(names)}"
    return "rule", Remark("BW003", 0, f'RuleSet "{use.rule_set}" has no rule "{use.rule}"', cure)


def _bound(linted: Linted, app: Application, rule_set: str, rule: Rule) -> tuple[BoundRule, ...]:
    found = linted.rule_sets.get(rule_set)
    if found is None:
        return ()
    watch = app.spec.watch
    values: Mapping[str, str] = {name: value for name, value in SAMPLE.items() if name != "window"}
    return bind(found, rule, Watched(values, values, watch.interval, watch.duration, watch.mode))


def _doubts(used: Used, scrapes: Scrapes) -> Iterator[tuple[Path, Remark]]:
    """What an Application makes of a rule that the rule by itself is not."""
    watch = used.at.application.spec.watch
    for bound in used.bound:
        remark = never_fires(bound, watch.duration)
        if remark is not None:
            yield used.path, remark
    override = used.use.override
    for _, template in used.rule.queries():
        tree, _ = understood(template)
        if tree is None:
            continue
        if override.window is not None:
            least = reach.SCRAPES * scrapes.of(tree)
            for remark in too_few_scrapes(used.rule, tree, scrapes):
                if used.rule_at.rule.window >= least:
                    yield (*used.path, "override", "window"), remark
        if override.threshold is not None and template == used.rule.query:
            for remark in limits.remarks(tree, override.threshold):
                yield (*used.path, "override", "threshold"), remark
