"""`watcher rules lint`: what is wrong or doubtful in rule files, with places, codes and cures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from watcher.adapters.prometheus.looking import Looker
    from watcher.core.lint.findings import Finding
    from watcher.core.lint.live import Measured, Question

Asked = Sequence[tuple["Question", "Measured | str"]]

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
    scrape_interval: Annotated[
        str | None, typer.Option("--scrape-interval", help="Time between two scrapes. [default: 15s, or what is asked]")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option("--prometheus", help="Address of a server to ask about metrics and costs.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option("--token-file", help="A bearer token for it.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for all that it is asked.")] = 10.0,
) -> None:
    """Say what is wrong or doubtful in rule files, beyond their schema.

    Applications among the files are looked at together with the RuleSets that they use: whether a rule can fire within
    their watch, and what they override.
    """
    from watcher.core.lint.applications import lint_applications
    from watcher.core.lint.files import lint as lint_files
    from watcher.core.lint.reach import Scrapes
    from watcher.engine.config import KINDS

    texts = _texts(paths)
    scrapes = Scrapes(_duration(scrape_interval or "15s"))
    linted = lint_files(texts, KINDS, scrapes)
    asked: list[tuple[Question, Measured | str]] = []
    looked_at = ["application"] if linted.applications else []
    if prometheus is None:
        lint_applications(linted, scrapes)
    else:
        from watcher.core.lint import live

        looked_at.append("prometheus")
        with _looker(prometheus, token_file, timeout) as looker:
            metrics = looker.metrics(live.metric_names(linted))
            known = {name: one.scrape for name, one in metrics.items() if one.scrape is not None}
            if scrape_interval is None:
                scrapes = Scrapes(scrapes.default, known)
                linted = lint_files(texts, KINDS, scrapes)
            lint_applications(linted, scrapes)
            names = live.metric_names(linted)
            live.judge_metrics(linted, metrics, looker.names() if set(names) - set(metrics) else ())
            asked = [(question, looker.measure(question.expr)) for question in live.questions(linted)]
            live.judge_answers(asked)
    found = linted.all(looked_at)
    for line in _WRITERS[output](found, texts, asked):
        print(line)
    raise typer.Exit(1 if found else 0)


@contextmanager
def _looker(url: str, token_file: Path | None, timeout: float) -> Iterator[Looker]:
    """Somebody who asks a server; what keeps it from answering is said in one line."""
    from watcher.adapters.errors import AdapterError
    from watcher.adapters.prometheus.looking import Looker
    from watcher.adapters.prometheus.settings import PrometheusSettings

    try:
        looker = Looker(PrometheusSettings(url, token_file=token_file, timeout=timeout), timeout)
        try:
            yield looker
        finally:
            looker.close()
    except (AdapterError, ValueError) as error:
        print(f"watcher: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None


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


def _as_text(found: Sequence[Finding], texts: Mapping[str, str], asked: Asked) -> list[str]:
    errors = sum(finding.severity == "error" for finding in found)
    files = f"{len(texts)} file{'' if len(texts) == 1 else 's'}"
    counted = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in _counts(errors, len(found)) if count]
    said = f"{' and '.join(counted)} in {files}; docs/lint.md explains each code."
    return [*map(str, found), *_costs(asked), said if found else f"Nothing to say about {files}."]


def _costs(asked: Asked) -> Iterator[str]:
    """A line for each query, with what it gave for each colour."""
    lines: dict[str, list[str]] = {}
    for question, answer in asked:
        lines.setdefault(question.name, []).append(f"{question.color} {_cost(answer)}")
    yield from (f"{name}: {'; '.join(parts)}" for name, parts in lines.items())


def _cost(answer: Measured | str) -> str:
    if isinstance(answer, str):
        return "refused"
    series = f"{answer.series or 'no'} series, {1000 * answer.seconds:.0f} ms"
    return series if answer.samples is None else f"{series}, {answer.samples} samples"


def _counts(errors: int, all_: int) -> list[tuple[int, str]]:
    return [(errors, "error"), (all_ - errors, "warning")]


def _as_json(found: Sequence[Finding], texts: Mapping[str, str], asked: Asked) -> list[str]:
    findings = [{**asdict(finding), "severity": finding.severity} for finding in found]
    document: dict[str, Any] = {"files": sorted(texts), "findings": findings}
    if asked:
        document["queries"] = [_as_data(question, answer) for question, answer in asked]
    return [json.dumps(document, indent=2)]


def _as_data(question: Question, answer: Measured | str) -> dict[str, Any]:
    what = {"application": question.application, "rule": question.rule_at.id, "query": question.path[0]}
    came = {"error": answer} if isinstance(answer, str) else asdict(answer)
    return {**what, "color": question.color, "expr": question.expr, **came}


def _as_github(found: Sequence[Finding], texts: Mapping[str, str], asked: Asked) -> list[str]:
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


_WRITERS: Mapping[Format, Callable[[Sequence[Finding], Mapping[str, str], Asked], list[str]]] = {
    Format.TEXT: _as_text,
    Format.JSON: _as_json,
    Format.GITHUB: _as_github,
}
