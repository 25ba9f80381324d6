"""Rule files and Applications, linted together: texts in, findings out, whatever the texts are.

What always holds: everything that is wrong is said at once. A rule that is not valid does not keep its neighbours, nor
its own queries, from being looked at. A finding about a rule can be silenced there, with a reason; a reason that is not
needed is a finding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from watcher.core.application import Application
from watcher.core.documents import duplicates, read_documents
from watcher.core.lint.check_queries import check_templates, lint_checks
from watcher.core.lint.findings import CODES, Finding, Remark
from watcher.core.lint.places import Document, Path, documents
from watcher.core.lint.reach import Scrapes
from watcher.core.lint.rules import check, check_text
from watcher.core.models import Model
from watcher.core.plain_secrets import secret_problems
from watcher.core.rules import Rule, RuleSet
from watcher.core.templates import TemplateError, variables_used
from watcher.core.units import near_miss
from watcher.core.yamltree import Node, Scalar, data, read

QUERIES: tuple[Path, ...] = (("query",), ("traffic", "query"), ("burnRate", "bad"), ("burnRate", "total"))


@dataclass(slots=True)
class RuleAt:
    """One rule that is valid, where it stands, and what has been found about it so far."""

    id: str
    rule: Rule
    document: Document
    path: Path
    findings: list[Finding] = field(default_factory=list)

    def add(self, path: Path, remark: Remark, *, in_text: bool = True) -> None:
        """Note something about a key of this rule."""
        self.findings.append(self.document.finding((*self.path, *path), remark, self.id, in_text=in_text))


@dataclass(frozen=True, slots=True)
class ApplicationAt:
    """One Application that is valid, and where it stands."""

    application: Application
    document: Document


@dataclass(slots=True)
class Linted:
    """What the files hold, and what was found in them apart from what belongs to a rule."""

    rules: list[RuleAt] = field(default_factory=list)
    rule_sets: dict[str, RuleSet] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Names of RuleSets that are not valid."""
    applications: list[ApplicationAt] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def all(self, looked_at: Sequence[str] = ()) -> list[Finding]:
        """Every finding that nobody silenced, in the order of the files. `looked_at` says what else was there to be
        looked at: "application", "prometheus"; what could not be found without it needs no silence either."""
        said = list(self.findings)
        for one in self.rules:
            said += _unsilenced(one, looked_at)
        return sorted(set(said))


def lint(texts: Mapping[str, str], kinds: Mapping[str, type[Model]], scrapes: Scrapes) -> Linted:
    """Read and check files by name; `kinds` are the documents that may stand in them."""
    linted = Linted()
    read_so_far = []
    for file, text in texts.items():
        found = read_documents(text, file, kinds)
        read_so_far += found.items
        written = documents(file, read(text))
        placeholders = set(_wrong_placeholders(written))
        for problem in found.problems:
            code = "BW002" if (problem.line, problem.column) in placeholders else "BW001"
            linted.findings.append(Finding(file, problem.line, problem.column, code, problem.message, problem.cure))
        linted.findings += [
            Finding(file, problem.line, problem.column, "BW004", problem.message, problem.cure)
            for one in found.items
            for problem in map(one.problem, secret_problems(one.model))
        ]
        lines = {item.line: item for item in found.items}
        for document in written:
            item = lines.get(document.root.line)
            model = item.model if item is not None else None
            if isinstance(model, Application):
                linted.applications.append(ApplicationAt(model, document))
                linted.findings += lint_checks(model, document, scrapes)
            elif document.text(("kind",)) == "RuleSet":
                _rule_set(linted, document, model, scrapes)
    for problem in duplicates(one for one in read_so_far if one.name):
        linted.findings.append(
            Finding(problem.file, problem.line, problem.column, "BW001", problem.message, problem.cure)
        )
    return linted


def _wrong_placeholders(written: Sequence[Document]) -> Iterator[tuple[int, int]]:
    """Where templates cannot be rendered: the places that the reader of documents gives too."""
    for document in written:
        rules = enumerate(document.items(("spec", "rules")))
        of_rules = (("spec", "rules", index, *key) for index, _ in rules for key in QUERIES)
        for path in (*of_rules, *check_templates(document)):
            node = document.node(path)
            try:
                variables_used(document.text(path) or "")
            except TemplateError as error:
                assert node is not None
                assert isinstance(node[0], Scalar)
                yield document.tree.place(node[0], error.line or 1, error.column or 1)


def _rule_set(linted: Linted, document: Document, model: Model | None, scrapes: Scrapes) -> None:
    """The rules of one RuleSet, valid or not."""
    name = document.text(("metadata", "name")) or ""
    if isinstance(model, RuleSet):
        linted.rule_sets[name] = model
    else:
        linted.broken.add(name)
    for index, node in enumerate(document.items(("spec", "rules"))):
        path: Path = ("spec", "rules", index)
        rule = _rule(node)
        if rule is None:
            for key in QUERIES:
                linted.findings += _of_text(document, (*path, *key))
            continue
        at = RuleAt(f"{name}/{rule.name}", rule, document, path)
        linted.rules.append(at)
        for note in check(rule, scrapes):
            at.add(note.path, note.remark, in_text=note.at == "text")


def _rule(node: Node) -> Rule | None:
    try:
        return Rule.model_validate_json(json.dumps(data(node)))
    except ValidationError:
        return None


def _of_text(document: Document, path: Path) -> Iterator[Finding]:
    """What can be said of a query whose rule is not valid: its rule's other problems are said already."""
    template = document.text(path)
    if template is None or not template.strip():
        return
    try:
        variables_used(template)
    except TemplateError:
        return
    for remark in check_text(template):
        yield document.finding(path, remark)


def _unsilenced(one: RuleAt, looked_at: Sequence[str]) -> Iterator[Finding]:
    """The findings of a rule that it does not silence, and the silences that it does not need."""
    found = {finding.code for finding in one.findings}
    silenced = set()
    for index, ignored in enumerate(one.rule.lint.ignore):
        path = ("lint", "ignore", index, "code")
        code = CODES.get(ignored.code)
        remark = None
        if code is None or code.fixed:
            possible = [name for name, other in CODES.items() if not other.fixed]
            meant = near_miss(ignored.code, possible) if code is None else None
            problem = (
                f"{ignored.code} is no code that lint has" if code is None else f"{ignored.code} ({code.title}) stays"
            )
            remark = Remark("BW902", 0, problem, f'did you mean "{meant}"?' if meant else "take it out")
        elif ignored.code in found:
            silenced.add(ignored.code)
        elif not code.needs or code.needs in looked_at:
            remark = Remark("BW901", 0, f"nothing here is {ignored.code} ({code.title})", "take it out")
        if remark is not None:
            yield one.document.finding((*one.path, *path), remark, one.id, in_text=False)
    yield from (finding for finding in one.findings if finding.code not in silenced)
