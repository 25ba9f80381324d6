"""docs/lint.md: every code has its section, and what its examples are said to give they give."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from watcher.core.lint.applications import lint_applications
from watcher.core.lint.files import lint
from watcher.core.lint.findings import CODES, Finding
from watcher.core.lint.reach import Scrapes
from watcher.engine.config import KINDS

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/lint.md").read_text("utf-8")
SCRAPES = Scrapes(timedelta(seconds=15))
HEAD = "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: RuleSet\nmetadata: {name: example}\nspec:\n  rules:\n"


class Section(NamedTuple):
    """What the document says of one code."""

    code: str
    severity: str
    title: str
    bad: str
    good: str


def sections() -> list[Section]:
    found = []
    for part in DOCUMENT.partition("## The codes")[2].split("\n### ")[1:]:
        code, _, rest = part.partition("\n")
        severity, title = re.findall(r"^(Error|Warning): ([^.]*)\.", rest, re.MULTILINE)[0]
        examples = dict(re.findall(r"```yaml (bad|good)\n(.*?)```", rest, re.DOTALL))
        found.append(Section(code, severity.lower(), title, examples.get("bad", ""), examples.get("good", "")))
    return found


def as_file(example: str) -> str:
    """An example as a file: those that are one rule get a RuleSet around them."""
    if "kind:" in example:
        return example
    return HEAD + "    - name: example\n" + "".join(f"      {line}\n" for line in example.splitlines())


def findings(text: str, name: str = "example.yaml") -> list[Finding]:
    linted = lint({name: text}, KINDS, SCRAPES)
    lint_applications(linted, SCRAPES)
    return linted.all(["application"] if linted.applications else [])


def test_every_code_is_documented_with_its_severity_and_title_in_order() -> None:
    assert [(one.code, one.severity, one.title) for one in sections()] == [
        (name, code.severity, code.title) for name, code in CODES.items()
    ]


@pytest.mark.parametrize(
    "section", [one for one in sections() if CODES[one.code].needs != "prometheus"], ids=lambda s: s.code
)
def test_the_bad_example_gives_its_code_and_nothing_else_and_the_good_one_nothing(section: Section) -> None:
    assert {one.code for one in findings(as_file(section.bad))} == {section.code}
    assert findings(as_file(section.good)) == []


def test_the_example_at_the_top_gives_what_is_shown() -> None:
    (shown,) = re.findall(r"```yaml lint (\S+)\n(.*?)```\n\ngives\n\n```text\n(.*?)```", DOCUMENT, re.DOTALL)
    name, text, said = shown

    assert "".join(f"{one}\n" for one in findings(text, name)) == said
