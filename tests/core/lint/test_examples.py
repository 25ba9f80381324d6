"""docs/lint.md: every code has its section, and what its examples are said to give they give."""

from __future__ import annotations

import re

import pytest

from tests.core.lint.document import DOCUMENT, Section, findings, sections
from watcher.core.lint.findings import CODES


def test_every_code_is_documented_with_its_severity_and_title_in_order() -> None:
    assert [(one.code, one.severity, one.title) for one in sections()] == [
        (name, code.severity, code.title) for name, code in CODES.items()
    ]


@pytest.mark.parametrize(
    "section", [one for one in sections() if CODES[one.code].needs != "prometheus"], ids=lambda one: one.code
)
def test_the_bad_example_gives_its_code_and_nothing_else_and_the_good_one_nothing(section: Section) -> None:
    assert {one.code for one in findings(section.bad)} == {section.code}
    assert findings(section.good) == []


def test_the_example_at_the_top_gives_what_is_shown() -> None:
    (shown,) = re.findall(r"```yaml lint (\S+)\n(.*?)```\n\ngives\n\n```text\n(.*?)```", DOCUMENT, re.DOTALL)
    name, text, said = shown

    assert "".join(f"{one}\n" for one in findings(text, name=name)) == said
