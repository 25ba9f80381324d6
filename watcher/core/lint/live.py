"""What a Prometheus at hand tells of the rules: metrics and labels that there are not, and what the queries cost.

Plain data in, findings out; `watcher.adapters.prometheus.looking` does the asking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from watcher.core.application import COLORS, other
from watcher.core.binding import bind_rules
from watcher.core.lint.checking import understood
from watcher.core.lint.files import ApplicationAt, Linted, RuleAt
from watcher.core.lint.findings import Remark
from watcher.core.lint.places import Path
from watcher.core.lint.shapes import RATES
from watcher.core.lint.tree import Binary, Call, Expr, Number, Selector, bare, below, selectors, walk
from watcher.core.units import Invalid, near_miss

_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
"""Names without quotes; of others nothing is asked."""
SLOW = 1.0
"""Seconds for one query above which it is expensive."""
MANY_SAMPLES = 1_000_000
"""Samples that one query reads above which it is expensive."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a server knows of a metric. `type` is empty where it does not say, `top` the last finite bound of a
    histogram's buckets, `scrape` the time between two scrapes."""

    labels: frozenset[str]
    type: str = ""
    scrape: timedelta | None = None
    top: float | None = None
    series: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a query gave, and what it cost. `samples` is None where the server does not say."""

    series: int
    seconds: float
    samples: int | None


@dataclass(frozen=True, slots=True)
class Question:
    """One query of one rule, as it would be sent for one colour."""

    application: str
    rule_at: RuleAt
    path: Path
    color: str
    expr: str

    @property
    def name(self) -> str:
        """Whose query it is, for a line of text."""
        return f"{self.application} {self.rule_at.id} {'traffic' if self.path[0] == 'traffic' else 'query'}"


def metric_names(linted: Linted) -> list[str]:
    """Every metric that the rules name plainly."""
    trees = [tree for one in linted.rules for _, query in one.rule.queries() if (tree := understood(query)[0])]
    return sorted({selector.name for tree in trees for selector in selectors(tree) if _PLAIN.fullmatch(selector.name)})


def judge_metrics(linted: Linted, metrics: Mapping[str, Metric], names: Sequence[str] = ()) -> None:
    """Add what the metrics' names, labels, types and buckets say. `names` are more that there are, to suggest."""
    for one in linted.rules:
        for path, query in one.rule.queries():
            tree, _ = understood(query)
            if tree is None:
                continue
            _settle(one, path, tree, metrics)
            for remark in (*_missing(tree, metrics, names), *_other_type(tree, metrics)):
                one.add(path, remark)
            if path == ("query",):
                for remark in _above_the_top(one, tree, metrics):
                    one.add(("threshold",), remark, in_text=False)


def _settle(one: RuleAt, path: Path, tree: Expr, metrics: Mapping[str, Metric]) -> None:
    """Take back what was guessed from a metric's name, where the server knows its type."""
    known: set[tuple[str, int, int]] = set()
    for expr in walk(tree):
        place = one.document.place((*one.path, *path), expr.start)
        if isinstance(expr, Call) and expr.name in RATES and any(_type(s, metrics) for s in selectors(expr)):
            known.add(("BW302", *place))
        if isinstance(expr, Selector) and _type(expr, metrics) == "gauge":
            known.add(("BW301", *place))
    one.findings = [found for found in one.findings if (found.code, found.line, found.column) not in known]


def _type(selector: Selector, metrics: Mapping[str, Metric]) -> str:
    return metrics[selector.name].type if selector.name in metrics else ""


def _missing(tree: Expr, metrics: Mapping[str, Metric], names: Sequence[str]) -> Iterator[Remark]:
    for selector in selectors(tree):
        known = metrics.get(selector.name)
        if known is None and _PLAIN.fullmatch(selector.name):
            meant = near_miss(selector.name, names or metrics)
            cure = f'did you mean "{meant}"?' if meant else "is it scraped, and is this its name?"
            yield Remark("BW701", selector.start, f"Prometheus has no {selector.name}", cure)
        labels = frozenset() if known is None else known.labels
        for matcher in selector.matchers if labels else ():
            if matcher.label != "__name__" and matcher.label not in labels:
                meant = near_miss(matcher.label, labels)
                there = ", ".join(sorted(labels - {"__name__"}))
                cure = f'did you mean "{meant}"?' if meant else f"its labels are {there}"
                yield Remark("BW702", matcher.start, f"{selector.name} has no label {matcher.label}", cure)


