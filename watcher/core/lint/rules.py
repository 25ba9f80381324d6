"""What is doubtful in one rule: each of its queries, and what the queries and the other keys say together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from watcher.core.evaluation import evaluations_due
from watcher.core.lint import limits, queries, reach, shares
from watcher.core.lint.checking import understood
from watcher.core.lint.findings import Remark
from watcher.core.lint.places import Path
from watcher.core.lint.queries import Asked, Role
from watcher.core.lint.reach import Scrapes
from watcher.core.lint.tree import Expr
from watcher.core.rules import BoundRule, Rule
from watcher.core.units import format_duration


@dataclass(frozen=True, slots=True)
class Note:
    """A remark and the key of the rule that it is about. `at` says whether its offset goes into that key's text."""

    path: Path
    remark: Remark
    at: Literal["text", "key"] = "text"


def check(rule: Rule, scrapes: Scrapes) -> Iterator[Note]:
    """Everything doubtful in a rule by itself; `scrapes` says how far apart scrapes are."""
    for path, template in rule.queries():
        tree, found = understood(template)
        yield from (Note(path, remark) for remark in found)
        if tree is None:
            continue
        asked = Asked(_role(path), rule.reduce, rule.traffic is not None, rule.on_no_data == "pass")
        yield from (Note(path, remark) for remark in queries.remarks(tree, asked))
        yield from (Note(path, remark) for remark in too_few_scrapes(rule, tree, scrapes))
        if path == ("query",):
            yield from (Note(path, remark) for remark in shares.remarks(tree, asked))
            yield from (Note(path, remark) for remark in _reaching_back(rule, tree))
            yield from threshold(rule, tree)


def check_text(template: str) -> Iterator[Remark]:
    """What can be said of a query whose rule is not valid."""
    tree, found = understood(template)
    yield from found
    if tree is not None:
        yield from queries.by_itself(tree)


def _role(path: Path) -> Role:
    return "value" if path == ("query",) else "traffic" if path[0] == "traffic" else "part"


def too_few_scrapes(rule: Rule, tree: Expr, scrapes: Scrapes) -> Iterator[Remark]:
    """Rates over less than it takes to see them. A burn rate chooses its windows by itself."""
    scrape = scrapes.of(tree)
    least = reach.SCRAPES * scrape
    for one in reach.rate_ranges(tree, rule.window):
        if one.length < least and not (one.is_window and rule.burn_rate is not None):
            what = f"{format_duration(one.length)} holds fewer than {reach.SCRAPES} scrapes"
            problem = f"{what} at one in {format_duration(scrape)}"
            yield Remark("BW303", one.start, problem, f"make it {format_duration(least)} or more")


def _reaching_back(rule: Rule, tree: Expr) -> Iterator[Remark]:
    farthest = reach.reaches(tree, rule.window)
    warm_up = rule.window if rule.warm_up is None else rule.warm_up
    if farthest is None or farthest.length <= warm_up:
        return
    back, first = format_duration(farthest.length), format_duration(warm_up)
    problem = f"this looks back {back}, and the first evaluation is {first} after the switch"
    longer = f"make warmUp {back} or more"
    cure = longer if farthest.is_window else f'write "[{{{{ window }}}}]", or {longer}'
    yield Remark("BW304", farthest.start, problem, cure)


def threshold(rule: Rule, tree: Expr) -> Iterator[Note]:
    """What is wrong with the rule's threshold for its query."""
    if rule.threshold is not None:
        yield from (Note(("threshold",), remark, at="key") for remark in limits.remarks(tree, rule.threshold))


def never_fires(rule: BoundRule, watch: timedelta) -> Remark | None:
    """Why a rule cannot fire within a watch of this length, if it cannot."""
    due = evaluations_due(rule, 0.0, watch.total_seconds())
    needed = rule.breaches.count if rule.breaches else -(-rule.for_ // rule.interval) + 1
    if due >= needed:
        return None
    first = format_duration(rule.warm_up)
    what = f"evaluated {due} times" if due != 1 else "evaluated once"
    lasting = f"{needed} breaches" if rule.breaches else f"for: {format_duration(rule.for_)}"
    problem = (
        f"this is {what} in a watch of {format_duration(watch)} (warm-up {first}, every "
        f"{format_duration(rule.interval)}), and needs {needed} for {lasting}"
    )
    least = (max(1, -(-rule.warm_up // rule.interval)) + needed - 1) * rule.interval
    return Remark("BW601", 0, problem, f"watch for {format_duration(least)} or more, or ask for less")
