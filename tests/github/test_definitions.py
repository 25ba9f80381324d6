"""Action, workflows and every example of them are what GitHub takes, fit each other, and are told as they are."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from action import ends
from action.inputs import COMMANDS, ON_CANCEL, UNTIL
from action.view import outputs, value
from tests.github.runner import action
from tests.packaging.rendered import ROOT, parse
from tests.packaging.test_docs import blocks, rows
from watcher.cli.release import REFUSALS, Exit
from watcher.core.application import COLORS
from watcher.core.release import TERMINAL, TRAFFIC_MOVED, Phase
from watcher.core.units import _PLAIN_UNITS, format_value, parse_value

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DOCUMENT = ROOT / "docs/github.md"
HERE = "OWNER/bluegreen-watcher"
OUTPUT = re.compile(r"\b(steps|needs)\.([\w-]+)\.outputs\.([\w-]+)")


def complaints(schema: str, *files: Path) -> str:
    """What the schemas of GitHub say, as they come with check-jsonschema: nothing is fetched."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def examples() -> list[tuple[str, str]]:
    """Every workflow in every document, and where it stands."""
    return [
        (f"{document.name}:{block.line}", block.text)
        for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        for block in blocks(document)
        if block.info == "yaml" and re.search(r"^jobs:", block.text, re.MULTILINE)
    ]


def workflows() -> dict[str, dict[str, Any]]:
    texts = [(file.name, file.read_text("utf-8")) for file in WORKFLOWS] + examples()
    return {name: one for name, text in texts for one in parse(text)}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job.get("steps", ())


def test_the_action_and_the_workflows_are_what_github_takes() -> None:
    assert complaints("github-actions", ROOT / "action.yml") == ""
    assert complaints("github-workflows", *WORKFLOWS) == ""


