"""The documents say what is so: examples validate, commands and modules exist, tables agree with the models."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from tests.packaging.exported import families, row
from tests.packaging.reference import keys
from tests.packaging.rendered import ROOT, parse
from watcher.cli.main import app
from watcher.cli.release import REFUSALS, Exit
from watcher.core.application import Spec
from watcher.core.documents import read_documents
from watcher.core.models import API_VERSION
from watcher.core.release import Phase
from watcher.core.rules import Rule
from watcher.core.settings import Settings
from watcher.core.templates import VARIABLES
from watcher.demo.scenarios import SCENARIOS
from watcher.engine.config import KINDS

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind its fence, and its lines."""

    info: str
    text: str
    line: int


def blocks(document: Path) -> list[Block]:
    found: list[Block] = []
    info, begins = "", 0
    lines: list[str] | None = None
    for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
        if not line.lstrip().startswith("```"):
            if lines is not None:
                lines.append(line)
        elif lines is None:
            info, lines, begins = line.strip().strip("`"), [], number
        else:
            found.append(Block(info, "\n".join(lines) + "\n", begins))
            lines = None
    assert lines is None, f"{document.name}:{begins}: a block does not end"
    return found


def prose(document: Path) -> str:
    """The document without its blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def rows(text: str, heading: str) -> Iterator[list[str]]:
    """The cells of the table that begins with a heading row."""
    lines = iter(text.splitlines())
    for line in lines:
        if line == heading:
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    return
                yield [cell.strip() for cell in row.strip("|").split("|")]


@every_document
def test_every_example_of_ours_validates_and_every_other_is_yaml(document: Path) -> None:
    for block in blocks(document):
        if block.info != "yaml":
            continue
        ours = [one for one in parse(block.text) if isinstance(one, dict) and one.get("kind") in KINDS]
        if ours:
            read = read_documents(block.text, f"{document.name}:{block.line}", KINDS)
            assert read.problems == []
            assert len(read.items) == len(ours)


@every_document
def test_every_example_of_a_release_is_one_that_the_custom_resource_allows(document: Path) -> None:
    (crd,) = parse((ROOT / "deploy/crd.yaml").read_text("utf-8"))
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for block in blocks(document):
        for one in parse(block.text) if block.info == "yaml" else ():
            if isinstance(one, dict) and one.get("kind") == "Release":
                assert one["apiVersion"] == API_VERSION
                assert set(one["spec"]) <= set(properties)
                assert "application" in one["spec"]


def test_a_wrong_file_gives_the_problems_that_the_document_shows() -> None:
    shown = blocks(ROOT / "docs/rules.md")
    (index,) = [i for i, block in enumerate(shown) if block.info.startswith("yaml wrong")]
    wrong, said = shown[index], shown[index + 1]
    problems = read_documents(wrong.text, wrong.info.split()[2], KINDS).problems

    assert "".join(f"{problem}\n" for problem in problems) == said.text


# -- commands ---------------------------------------------------------------------------------------------------------


def commands(document: Path) -> Iterator[str]:
    """Every `watcher ...` that a document shows: in console blocks, in workflow steps, and between backticks."""
    for block in blocks(document):
        text = block.text.replace("\\\n", " ")
        if block.info == "yaml":
            text = re.sub(r"\n\s+--", " --", text)
        for line in text.splitlines():
            found = re.match(r"\s*(?:\$ )?(watcher .*)", line)
            if found and block.info in {"console", "yaml"}:
                yield found[1]
    yield from re.findall(r"`(watcher [a-z][^`]*)`", prose(document))


@cache
def help_of(*words: str) -> str:
    """What `watcher WORDS --help` prints; empty when there is no such command."""
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"})
    return done.output if done.exit_code == 0 else ""


def subcommands(*words: str) -> set[str]:
    return set(re.findall(r"^  ([a-z]+)  ", help_of(*words).partition("Commands:")[2], re.MULTILINE))


def complaint_about(command: str) -> str:
    """What is wrong with a command: no such command, option, or too many arguments; empty when nothing is."""
    words = shlex.split(command)[1:]
    path: list[str] = []
    while subcommands(*path):
        if not words or words[0] == "...":
            return ""
        path.append(words.pop(0))
        if not help_of(*path):
            return f"there is no command {' '.join(path)}"
    described = re.findall(r"^  (-\S.*?)(?:  |$)", help_of(*path), re.MULTILINE)
    takes_value = {flag: "<" in row for row in described for flag in re.findall(r"(?<!\S)--?[a-z-]+", row)}
    given = 0
    while words:
        word, sign, _ = words.pop(0).partition("=")
        if not word.startswith("-"):
            given += word != "..."
        elif word not in takes_value:
            return f"{' '.join(path)} has no option {word}"
        elif takes_value[word] and not sign and words:
            words.pop(0)
    usage = help_of(*path).partition("Options:")[0].partition("\n\n")[0]
    takes = len(re.findall(r"[{[][a-z]+[]}]", usage))
    return f"{' '.join(path)} takes {takes} arguments" if given > takes and "..." not in usage else ""


@every_document
def test_every_command_shown_exists_with_its_options(document: Path) -> None:
    wrong = {command: said for command in commands(document) if (said := complaint_about(command))}

    assert wrong == {}


@pytest.mark.parametrize(
    "command",
    ["watcher releases", "watcher release create --colour blue", "watcher release undo", "watcher status one"],
)
def test_a_command_that_does_not_exist_would_be_noticed(command: str) -> None:
    assert complaint_about(command)


def test_the_documents_show_every_command() -> None:
    shown = {f"{command} " for document in DOCUMENTS for command in commands(document)}
    wanted = (subcommands() - {"release"}) | {f"release {name}" for name in subcommands("release")}

    assert len(wanted) > 10
    assert {one for one in wanted if not any(found.startswith(f"watcher {one} ") for found in shown)} == set()


# -- links and paths --------------------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_every_link_into_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.is_file(), f"{document.name} links to {target}"
        assert file.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(file), f"{document.name} links to {target}"


@every_document
def test_every_path_named_exists(document: Path) -> None:
    named = re.findall(r"`((?:watcher|tests|deploy|rules|docs|scripts|requirements)/[\w./-]*)`", prose(document))

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_module_of_core_and_engine_is_in_the_table_of_words() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    modules = [*(ROOT / "watcher/core").rglob("*.py"), *(ROOT / "watcher/engine").glob("*.py")]
    plumbing = {"__init__", "models", "effects", "observed", "readings", "turn", "blind", "clock", "logging"}
    missing = [m.stem for m in modules if m.stem not in plumbing and str(m.relative_to(ROOT)) not in text]

    assert missing == []


# -- tables -----------------------------------------------------------------------------------------------------------


def documented(name: str) -> dict[str, str]:
    """The table of keys of a document: default by path."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    return {cells[0].strip("`"): cells[1].strip("`") for cells in rows(text, "| key | default | meaning |")}


