"""`watcher rules lint`: what is wrong or doubtful in rule files, with places, codes and cures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from watcher.core.lint.findings import Finding

USAGE = 2
"""Exit status when nothing could be linted."""

EPILOG = (
    "Example: watcher rules lint rules/ config/ --prometheus http://127.0.0.1:9090. What each code means, and how to "
    "silence one with a reason: docs/lint.md. Exit status: 0 nothing found, 1 findings, 2 nothing could be linted."
)


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def add_to(group: typer.Typer) -> None:
    """Register the command."""
    group.command("lint", epilog=EPILOG)(lint)


def lint(
    paths: Annotated[list[Path], typer.Argument(help="Files, and directories with *.yaml in them.")],
    output: Annotated[Format, typer.Option("--format", help="github annotates a pull request.")] = Format.TEXT,
    scrape_interval: Annotated[str, typer.Option("--scrape-interval", help="Time between two scrapes.")] = "15s",
) -> None:
    """Say what is wrong or doubtful in rule files, beyond their schema.

    Applications among the files are looked at together with the RuleSets that they use: whether a rule can fire within
    their watch, and what they override.
    """
    texts = _texts(paths)
    scrape = _duration(scrape_interval)
    from watcher.core.lint.applications import lint_applications
    from watcher.core.lint.files import lint as lint_files
    from watcher.engine.config import KINDS

    linted = lint_files(texts, KINDS, scrape)
    looked_at = ["application"] if linted.applications else []
    lint_applications(linted, scrape)
    found = linted.all(looked_at)
    for line in _WRITERS[output](found, texts):
        print(line)
    raise typer.Exit(1 if found else 0)


def _texts(paths: Sequence[Path]) -> Mapping[str, str]:
    from watcher.engine.config import read_texts

    texts, problems = read_texts(list(paths))
    if not texts and not problems:
        problems_said = [f"there is no *.yaml in {', '.join(str(path) for path in paths)}"]
    else:
        problems_said = [str(problem) for problem in problems]
    for said in problems_said:
        print(f"watcher: {said}", file=sys.stderr)
    if problems_said:
        raise typer.Exit(USAGE)
    return texts


def _duration(text: str) -> timedelta:
    from watcher.core.units import Invalid, parse_duration

    try:
        found = parse_duration(text)
    except Invalid as error:
        print(f"watcher: --scrape-interval: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None
    if found <= timedelta():
        print('watcher: --scrape-interval: write a duration above zero, such as "15s"', file=sys.stderr)
        raise typer.Exit(USAGE)
    return found


def _as_text(found: Sequence[Finding], texts: Mapping[str, str]) -> list[str]:
    errors = sum(finding.severity == "error" for finding in found)
    files = f"{len(texts)} file{'' if len(texts) == 1 else 's'}"
    if not found:
        return [f"Nothing to say about {files}."]
    counted = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in _counts(errors, len(found)) if count]
    return [*map(str, found), f"{' and '.join(counted)} in {files}; docs/lint.md explains each code."]


def _counts(errors: int, all_: int) -> list[tuple[int, str]]:
    return [(errors, "error"), (all_ - errors, "warning")]


def _as_json(found: Sequence[Finding], texts: Mapping[str, str]) -> list[str]:
    findings = [{**asdict(finding), "severity": finding.severity} for finding in found]
    return [json.dumps({"files": sorted(texts), "findings": findings}, indent=2)]


def _as_github(found: Sequence[Finding], texts: Mapping[str, str]) -> list[str]:
    """Workflow commands: what follows `::` is escaped as the runner wants it, properties more than messages."""
    return [
        f"::{one.severity} file={_property(one.file)},line={one.line},col={one.column},title={one.code}"
        f"::{_message(one.sentence)}"
        for one in found
    ]


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


_WRITERS: Mapping[Format, Callable[[Sequence[Finding], Mapping[str, str]], list[str]]] = {
    Format.TEXT: _as_text,
    Format.JSON: _as_json,
    Format.GITHUB: _as_github,
}
