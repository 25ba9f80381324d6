"""`watcher rules schema`: what is published is what the models say, and every shipped file fits it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.cli_rules.json_schema import complaints
from watcher.cli.main import app
from watcher.cli.rules.schema import schemas, text_of
from watcher.core.units import Invalid, parse_duration, parse_value

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"RuleSet": "ruleset", "Application": "application", "Settings": "settings", "RuleTest": "ruletest"}


def shipped() -> list[tuple[str, str, dict[str, Any]]]:
    """Every document of ours that comes with the project: file, kind, content."""
    files = [*ROOT.glob("rules/**/*.yaml"), *ROOT.glob("deploy/**/config/*.yaml"), *ROOT.glob("watcher/demo/config/*")]
    return [
        (str(file.relative_to(ROOT)), one["kind"], json.loads(json.dumps(one, default=str)))
        for file in sorted(files)
        for one in YAML(typ="safe", pure=True).load_all(file.read_text("utf-8"))
        if isinstance(one, dict) and one.get("kind") in KINDS
    ]


@pytest.mark.parametrize("name", ["ruleset", "application", "settings", "ruletest"])
def test_the_committed_schema_is_the_one_that_the_models_give(name: str) -> None:
    file = ROOT / "docs/schema" / f"{name}.json"
    cure = f"the models changed: run .venv/bin/watcher rules schema {name} > docs/schema/{name}.json"

    assert file.read_text("utf-8") == text_of(schemas()[name]), cure


def test_the_command_prints_it() -> None:
    for arguments, name in ((["ruleset"], "ruleset"), (["RuleSet"], "ruleset"), ([], "any")):
        done = CliRunner().invoke(app, ["rules", "schema", *arguments])
        assert (done.exit_code, json.loads(done.stdout)) == (0, schemas()[name])


def test_a_kind_that_there_is_not_is_refused_with_what_was_meant() -> None:
    done = CliRunner().invoke(app, ["rules", "schema", "aplication"])

    assert done.exit_code == 2
    assert 'did you mean "application"?' in done.stderr


@pytest.mark.parametrize(("file", "kind", "content"), shipped(), ids=[f"{file}-{kind}" for file, kind, _ in shipped()])
def test_every_shipped_file_is_valid_by_the_schema_of_its_kind_and_by_that_of_all(
    file: str, kind: str, content: dict[str, Any]
) -> None:
    assert list(complaints(schemas()[KINDS[kind]], content)) == [], file
    assert list(complaints(schemas()["any"], content)) == [], file


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"treshold": {"above": 1}}, "does not know treshold"),
        ({"window": "1 minute"}, "does not match"),
        ({"threshold": {"above": "1 percent"}}, "does not match"),
        ({"onBreach": "revert"}, "is none of"),
        ({"breaches": {"count": 0, "of": 2}}, "out of bounds"),
    ],
)
def test_an_editor_marks_what_is_wrong(change: dict[str, Any], said: str) -> None:
    rule = {"name": "a", "query": "up", "threshold": {"above": "1%"}, **change}
    content = {"apiVersion": "watcher.bluegreen.dev/v1alpha1", "kind": "RuleSet", "metadata": {"name": "x"}}
    content["spec"] = {"rules": [rule]}

    for name in ("ruleset", "any"):
        (found,) = complaints(schemas()[name], content)
        assert said in found


def test_every_key_of_a_rule_is_described_and_no_default_is_in_a_machines_words() -> None:
    rule = schemas()["ruleset"]["$defs"]["Rule"]["properties"]
    text = json.dumps(schemas())

    assert [key for key, value in rule.items() if not value.get("description")] == []
    assert rule["window"]["default"] == "1m"
    assert not re.search(r'"default": (null|"PT?\d)', text)


@pytest.mark.parametrize(
    "given", ["1%", "250ms", "2GiB", "10/s", "1e3", "-.5", "0.1/min", "5MiB/s", "1 %", "m", "5m", ""]
)
def test_the_pattern_of_values_takes_what_the_reader_takes(given: str) -> None:
    pattern = schemas()["ruleset"]["$defs"]["Threshold"]["properties"]["above"]["pattern"]
    try:
        parse_value(given)
    except Invalid:
        assert not re.search(pattern, given)
    else:
        assert re.search(pattern, given)


@pytest.mark.parametrize("given", ["30s", "1m30s", "1.5h", "250ms", "1w2d", "30", "s", "1 m", ""])
def test_the_pattern_of_durations_takes_what_the_reader_takes(given: str) -> None:
    pattern = schemas()["ruleset"]["$defs"]["Rule"]["properties"]["window"]["pattern"]
    try:
        parse_duration(given)
    except Invalid:
        assert not re.search(pattern, given)
    else:
        assert re.search(pattern, given)
