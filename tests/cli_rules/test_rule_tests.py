"""`watcher rules test`, with a real Prometheus; and the notation of series held against promtool itself."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from tests.packaging.reference import keys
from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.adapters.prometheus.local import LocalPrometheus, NoPrometheus, Written
from watcher.cli.main import app
from watcher.core.readings import Query, Row, Series
from watcher.core.ruletest import RuleTestSpec
from watcher.core.series_notation import Gap, parse_series, parse_values
from watcher.engine.config import read_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/rule-tests.md").read_text("utf-8")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["rules", "test", *map(str, words)], env={"COLUMNS": "100"})


def example() -> str:
    """The file of tests that the document shows."""
    return DOCUMENT.partition("```yaml\n")[2].partition("```")[0]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document's tests beside the pack that they test; the working directory."""
    (tmp_path / "rules/tests").mkdir(parents=True)
    (tmp_path / "rules/http.yaml").write_text((ROOT / "rules/http.yaml").read_text("utf-8"), "utf-8")
    (tmp_path / "rules/tests/http.yaml").write_text(example(), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(files: Path, old: str, new: str) -> None:
    file = files / "rules/tests/http.yaml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_documents_example_passes(files: Path) -> None:
    done = run("rules")

    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "2 tests passed."


def test_a_failing_test_says_what_the_document_shows(files: Path) -> None:
    change(files, "outcome: breach, value: 5%, breached: false", "outcome: breach, value: 10%")

    done = run("rules")

    assert done.exit_code == 1
    assert done.stdout == DOCUMENT.partition("```text\n")[2].partition("```")[0]


def test_the_document_has_every_key_with_its_default() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", DOCUMENT.partition("## The notation")[0], re.MULTILINE)
    wanted = {
        key: default
        for key, default in keys(RuleTestSpec)
        if not re.match(r"(tests\[\]\.)?rules\[\]\.", key)  # those of an Application
    }

    assert dict(rows) == wanted


def test_json_has_every_expectation_and_what_came_of_it(files: Path) -> None:
    change(files, "verdict: rollback}", "verdict: pass}")

    done = run("rules", "--json")
    found = json.loads(done.stdout)

    assert done.exit_code == 1
    assert (found["passed"], found["failed"]) == (1, 1)
    good, wrong = found["tests"]
    assert good["ok"] is True
    assert good["suite"] == "http"
    (failed,) = [one for one in wrong["findings"] if not one["ok"]]
    assert failed["of"] == "verdict"
    assert failed["at"] == "1m30s"
    assert failed["got"].startswith("rollback: error-rate was 5%")
    line = (files / "rules/tests/http.yaml").read_text("utf-8").splitlines()[failed["line"] - 1]
    assert "verdict: pass}" in line


def test_junit_names_what_failed(files: Path) -> None:
    change(files, "value: 0}", "value: 1%}")

    done = run("rules", "--junit", "report.xml")
    suites = ET.parse(files / "report.xml").getroot()  # noqa: S314 - our own file

    assert done.exit_code == 1
    assert suites.attrib["failures"] == "1"
    (failure,) = suites.iter("failure")
    assert failure.attrib["message"] == "at 1m error-rate: expected pass, 1%, got pass 0%"


def test_a_report_that_cannot_be_written_is_said(files: Path) -> None:
    done = run("rules", "--junit", "no/such/report.xml")

    assert done.exit_code == 2
    assert "report.xml cannot be written" in done.stderr


def test_a_series_of_one_test_is_not_seen_by_the_next(files: Path) -> None:
    text = example()
    tests = text.index("    - name: one failure")
    alone = """\
    - name: nothing is left over
      input_series: []
      watch: {duration: 2m}
      expect: [{at: 1m, rule: error-rate, outcome: thin}]
    - name: not even before the switch
      input_series: []
      switchedAt: 1m
      watch: {duration: 2m}
      expect: [{at: 1m, rule: error-rate, outcome: thin}]
"""
    (files / "rules/tests/http.yaml").write_text(text[:tests] + alone + text[tests:], "utf-8")

    done = run("rules")

    assert done.exit_code == 0, done.output


def test_samples_before_the_switch_count_as_they_do_in_production(files: Path) -> None:
    change(files, "      interval: 15s\n", "      interval: 15s\n      switchedAt: 2m7s\n")
    change(files, "{at: 30s, rule: error-rate, outcome: pending}", "{at: 59s, rule: error-rate, outcome: pending}")

    assert run("rules").exit_code == 0


def test_a_comparison_finds_its_past_among_the_series_before_the_switch(tmp_path: Path) -> None:
    (tmp_path / "compare.yaml").write_text(COMPARISON, "utf-8")

    done = run(tmp_path)

    assert done.exit_code == 0, done.output


COMPARISON = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleSet
metadata: {name: speed}
spec:
  rules:
    - name: latency
      query: latency{color="{{ color }}"}
      compare: {with: [before, yesterday], tolerance: {relative: 20%, absolute: 10ms}}
---
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleTest
metadata: {name: speed}
spec:
  rules: [speed]
  tests:
    - name: twice as slow as the other colour was before
      interval: 1m
      switchedAt: 20m
      watch: {interval: 1m}
      input_series:
        - {series: 'latency{color="blue"}', values: "0.1+0x21 stale"}
        - {series: 'latency{color="green"}', values: "_x20 0.2x10"}
      expect: [{at: 5m, rule: latency, outcome: breach, value: 200ms, breached: true}]
    - name: nothing before it
      interval: 1m
      switchedAt: 20m
      watch: {interval: 1m}
      input_series: [{series: 'latency{color="green"}', values: "_x20 0.2x10"}]
      expect: [{at: 5m, rule: latency, outcome: noData, breached: false}]
"""


def test_a_query_that_prometheus_refuses_is_an_error_with_its_words(files: Path) -> None:
    rules = (files / "rules/http.yaml").read_text("utf-8")
    (files / "rules/http.yaml").write_text(rules.replace("or vector(0))", "or no_such_function(0))"), "utf-8")
    change(files, "outcome: pass, value: 0", "outcome: error")

    done = run("rules", "--json")
    findings = json.loads(done.stdout)["tests"][0]["findings"]

    (error,) = [one for one in findings if one["expected"] == "error"]
    assert error["ok"] is True
    assert "no_such_function" in error["got"]


REFUSED = [
    (["nothing"], "nothing:1:1: does not exist"),
    (["rules/http.yaml"], "there is no RuleTest in rules/http.yaml"),
    (["rules/tests/http.yaml"], "name the files of the RuleSets as well"),
]


@pytest.mark.parametrize(("paths", "said"), REFUSED, ids=str)
def test_what_cannot_be_run_is_said_with_exit_status_2(files: Path, paths: list[str], said: str) -> None:
    done = run(*paths)

    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_every_mistake_is_said_at_once_with_its_place(files: Path) -> None:
    change(files, "0+30x20", "0+30*20")
    change(files, "verdict: hold", "verdict: holds")

    done = run("rules")

    assert done.exit_code == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        "rules/tests/http.yaml:13:19",
        "rules/tests/http.yaml:28:29",
    ]


def test_a_second_rule_set_of_one_name_is_refused(files: Path) -> None:
    (files / "rules/again.yaml").write_text((files / "rules/http.yaml").read_text("utf-8"), "utf-8")

    done = run("rules")

    assert done.exit_code == 2
    assert 'a second RuleSet "http"' in done.stderr


def test_without_prometheus_one_line_says_what_to_install(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(files))

    done = run("rules")

    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "apt-get install --no-install-recommends prometheus" in done.stderr


def test_a_prometheus_that_ends_at_once_is_quoted(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "prometheus").write_text("#!/bin/sh\necho no luck today >&2\nexit 1\n", "utf-8")
    (files / "prometheus").chmod(0o755)
    monkeypatch.setenv("PATH", f"{files}:/usr/bin:/bin")

    done = run("rules")

    assert done.exit_code == 2
    assert "no luck today" in done.stderr


def test_the_daemon_reads_over_the_tests_beside_its_rules(files: Path) -> None:
    config, problems = read_config([files / "rules"], {})

    assert problems == []
    assert config is not None
    assert set(config.rule_sets) == {"http"}


# -- the notation, and the server ------------------------------------------------------------------------------------

NOTATION = [
    "0+10x5",
    "10-2.5x4",
    "-2+4x3 7x2 _ 1",
    "1 _x3 stale 2",
    "1 _x7 2",
    "_ 1 stale _x2 3",
    "0.1+0.1x5",
    "1e3 .5 1. +7 -1.5e-2",
    "Inf -Inf 0",
    "stale 1",
    "0x10 _x2 1x1",
]
SPAN = 14
"""Minutes that are looked at; longer than Prometheus looks back."""
LOOKBACK = 5


def seen(text: str) -> list[float | None]:
    """What a query sees at each minute, when the series has one value a minute."""
    values = parse_values(text)
    found: list[float | None] = []
    for minute in range(SPAN):
        last = None
        # 2.42 looks back over an interval that is closed at both ends.
        for value in values[max(0, minute - LOOKBACK) : minute + 1]:
            last = last if value is Gap.MISSING else None if value is Gap.STALE else value
        found.append(last)
    return found


def test_promtool_reads_each_text_as_the_same_samples(tmp_path: Path) -> None:
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": "m", "values": text}],
            "promql_expr_test": [
                {
                    "expr": "m",
                    "eval_time": f"{minute}m",
                    "exp_samples": [] if value is None else [{"labels": "m", "value": _yaml(value)}],
                }
                for minute, value in enumerate(seen(text))
            ],
        }
        for text in NOTATION
    ]

    done = _promtool(tmp_path, json.dumps({"tests": tests}).replace('"@', "").replace('@"', ""))

    assert done.returncode == 0, done.stdout + done.stderr


REFUSED_BY_BOTH = [
    "NaNx2",
    "stalex2",
    "0+Infx2",
    "1+2",
    "1,2",
    "1*3",
    "1+1X2",
    "1x1e1",
    "1x-1",
    "1_000",
    "1e400",
    "- 1",
]


@pytest.mark.parametrize("text", REFUSED_BY_BOTH)
def test_promtool_refuses_what_is_refused_here(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no value|too large"):
        parse_values(text)

    tests = [{"interval": "1m", "input_series": [{"series": "m", "values": text}], "promql_expr_test": [_ANY]}]
    done = _promtool(tmp_path, json.dumps({"tests": tests}))

    assert done.returncode != 0
    assert "parse error" in done.stdout + done.stderr


_ANY = {"expr": "vector(1)", "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 1}]}


def _yaml(value: float) -> float | str:
    """JSON has no infinity; YAML writes it without quotes."""
    return value if math.isfinite(value) else "@.inf@" if value > 0 else "@-.inf@"


def _promtool(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "tests.yml").write_text(text, "utf-8")
    command = ["promtool", "test", "rules", str(tmp_path / "tests.yml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


START = datetime(2001, 1, 4, tzinfo=UTC)
ODD = 'm{a="\\"\\\\\\n}",b="é€😀"}'


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPrometheus]:
    with LocalPrometheus() as running:
        yield running


def rows(server: LocalPrometheus, query: str, minutes: int) -> Sequence[Row]:
    metrics = PrometheusMetrics(PrometheusSettings(server.url))
    end = START + timedelta(minutes=minutes - 1)
    answer = metrics.query([Query("q", query)], START, end, timedelta(minutes=1))["q"]
    metrics.close()
    return answer.rows if isinstance(answer, Series) else ()


def written(labels: dict[str, str], text: str) -> Written:
    at = START.timestamp()
    values: list[tuple[float, float | None]] = [
        (at + 60 * minute, None if value is Gap.STALE else value)
        for minute, value in enumerate(parse_values(text))
        if value is not Gap.MISSING
    ]
    return Written(labels, values)


def test_the_temporary_prometheus_sees_what_promtool_sees(server: LocalPrometheus) -> None:
    server.write(written({"__name__": "n", "case": str(k)}, text) for k, text in enumerate(NOTATION))

    found = {row.labels["case"]: row.points for row in rows(server, "n", SPAN)}

    for k, text in enumerate(NOTATION):
        times = {START.timestamp() + 60 * minute: value for minute, value in enumerate(seen(text)) if value is not None}
        assert found[str(k)] == times, text


def test_labels_and_numbers_arrive_as_they_are(server: LocalPrometheus) -> None:
    labels = dict(parse_series(ODD))
    server.write([written(labels, "0.1 1e-300 123456789.123456789")])

    (row,) = rows(server, "m", 3)

    assert row.labels == labels
    assert list(row.points.values()) == [0.1, 1e-300, 123456789.123456789]


def test_nan_is_stored_as_a_number_and_not_as_the_end(server: LocalPrometheus) -> None:
    server.write([written({"__name__": "unknown"}, "NaN")])

    (row,) = rows(server, "unknown", 2)

    assert [math.isnan(value) for value in row.points.values()] == [True, True]


def test_many_samples_arrive_in_several_requests(server: LocalPrometheus) -> None:
    at = START.timestamp() + 86400
    samples = [(at + second, float(second)) for second in range(250_001)]
    server.write([Written({"__name__": "long"}, samples), Written({"__name__": "short"}, samples[:2])])

    assert [list(row.points.values()) for row in rows(server, "sum(count_over_time(long[9d] offset -8d))", 1)] == [
        [250_001]
    ]
    assert rows(server, "last_over_time(short[9d] offset -8d)", 1)


def test_what_prometheus_refuses_is_said(server: LocalPrometheus) -> None:
    late, early = [(START.timestamp() + 60, 1.0)], [(START.timestamp(), 2.0)]
    server.write([Written({"__name__": "backwards"}, late)])

    with pytest.raises(NoPrometheus, match=r"refused the series with 400: .*out of order"):
        server.write([Written({"__name__": "backwards"}, early)])


def test_nothing_is_left_of_it_afterwards() -> None:
    with LocalPrometheus() as running:
        process, home = running._process, running._home
        assert process is not None
        assert home is not None
        assert process.poll() is None

    assert process.poll() is not None
    assert not home.exists()


def test_it_ends_when_its_user_fails() -> None:
    running = LocalPrometheus()
    with pytest.raises(ZeroDivisionError), running:
        _fail(running)

    assert running._process is None


def _fail(running: LocalPrometheus) -> None:
    assert running._process is not None
    _ = 1 / 0
