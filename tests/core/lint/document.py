"""docs/lint.md as the tests read it, and lint as they call it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from watcher.core.application import Application
from watcher.core.lint.applications import lint_applications
from watcher.core.lint.files import Linted, lint
from watcher.core.lint.findings import Finding
from watcher.core.lint.reach import Scrapes
from watcher.core.models import Model
from watcher.core.rules import RuleSet

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs/lint.md").read_text("utf-8")
SCRAPES = Scrapes(timedelta(seconds=15))
KINDS: Mapping[str, type[Model]] = {"Application": Application, "RuleSet": RuleSet}
HEAD = "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: RuleSet\nmetadata: {name: example}\nspec:\n  rules:\n"
APPLICATION = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: shop-prod}
spec:
  service: shop
  colors: {blue: {deployment: shop-blue}, green: {deployment: shop-green}}
  watch: {rules: [example]}
"""


class Section(NamedTuple):
    """What the document says of one code."""

    code: str
    severity: str
    title: str
    bad: str
    good: str


def sections() -> list[Section]:
    """The sections of all codes, in the document's order."""
    found = []
    for part in DOCUMENT.partition("## The codes")[2].split("\n### ")[1:]:
        code, _, rest = part.partition("\n")
        severity, title = re.findall(r"^(Error|Warning): ([^.]*)\.", rest, re.MULTILINE)[0]
        examples = dict(re.findall(r"```yaml (bad|good)\n(.*?)```", rest, re.DOTALL))
        found.append(Section(code, severity.lower(), title, examples["bad"], examples["good"]))
    return found


def as_file(example: str) -> str:
    """An example as a file: those that are one rule get a RuleSet around them."""
    if "kind:" in example:
        return example
    return HEAD + "    - name: example\n" + "".join(f"      {line}\n" for line in example.splitlines())


def linted(text: str, *, application: str = "", name: str = "example.yaml") -> Linted:
    """What lint makes of a rule or file, and of an Application beside it."""
    texts = {name: as_file(text)} | ({"application.yaml": application} if application else {})
    found = lint(texts, KINDS, SCRAPES)
    lint_applications(found, SCRAPES)
    return found


def findings(text: str, *, application: str = "", name: str = "example.yaml") -> list[Finding]:
    """The findings in a rule or file."""
    found = linted(text, application=application, name=name)
    return found.all(["application"] if found.applications else [])


def codes(text: str, *, application: str = "") -> list[str]:
    """The codes of the findings in a rule or file."""
    return [one.code for one in findings(text, application=application)]