@pytest.mark.parametrize(
    ("name", "model"), [("applications.md", Spec), ("rules.md", Rule), ("settings.md", Settings)], ids=str
)
def test_the_table_has_every_key_with_its_default(name: str, model: type[BaseModel]) -> None:
    as_above = re.compile(
        r"(tests\.(verification|health)|hooks\.(preSwitch|postSwitch|postRollback|onFailure))\[\]\."
        r"|hooks\.preDeploy\[\]\.job\.|.*\.parallel\[\]\."
        r"|.*\.job\.manifest\."  # what a Job has is for Kubernetes to say
    )
    wanted = {key: default for key, default in keys(model) if not as_above.match(key)}

    assert documented(name) == wanted


def test_every_reason_in_the_code_is_explained_and_refusals_are_marked() -> None:
    text = (ROOT / "docs/releases.md").read_text("utf-8")
    table = list(rows(text, "| phase | reason | means |"))
    shown = {re.findall(r"`([^`]+)`", cells[1])[0] for cells in table}
    marked = {re.findall(r"`([^`]+)`", cells[1])[0] for cells in table if "(5)" in cells[1]}
    source = "".join(file.read_text("utf-8") for file in (ROOT / "watcher/core/lifecycle").glob("*.py"))
    patterns = (
        r'(?:\.fail|go_back|Diagnosis)\(\s*"([A-Za-z/]+)"',
        r'\.end\(\s*Phase\.\w+,\s*"(\w+)"',
        r'return \(?\s*"([A-Z]\w+)",\s',
        r'"(\w+)"\) (?:if|else)',
        r'else \("\w+", "(\w+)"\)',
    )
    used = {found for pattern in patterns for found in re.findall(pattern, source)}

    assert used - shown == set()
    assert marked == REFUSALS
    unknown = {reason for reason in shown if f'"{reason.partition("/")[0]}' not in source.replace('f"', '"')}
    assert unknown == set()


def test_every_phase_exit_status_scenario_and_placeholder_is_explained() -> None:
    releases = (ROOT / "docs/releases.md").read_text("utf-8")
    phases = {name for cells in rows(releases, "| phase | does | leaves to |") for name in cells[0].split(", ")}
    exits = {int(cells[0]) for cells in rows(releases, "| exit status | means |")}
    demo = (ROOT / "docs/demo.md").read_text("utf-8")
    scenarios = {cells[0].strip("`") for cells in rows(demo, "| scenario | what happens | ends |")}

    assert phases == {phase.value for phase in Phase}
    assert exits == {status.value for status in Exit}
    assert scenarios == set(SCENARIOS)
    rules = (ROOT / "docs/rules.md").read_text("utf-8")
    assert [name for name in VARIABLES if f"`{name}`" not in rules] == []


def test_the_packs_rules_are_all_named() -> None:
    text = (ROOT / "docs/rules.md").read_text("utf-8")
    for pack in (ROOT / "rules").glob("*.yaml"):
        (content,) = parse(pack.read_text("utf-8"))
        (row,) = [cells for cells in rows(text, "| pack | rules |") if cells[0].startswith(f"[{pack.stem}]")]
        assert set(re.findall(r"`([^`]+)`", row[1])) == {rule["name"] for rule in content["spec"]["rules"]}


def test_the_metrics_named_are_those_that_the_daemon_has() -> None:
    text = (ROOT / "docs/metrics.md").read_text("utf-8")
    table = text.partition("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")[2].partition("\n\n")[0]
    names = {row(family).split("`")[1] for family in families()}
    everywhere = {name for file in DOCUMENTS for name in re.findall(r"`(watcher_[a-z_]+)", file.read_text("utf-8"))}

    assert table.splitlines() == [row(family) for family in families()], "python -m tests.packaging.exported prints it"
    assert everywhere - names == set()


def test_the_documents_speak_plainly() -> None:
    """No emoji, no trailing space, no address of this machine."""
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        assert not re.search(r"[\U0001f000-\U0001ffff\u2600-\u27bf]", text), document.name
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), document.name
        assert str(ROOT) not in text, document.name
