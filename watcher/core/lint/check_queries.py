"""Lint of the queries of an Application's checks: what is wrong whatever is meant.

Doubts are kept for rules, where they can be silenced; and a check may well ask for something that has no colour, such
as a database that a switch would strain.
"""

from __future__ import annotations

from collections.abc import Iterator

from watcher.core.application import Application
from watcher.core.checks import PromqlCheck
from watcher.core.lint.findings import Finding
from watcher.core.lint.places import Document, Path
from watcher.core.lint.reach import Scrapes
from watcher.core.lint.rules import check
from watcher.core.rules import Rule

SURE = frozenset(
    "BW101 BW103 BW202 BW301 BW303 BW305 BW406 BW407 BW501 BW502 BW503".split()  # noqa: SIM905 - codes, on one line
)


def lint_checks(app: Application, document: Document, scrapes: Scrapes) -> Iterator[Finding]:
    """What is wrong with the queries of a valid Application's checks."""
    for path, title, one in app.spec.tests.checks():
        if one.promql is None:
            continue
        where: Path = ("spec", "tests", *path, "promql")
        for note in check(_as_rule(one.promql), scrapes):
            if note.remark.code in SURE:
                in_text = note.at == "text"
                yield document.finding((*where, *note.path), note.remark, f"{path[0]}/{title}", in_text=in_text)


def check_templates(document: Document) -> Iterator[Path]:
    """Where the queries of checks stand in a document, valid or not."""
    for stage in ("smoke", "verification", "health"):
        for index, _ in enumerate(document.items(("spec", "tests", stage))):
            path: Path = ("spec", "tests", stage, index)
            yield (*path, "promql", "query")
            members = document.items((*path, "parallel"))
            yield from ((*path, "parallel", number, "promql", "query") for number, _ in enumerate(members))


def _as_rule(asked: PromqlCheck) -> Rule:
    return Rule(name="check", query=asked.query, window=asked.window, threshold=asked.threshold, reduce=asked.reduce)
