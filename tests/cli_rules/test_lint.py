"""`watcher rules lint`: places, formats, exit statuses; and no text whatever gives a traceback."""

from __future__ import annotations

import json
import random
import re
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from watcher.cli.main import app
from watcher.core.lint.applications import lint_applications
from watcher.core.lint.files import lint
from watcher.core.lint.reach import Scrapes
from watcher.engine.config import KINDS

ROOT = Path(__file__).resolve().parents[2]
MISTAKES = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleSet
metadata: {name: shop}
spec:
  rules:
    - name: unknown-key
      query: max(queue_length{namespace="{{ namespace }}",color="{{ color }}"})
      treshold: {above: 200} # 1: misspelt
      threshold: {above: 200}

    - name: unknown-variable
      query: max(queue_length{namespace="{{ namespace }}",color="{{ colour }}"}) # 2: no such variable
      threshold: {above: 200}

    - name: not-promql
      query: |
        max(
          queue_length{namespace="{{ namespace }}",color="{{ color }}"}
        ) / # 3: nothing follows
      threshold: {above: 200}

    - name: no-function
      query: |
        sum(rate(requests_total{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))
        + sum(rat(requests_total{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}])) # 4: no such function
      threshold: {above: 200}

    - name: both-colours
      query: max(queue_length{namespace="{{ namespace }}"}) # 5: whose queue?
      threshold: {above: 200}

    - name: counter
      query: |
        sum(
          requests_total{namespace="{{ namespace }}",color="{{ color }}"} # 6: since the pod's start
        )
      threshold: {above: 200}

    - name: short-window
      query: sum(rate(requests_total{namespace="{{ namespace }}",color="{{ color }}"}[20s])) # 7: one scrape
      threshold: {above: 200}

    - name: no-le
      query: |
        histogram_quantile(0.99,
          sum by (code) (rate(seconds_bucket{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))) # 8
      reduce: max
      threshold: {above: 500ms}

    - name: empty-numerator
      query: |
        sum(rate(requests_total{namespace="{{ namespace }}",color="{{ color }}",code="500"}[{{ window }}])) # 9: none
        / sum(rate(requests_total{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))
      threshold: {above: 1%}
      traffic:
        query: sum(increase(requests_total{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))
        atLeast: 50

    - name: out-of-reach
      query: sum(rate(requests_total{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))
      threshold: {below: 0} # 10: a rate is never negative
"""
FOUND = [
    (8, 7, "BW001"),
    (12, 66, "BW002"),
    (19, 11, "BW101"),
    (25, 15, "BW101"),
    (29, 18, "BW201"),
    (35, 11, "BW301"),
    (40, 87, "BW303"),
    (46, 11, "BW406"),
    (52, 18, "BW401"),
    (61, 7, "BW501"),
]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["rules", "lint", *map(str, arguments)])


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    file = tmp_path / "mistakes.yaml"
    file.write_text(MISTAKES, "utf-8")
    return file


def test_ten_planted_mistakes_are_ten_findings_at_their_places(mistakes: Path) -> None:
    done = run(mistakes, "--format", "json")

    found = json.loads(done.stdout)["findings"]
    assert [(one["line"], one["column"], one["code"]) for one in found] == FOUND
    assert done.exit_code == 1
    planted = [number for number, line in enumerate(MISTAKES.splitlines(), 1) if re.search(r" # \d", line)]
    assert [line for line, _, _ in FOUND] == planted


def test_text_has_a_line_for_each_finding_and_a_count(mistakes: Path) -> None:
    done = run(mistakes)

    lines = done.stdout.splitlines()
    assert len(lines) == 11
    assert lines[0] == f'{mistakes}:8:7: BW001 error: unknown key "treshold": did you mean "threshold"?'
    assert lines[3].startswith(f"{mistakes}:25:15: BW101 error: shop/no-function: unknown function with name 'rat'")
    assert lines[3].endswith('did you mean "rate"?')
    assert lines[-1] == "10 errors in 1 file; docs/lint.md explains each code."


def test_github_gets_annotations_escaped_as_the_runner_wants_them(tmp_path: Path) -> None:
    file = tmp_path / "100%,a:b.yaml"
    text = 'query: (sum(rate(a_total{color="{{ color }}",x="%\\n,:"}[1m])))\nthreshold: {above: 5s}\n'
    body = "".join(f"      {line}\n" for line in text.splitlines())
    head = "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: RuleSet\nmetadata: {name: a}\nspec:\n  rules:\n"
    file.write_text(f"{head}    - name: b\n{body}", "utf-8")

    done = run(file, "--format", "github")

    (line,) = done.stdout.splitlines()
    place, _, message = line.removeprefix("::warning ").partition("::")
    assert place == f"file={tmp_path}/100%25%2Ca%3Ab.yaml,line=7,col=24,title=BW203"
    assert message.startswith("a/b: a_total counts every namespace's: add namespace=")
    assert done.exit_code == 1


def test_a_line_break_or_a_percent_sign_in_a_message_does_not_end_an_annotation(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text('"kind\\n::error::50%": 1\n', "utf-8")

    lines = run(file, "--format", "github").stdout.splitlines()

    assert all(line.startswith("::error file=") for line in lines)
    assert all("%" not in line.replace("%25", "") for line in lines)


def test_nothing_found_is_exit_status_0_in_every_format() -> None:
    rules = ROOT / "rules/http.yaml"

    assert (run(rules).exit_code, run(rules).stdout) == (0, "Nothing to say about 1 file.\n")
    assert json.loads(run(rules, "--format", "json").stdout) == {"files": [str(rules)], "findings": []}
    assert (run(rules, "--format", "github").exit_code, run(rules, "--format", "github").stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere"], "/nowhere:1:1: does not exist"),
        ([str(ROOT / "tests/cli_rules")], "there is no *.yaml in"),
        ([str(ROOT / "rules"), "--scrape-interval", "15"], '"15" is no duration: did you mean "15s"?'),
        ([str(ROOT / "rules"), "--scrape-interval", "0s"], "write a duration above zero"),
        ([str(ROOT / "rules"), "--format", "yaml"], "yaml"),
        ([], "paths"),
    ],
)
def test_what_cannot_be_linted_is_exit_status_2(arguments: list[str], said: str) -> None:
    done = run(*arguments)

    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_examples_application_is_linted_with_the_rules_that_it_uses() -> None:
    """Its windows are made for a Prometheus that scrapes every second or two, as the demo's does."""
    demo = ROOT / "watcher/demo/config"

    assert run(ROOT / "rules", demo, "--scrape-interval", "2s").exit_code == 0
    done = run(ROOT / "rules", demo)
    assert done.exit_code == 1
    assert set(re.findall(r"BW\d+", done.stdout)) == {"BW303"}
    alone = run(demo)
    assert 'BW003 error: there is no RuleSet "http" among these files' in alone.stdout


def test_the_deployments_files_have_no_findings() -> None:
    assert run(ROOT / "rules", ROOT / "deploy/base/config").stdout.startswith("Nothing to say")


SOURCES = [file.read_text("utf-8") for file in sorted((ROOT / "rules").glob("*.yaml"))] + [MISTAKES]
SOURCES += [file.read_text("utf-8") for file in sorted((ROOT / "watcher/demo/config").glob("*.yaml"))]
PIECES = ["(", ")", "[", "]", "{", "}", "{{", "}}", '"', "'", "`", "\\", "=~", "!~", ",", ":", "-", "/", "%", "^", "\n"]
PIECES += [" offset ", "[5m:1s]", " by (le) ", " or vector(0)", "sum(", "rate(", "1e309", "0x", "#", "&a ", "*a", "\t"]
PIECES += [
    "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    "\x00",
    "é",
    "{{ window }}",
    "9" * 400,
]


def broken(seed: int) -> str:
    """A shipped file with a few things wrong."""
    chance = random.Random(seed)
    text = chance.choice(SOURCES)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        length = chance.choice([0, 0, 1, 3, 20, 200])
        match chance.randrange(4):
            case 0:
                text = text[:at] + chance.choice(PIECES) + text[at + length :]
            case 1:
                text = text[:at] + text[at + length :]
            case 2:
                other = chance.randrange(len(text))
                text = text[:at] + text[other : other + length] + text[at:]
            case _:
                text = text[:at] + chance.choice(PIECES) * chance.choice([2, 50, 3000]) + text[at:]
    return text


@pytest.mark.parametrize("block", range(3))
def test_no_broken_variant_of_a_shipped_file_gives_a_traceback(block: int) -> None:
    """And whatever is found has a place within the file."""
    scrapes = Scrapes(timedelta(seconds=15))
    for seed in range(block * 100, (block + 1) * 100):
        text = broken(seed)
        try:
            linted = lint({"a.yaml": text}, KINDS, scrapes)
            lint_applications(linted, scrapes)
            found = linted.all(["application"])
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        lines = len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text))
        assert all(1 <= one.line <= lines and one.column >= 1 and str(one) for one in found), f"seed {seed}"
