"""docs/rules.md from the first rule to the last key: every example is read, bound, and evaluated by a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from watcher.core.application import Application
from watcher.core.binding import binding_problems
from watcher.core.burnrate import LEAST_EVALUATIONS, PAIRS
from watcher.core.documents import Document, read_documents
from watcher.core.evaluation import report
from watcher.core.rules import RuleSet
from watcher.core.ruletest import RuleTest
from watcher.core.ruletest_cases import Case, cases
from watcher.core.units import format_duration, format_value
from watcher.engine.config import KINDS
from watcher.engine.ruletests import Result, run_cases

DOCUMENT = Path(__file__).parents[2] / "docs/rules.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind its fence, and its lines."""

    info: str
    text: str


def blocks() -> Iterator[Block]:
    for found in re.finditer(r"^```(\w[^\n]*)\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield Block(found[1].strip(), found[2])


@cache
def documents() -> tuple[tuple[Document, str], ...]:
    """Every example that is one of ours and right, with its text."""
    found = []
    for number, block in enumerate(blocks()):
        if block.info == "yaml":
            read = read_documents(block.text, f"block-{number}", KINDS)
            assert read.problems == []
            found += [(one, block.text) for one in read.items]
    return tuple(found)


def rule_sets() -> Mapping[str, RuleSet]:
    return {one.name: one.model for one, _ in documents() if isinstance(one.model, RuleSet)}


@cache
def results() -> tuple[Result, ...]:
    """What came of every test on the page, on one Prometheus."""
    ready: list[Case] = []
    for one, text in documents():
        if isinstance(one.model, RuleTest):
            more, problems = cases([one], {one.file: text}, rule_sets())
            assert problems == []
            ready += more
    return tuple(run_cases(ready))


def says() -> Iterator[tuple[str, str]]:
    """Each sentence that the page promises, with the name of the RuleTest that it stands behind."""
    for block in blocks():
        if block.info.startswith("text says "):
            for line in block.text.splitlines():
                yield block.info.removeprefix("text says "), line


def test_every_yaml_block_is_an_example_that_is_checked() -> None:
    wholes = [block for block in blocks() if block.info == "yaml"]
    assert len(wholes) == len(documents()) >= 12
    assert all("kind:" in block.text for block in wholes)


@pytest.mark.parametrize(
    "app", [one.model for one, _ in documents() if isinstance(one.model, Application)], ids=lambda app: str(app.name)
)
def test_every_application_of_the_page_can_be_bound(app: Application) -> None:
    assert binding_problems(app, rule_sets()) == []
    assert app.spec.watch.rules


def test_every_rule_set_of_the_page_is_used_by_a_test_or_an_application() -> None:
    used = {
        str(getattr(entry, "rule_set", entry))
        for one, _ in documents()
        for entry in (
            one.model.spec.watch.rules
            if isinstance(one.model, Application)
            else one.model.spec.rules
            if isinstance(one.model, RuleTest)
            else ()
        )
    }
    assert set(rule_sets()) <= used


def test_every_outcome_that_the_page_shows_is_what_comes_of_it() -> None:
    found = results()
    assert len(found) >= 12
    wrong = [
        f"{result.case.test.name}: {finding.subject} at {finding.at}: {finding.expected}, got {finding.got}"
        for result in found
        for finding in result.findings
        if not finding.ok
    ]
    assert wrong == []


@pytest.mark.parametrize(("name", "sentence"), list(says()))
def test_every_sentence_that_the_page_shows_is_said(name: str, sentence: str) -> None:
    said = {
        report(rule, state).message
        for result in results()
        if result.case.suite == name
        for rule, states in result.courses
        for state in states
    }
    assert sentence in said


def test_the_table_of_burn_rates_is_the_one_in_force() -> None:
    month, step = timedelta(days=30), timedelta(seconds=10)
    wanted = [
        [
            f"`{pair.suffix}`",
            f"{pair.rate:g}",
            format_value(pair.rate * (pair.long / month), "%", 2),
            format_value(pair.rate * 0.001, "%", 3),
            format_duration(pair.long + (LEAST_EVALUATIONS - 1) * step),
        ]
        for pair in PAIRS
    ]
    rows = re.findall(r"^\| (`[\dmh]+-[\dmh]+`) \|(.*)\|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert [[name, *(cell.strip() for cell in rest.split("|"))] for name, rest in rows] == wanted
