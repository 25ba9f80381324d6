"""`watcher rules show`: the rules in force, rendered; and clear words where there is nothing to show."""

from __future__ import annotations

import json
from pathlib import Path

import promql_parser
import pytest
from typer.testing import CliRunner, Result

from watcher.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DEMO = ["--config", str(ROOT / "rules"), "--config", str(ROOT / "watcher/demo/config")]


def show(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rules", "show", *arguments], env={"WATCHER_CONFIG": ""})


def test_a_rule_is_shown_as_it_will_be_asked_with_its_times() -> None:
    done = show("chatbot-platform", *DEMO, "--color", "blue")

    assert done.exit_code == 0
    assert "blue is watched for 20s after green, every 1s, mode enforce" in done.stdout
    block = done.stdout.partition("resources/cpu:")[2].partition("\n\n")[0]
    assert block.startswith(" > 0.15 for 3s: rollback"), "the Application's later entry overrides its earlier one"
    assert 'color="blue"}[10s])' in block
    assert "11 times, from 10s to 20s after the switch (warm-up 10s)" in block
    assert "at least 50" in done.stdout
    assert "{{" not in done.stdout


def test_json_has_every_rule_in_force() -> None:
    found = json.loads(show("chatbot-platform", *DEMO, "--json").stdout)

    by_id = {rule["id"]: rule for rule in found["rules"]}
    assert (found["color"], found["previousColor"]) == ("green", "blue")
    assert by_id["resources/cpu"]["threshold"] == {"above": "0.15"}
    assert (by_id["http/error-rate"]["first"], by_id["http/error-rate"]["last"]) == ("10s", "20s")
    assert by_id["http/error-rate"]["evaluations"] == 11


def test_merged_prints_one_request_that_holds_every_query() -> None:
    done = show("chatbot-platform", *DEMO, "--merged")

    promql_parser.parse(done.stdout.strip())
    assert done.stdout.count('"watcher_rule"') == 14


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chatbot-platfrom", *DEMO], 'there is no Application chatbot-platfrom: did you mean "chatbot-platform"?'),
        (["shop", *DEMO], "there is no Application shop: there is chatbot-platform"),
        (["chatbot-platform", *DEMO, "-n", "other"], "in namespace other: there is none in these files"),
        (["chatbot-platform", *DEMO, "--color", "gren"], 'gren is no colour: did you mean "green"?'),
        (["chatbot-platform", "--config", "/nowhere"], "/nowhere:1:1: does not exist"),
        (["chatbot-platform", "--config", str(ROOT / "watcher/demo/config")], 'there is no RuleSet "http"'),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(arguments: list[str], said: str) -> None:
    done = show(*arguments)

    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_two_applications_of_one_name_are_told_apart_by_their_namespace(tmp_path: Path) -> None:
    text = (ROOT / "deploy/base/config/chatbot-platform.yaml").read_text("utf-8")
    (tmp_path / "one.yaml").write_text(text, "utf-8")
    (tmp_path / "two.yaml").write_text(text.replace("chatbot-platform-prod", "staging"), "utf-8")
    config = ["--config", str(ROOT / "rules"), "--config", str(tmp_path)]

    assert "say which with --namespace" in show("chatbot-platform", *config).stderr
    assert "staging/chatbot-platform:" in show("chatbot-platform", *config, "-n", "staging").stdout


def test_a_rule_that_is_never_evaluated_is_shown_as_such(tmp_path: Path) -> None:
    text = (ROOT / "watcher/demo/config/application.yaml").read_text("utf-8")
    (tmp_path / "app.yaml").write_text(text.replace("duration: 20s", "duration: 5s"), "utf-8")

    done = show("chatbot-platform", "--config", str(ROOT / "rules"), "--config", str(tmp_path))

    assert "never: its warm-up of 10s is longer than the watch" in done.stdout