def test_every_example_of_a_workflow_is_one_that_github_takes(tmp_path: Path) -> None:
    files = []
    for where, text in examples():
        files.append(tmp_path / f"{where.replace(':', '-')}.yml")
        files[-1].write_text(text, "utf-8")
    assert len(files) >= 5
    assert complaints("github-workflows", *files) == ""
    shown = [block for block in blocks(DOCUMENT) if block.info == "yaml"]
    assert all("jobs:" in block.text or "kind: Settings" in block.text for block in shown), "nothing is left unchecked"


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ("github-workflows", {"on": "push", "jobs": {"one": {"runs-on": "x", "steps": [{"run": "x", "witth": {}}]}}}),
        ("github-workflows", {"on": "psh", "jobs": {"one": {"runs-on": "x", "steps": [{"run": "x"}]}}}),
        ("github-actions", {"name": "x", "description": "x", "runs": {"using": "composite", "steps": [{"run": "x"}]}}),
    ],
)
def test_what_github_would_refuse_is_noticed(schema: str, wrong: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text(json.dumps(wrong), "utf-8")
    assert "wrong.yml" in complaints(schema, tmp_path / "wrong.yml")


def test_no_input_becomes_part_of_a_shells_words() -> None:
    scripts = [step["run"] for one in workflows().values() for step in steps(one) if "run" in step]
    scripts += [step["run"] for step in action()["runs"]["steps"]]
    assert len(scripts) > 5
    assert [script for script in scripts if "${{" in script] == []


def test_the_script_of_the_action_is_one_that_bash_reads_without_a_word_to_split() -> None:
    (step,) = action()["runs"]["steps"]
    assert step["shell"] == "bash"
    assert re.fullmatch(r'exec python3 -I "\$GITHUB_ACTION_PATH/action"', step["run"])


def test_every_input_reaches_the_step_and_every_output_comes_from_it() -> None:
    definition = action()
    (step,) = definition["runs"]["steps"]
    wanted = {f"INPUT_{name.upper().replace('-', '_')}": f"${{{{ inputs.{name} }}}}" for name in definition["inputs"]}
    assert step["env"] == wanted
    assert {name: one["value"] for name, one in definition["outputs"].items()} == {
        name: f"${{{{ steps.{step['id']}.outputs.{name} }}}}" for name in outputs({})
    }


@pytest.mark.parametrize("name", workflows())
def test_a_workflow_gives_what_is_taken_and_takes_what_is_set(name: str) -> None:
    workflow, definition = workflows()[name], action()
    (called,) = parse((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    reusable = called["on"]["workflow_call"]
    for id_, job in workflow["jobs"].items():
        given = {one["id"]: set(definition["outputs"]) for one in job.get("steps", ()) if _is_ours(one) and "id" in one}
        needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        for kind, source, output in OUTPUT.findall(json.dumps(job)):
            if kind == "needs":
                assert source in needs, f"{id_} does not need {source}"
                before = workflow["jobs"][source]
                assert output in (reusable["outputs"] if "uses" in before else before["outputs"])
            elif source in given:
                assert output in given[source]
        if str(job.get("uses", "")).startswith(HERE):
            _fits(job["with"], reusable["inputs"])
        for step in filter(_is_ours, job.get("steps", ())):
            _fits(step["with"], definition["inputs"])
            assert step["with"].get("command", "release") in COMMANDS
            assert "token" in step["with"] or workflow["permissions"]["id-token"] == "write"


def _is_ours(step: dict[str, Any]) -> bool:
    return str(step.get("uses", "")).startswith((HERE, "./.bluegreen-watcher"))


def _fits(given: dict[str, Any], taken: dict[str, Any]) -> None:
    assert given.keys() <= taken.keys()
    assert {name for name, one in taken.items() if one.get("required")} <= given.keys()


def test_the_reusable_workflow_hands_on_what_the_action_can_and_defaults_as_it_does() -> None:
    (called,) = parse((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    taken, ours = called["on"]["workflow_call"]["inputs"], action()["inputs"]
    for name in taken.keys() & ours.keys():
        assert str(taken[name].get("default", "")).lower() == str(ours[name].get("default", "")), name
    assert set(ours) - set(taken) == {"command", "release", "reason", "until", "token"}
    for name, output in called["on"]["workflow_call"]["outputs"].items():
        for job, taken_from in re.findall(r"jobs\.(\w+)\.outputs\.([\w-]+)", output["value"]):
            assert taken_from == name
            assert name in called["jobs"][job]["outputs"]


# -- what is said twice -----------------------------------------------------------------------------------------------


def test_the_action_ends_as_the_command_line_does() -> None:
    ours = {one.name: one.value for one in ends.Exit if one is not ends.Exit.CANCELLED}
    assert ours == {one.name if one.value else "DONE": one.value for one in Exit}
    assert ends.REFUSALS == REFUSALS
    assert {one.value for one in TERMINAL} == ends.TERMINAL
    before = set(Phase) - TERMINAL - TRAFFIC_MOVED - {Phase.SWITCHING}
    assert {one.value for one in before} | {""} == ends.BEFORE_SWITCH
    assert set(COLORS) == {"blue", "green"}


def test_a_rules_value_is_shown_in_the_unit_of_its_threshold_as_the_daemon_does() -> None:
    for unit in ("", *_PLAIN_UNITS, "/s", "MiB/s", "/min", "B/h"):
        for number in (0.0, 0.0213, 7.5, 123456.0):
            quantity = parse_value(f"3{unit}")
            shown = value({"value": number, "threshold": f"> {quantity}"})
            daemon = format_value(number, quantity.unit, 4)
            assert shown.split() == daemon.split(), unit
    assert value({"value": 0.6, "threshold": "outside 100ms to 250ms"}) == "600 ms"
    assert value({"value": 0.6, "threshold": "+20% and +50ms on before"}) == "0.6"
    assert [value({"value": one}) for one in (None, "Inf", 3)] == ["-", "Inf", "3"]


def cells(heading: str) -> dict[str, str]:
    """The second cell by each name in the first."""
    return {
        name: row[1].strip("`")
        for row in rows(DOCUMENT.read_text("utf-8"), heading)
        for name in re.findall(r"`?([\w-]+)`?", row[0])
    }


def test_the_document_has_every_input_output_command_and_exit_status() -> None:
    definition, text = action(), DOCUMENT.read_text("utf-8")
    ours = list(rows(text[text.index("## Inputs") :], "| input | default | meaning |"))
    told = {row[0].strip("`"): row[1].strip("`") for row in ours}
    assert told == {
        name: "required" if one.get("required") else str(one.get("default", ""))
        for name, one in definition["inputs"].items()
    }
    assert cells("| output | |").keys() == definition["outputs"].keys()
    assert tuple(cells("| command | needs | does |")) == COMMANDS
    assert {int(status) for status in cells("| exit status | means |")} == {one.value for one in ends.Exit}
    assert tuple(cells("| `on-cancel` | before the flip | after it |")) == ON_CANCEL
    assert all(f"`{one}`" in text for one in UNTIL)
    (called,) = parse((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    reusable = {
        name
        for row in rows(text[: text.index("## Inputs")], "| input | default | meaning |")
        for name in re.findall(r"`([\w-]+)`", row[0])
    }
    assert reusable == called["on"]["workflow_call"]["inputs"].keys()


def test_the_action_needs_nothing_but_the_standard_library() -> None:
    imported = set()
    for file in (ROOT / "action").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module).partition(".")[0])
    assert "urllib" in imported
    assert imported - sys.stdlib_module_names == {"action"}