def _other_type(tree: Expr, metrics: Mapping[str, Metric]) -> Iterator[Remark]:
    for expr, above in below(tree):
        if not isinstance(expr, Selector):
            continue
        type_ = _type(expr, metrics)
        around = {one.name for one in above if isinstance(one, Call)}
        if type_ == "gauge" and around & RATES:
            cure = "use delta() or deriv() for what goes up and down, or take it as it is"
            yield Remark("BW706", expr.start, f"{expr.name} is a gauge, and a rate is made of it", cure)
        elif type_ == "counter" and not around:
            cure = "read it through rate() or increase() over [{{ window }}]"
            yield Remark("BW706", expr.start, f"{expr.name} is a counter, and is taken as it is", cure)


def _above_the_top(one: RuleAt, tree: Expr, metrics: Mapping[str, Metric]) -> Iterator[Remark]:
    limit = one.rule.threshold.above if one.rule.threshold is not None else None
    factor, whole = 1.0, bare(tree)
    if isinstance(whole, Binary) and whole.op == "/" and isinstance(divisor := bare(whole.rhs), Number):
        factor, whole = divisor.value, bare(whole.lhs)
    if limit is None or not isinstance(whole, Call) or whole.name != "histogram_quantile" or factor <= 0:
        return
    tops = [top for s in selectors(whole) if s.name in metrics and (top := metrics[s.name].top) is not None]
    if tops and limit.number >= max(tops) / factor:
        problem = f"the last bucket ends at {max(tops) / factor:g}, and no quantile is above it"
        yield Remark("BW707", 0, problem, "write a lower limit, or give the histogram a higher bucket")


def questions(linted: Linted) -> list[Question]:
    """The queries of all rules that Applications use, for both colours, as they would be sent."""
    asked = []
    for at in linted.applications:
        for color in COLORS:
            asked += list(_of_application(linted, at, color))
    return asked


def _of_application(linted: Linted, at: ApplicationAt, color: str) -> Iterator[Question]:
    app = at.application
    try:
        rules = bind_rules(app, linted.rule_sets, color, other(color), "VERSION")
    except Invalid:  # said already
        return
    for rule in rules:
        # A burn rate becomes several rules, named after it.
        found = [one for one in linted.rules if rule.id == one.id or rule.id.startswith(f"{one.id}-")]
        rule_at = max(found, key=lambda one: len(one.id))
        key: Path = ("query",) if rule_at.rule.burn_rate is None else ("burnRate",)
        name = f"{app.namespace}/{app.name}"
        yield Question(name, rule_at, key, color, rule.query)
        if rule.traffic_query is not None:
            yield Question(name, rule_at, ("traffic", "query"), color, rule.traffic_query)


def judge_answers(answers: Sequence[tuple[Question, Measured | str]]) -> None:
    """Add what the answers say: refused, several series, expensive, nothing for either colour."""
    series: dict[tuple[str, str, Path], int] = {}
    for question, answer in answers:
        for remark in _of_answer(question, answer):
            question.rule_at.add(question.path, remark, in_text=False)
        if isinstance(answer, Measured):
            key = (question.application, question.rule_at.id, question.path)
            series[key] = series.get(key, 0) + answer.series
    for question, _ in answers:
        explained = any(one.code in ("BW701", "BW702") for one in question.rule_at.findings)
        if not explained and series.get((question.application, question.rule_at.id, question.path)) == 0:
            problem = f"this gives nothing for either colour in {question.application}"
            remark = Remark("BW708", 0, problem, "compare its conditions with what the metrics have")
            question.rule_at.add(question.path, remark, in_text=False)


def _of_answer(question: Question, answer: Measured | str) -> Iterator[Remark]:
    if isinstance(answer, str):
        yield Remark("BW703", 0, f"Prometheus refuses this: {answer}", "correct the query")
        return
    rule = question.rule_at.rule
    if answer.series > 1 and (question.path[0] == "traffic" or rule.reduce is None):
        problem = f"this gives {answer.series} series in {question.application}"
        yield Remark("BW704", 0, problem, 'aggregate them, or add "reduce: max"')
    if answer.seconds > SLOW or (answer.samples or 0) > MANY_SAMPLES:
        samples = f", and read {answer.samples} samples" if answer.samples is not None else ""
        problem = f"this took {answer.seconds:.1f} s{samples}"
        yield Remark("BW705", 0, problem, "narrow it, or make a recording rule of a part of it")
