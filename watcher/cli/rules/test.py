"""`watcher rules test`: runs the tests of rules in a temporary Prometheus, and says what differed and where."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from watcher.core.documents import Document
    from watcher.core.ruletest_cases import Case, Course, Finding
    from watcher.engine.ruletests import Result

FAILED, USAGE = 1, 2
MOST_STRETCHES = 12
"""Stretches of equal outcomes that are shown of a rule that did otherwise than expected."""

EPILOG = (
    "Example: watcher rules test rules/. How tests are written: docs/rule-tests.md. The series are evaluated by a real "
    "Prometheus, which has to be installed here (on Debian: the package prometheus). Exit status: 0 all passed, 1 some "
    "failed, 2 they could not be run."
)


def add_to(group: typer.Typer) -> None:
    """Register the command."""
    group.command("test", epilog=EPILOG)(run_tests)


def run_tests(
    paths: Annotated[list[Path], typer.Argument(help="Files with RuleTests and the RuleSets that they test.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write a JUnit report to this file as well.")] = None,
) -> None:
    """Run the tests of rules: made-up series, and what each rule has to say of them at which time.

    Directories stand for every *.yaml below them.
    """
    cases = _cases(paths)
    results = list(_results(cases, told=not as_json))
    failed = sum(not result.ok for result in results)
    if as_json:
        print(
            json.dumps({"passed": len(results) - failed, "failed": failed, "tests": [*map(_data, results)]}, indent=2)
        )
    else:
        tests = f"{len(results)} test{'' if len(results) == 1 else 's'}"
        print(f"\n{failed} of {tests} failed." if failed else f"\n{tests} passed.")
    if junit is not None:
        _write_junit(junit, results, failed)
    raise typer.Exit(FAILED if failed else 0)


def _cases(paths: Sequence[Path]) -> Sequence[Case]:
    """The tests in the files, or the end with every problem named."""
    from watcher.core.documents import read_documents
    from watcher.core.rules import RuleSet
    from watcher.core.ruletest import RuleTest
    from watcher.core.ruletest_cases import cases
    from watcher.engine.config import KINDS, read_texts

    texts, problems = read_texts(list(paths))
    documents: list[Document] = []
    for file, text in texts.items():
        found = read_documents(text, file, KINDS)
        documents += found.items
        problems += found.problems
    ours = [one for one in documents if isinstance(one.model, RuleSet | RuleTest)]
    problems += _twice(ours)
    sets = {one.name: one.model for one in ours if isinstance(one.model, RuleSet)}
    ready: list[Case] = []
    if not problems:
        ready, problems = cases(ours, texts, sets)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not ready and not problems:
        where = ", ".join(str(path) for path in paths)
        print(f"watcher: there is no RuleTest in {where}: docs/rule-tests.md shows how one is written", file=sys.stderr)
    if problems or not ready:
        raise typer.Exit(USAGE)
    return ready


def _twice(documents: Sequence[Document]) -> list[Any]:
    from watcher.core.documents import duplicates

    return list(duplicates(documents))


def _results(cases: Sequence[Case], *, told: bool) -> Iterator[Result]:
    """The results as they come, printed when they are to be told."""
    from watcher.adapters.prometheus.local import NoPrometheus
    from watcher.core.units import Invalid
    from watcher.engine.replay import Unanswered
    from watcher.engine.ruletests import run_cases

    file = ""
    try:
        for result in run_cases(cases):
            if told:
                if result.case.file != file:
                    print(f"{'' if not file else chr(10)}{result.case.file}")
                    file = result.case.file
                _tell(result)
            yield result
    except (NoPrometheus, Unanswered, Invalid) as error:
        print(f"watcher: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None


def _tell(result: Result) -> None:
    case = result.case
    if result.ok:
        print(f"  ok      {case.test.name}")
        return
    print(f"  FAILED  {case.test.name}")
    wrong = [finding for finding in result.findings if not finding.ok]
    rows = [("", "at", "of", "expected", "got")]
    rows += [(f"line {case.line_of(one.index)}", _since(one), one.subject, one.expected, one.got) for one in wrong]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        print(f"          {'  '.join([*padded, row[4]])}".rstrip())
    for rule, states in result.courses:
        if rule.name in {one.subject for one in wrong} or any(one.subject == "verdict" for one in wrong):
            print(f"          {rule.name}: {_course(result, (rule, states))}")


def _since(finding: Finding) -> str:
    from watcher.core.units import format_duration

    return format_duration(finding.at)


def _course(result: Result, course: Course) -> str:
    """What a rule gave, time by time, with equal neighbours put together."""
    from datetime import timedelta

    from watcher.core.units import format_duration, format_value

    rule, states = course
    unit = rule.threshold.range[0].unit if rule.threshold else ""
    stretches: list[list[Any]] = []
    for state in states:
        at = format_duration(timedelta(seconds=round((state.at or 0) - result.switched_at, 3)))
        said = state.outcome.value + (f" {format_value(state.value, unit)}" if state.value is not None else "")
        if stretches and stretches[-1][2] == said:
            stretches[-1][1] = at
        else:
            stretches.append([at, at, said])
    told = [f"{first}{'' if first == last else f' to {last}'} {said}" for first, last, said in stretches]
    if len(told) > MOST_STRETCHES:
        left = len(told) - MOST_STRETCHES
        told = [*told[: MOST_STRETCHES // 2], f"... {left} more ...", *told[-MOST_STRETCHES // 2 :]]
    return ", ".join(told) or "nothing was due"


def _data(result: Result) -> Mapping[str, Any]:
    case = result.case
    return {
        "file": case.file,
        "line": case.line,
        "suite": case.suite,
        "name": case.test.name,
        "ok": result.ok,
        "findings": [
            {
                "line": case.line_of(one.index),
                "at": _since(one),
                "of": one.subject,
                "expected": one.expected,
                "got": one.got,
                "ok": one.ok,
            }
            for one in result.findings
        ],
    }


def _write_junit(file: Path, results: Sequence[Result], failed: int) -> None:
    from xml.etree import ElementTree as ET

    suites = ET.Element("testsuites", tests=str(len(results)), failures=str(failed))
    suite = ET.SubElement(suites, "testsuite", name="rules", tests=str(len(results)), failures=str(failed))
    for result in results:
        case = result.case
        attributes = {"classname": case.suite, "name": case.test.name, "file": case.file, "line": str(case.line)}
        element = ET.SubElement(suite, "testcase", attributes)
        wrong = [one for one in result.findings if not one.ok]
        if wrong:
            said = [f"at {_since(one)} {one.subject}: expected {one.expected}, got {one.got}" for one in wrong]
            ET.SubElement(element, "failure", message=said[0]).text = "\n".join(said)
    try:
        ET.ElementTree(suites).write(file, "utf-8", xml_declaration=True)
    except OSError as error:
        print(f"watcher: {file} cannot be written ({error.strerror})", file=sys.stderr)
        raise typer.Exit(USAGE) from None
