"""`watcher rules lint --prometheus`: what a real server knows of the metrics, and clear words when there is none."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.core.lint.document import Section, as_file, sections
from watcher.cli.main import app
from watcher.core.lint.findings import CODES
from watcher.demo.platform.prometheus import PrometheusServer, StaticTargets

APPLICATION = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: shop-prod}
spec:
  service: shop
  colors: {blue: {deployment: shop-blue}, green: {deployment: shop-green}}
  watch: {rules: [example]}
"""
GOOD = 'query: max(queue_length{namespace="{{ namespace }}",color="{{ color }}"})\nthreshold: {above: 200}\n'
Answer = Callable[[str, str], tuple[int, str, str]]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server that gives `answer(path, body)`: status, content type, text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status, kind, text = answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            with suppress(ConnectionError):  # who asked may have left
                self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def exposition(path: str, body: str) -> tuple[int, str, str]:
    """What two pods of one colour would export."""
    count = int(time.time() * 10)
    lines = ["# TYPE queue_length gauge", 'queue_length{pod="web-1"} 3', 'queue_length{pod="web-2"} 4']
    lines += ["# TYPE requests_total counter", f'requests_total{{code="200"}} {count}']
    lines += ["# TYPE request_seconds histogram"]
    lines += [f'request_seconds_bucket{{le="{le}"}} {count}' for le in ("0.1", "0.5", "1", "+Inf")]
    lines += [f"request_seconds_sum {count}", f"request_seconds_count {count}"]
    return 200, "text/plain; version=0.0.4", "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real one, which scrapes both colours every second."""
    home = tmp_path_factory.mktemp("prometheus")
    with answering(exposition) as url:
        place = url.removeprefix("http://")
        labels = {"namespace": "shop-prod", "app": "shop"}
        targets = [StaticTargets([place], {**labels, "color": color}) for color in ("blue", "green")]
        with PrometheusServer(targets, directory=home) as server:
            _until_scraped(server.url, home)
            yield server.url


def _until_scraped(url: str, home: Path) -> None:
    """Until a rate over the last minute is there for both colours."""
    query = "histogram_quantile(0.9, sum by (le) (rate(request_seconds_bucket{{color='{}'}}[1m]))) >= 0"
    give_up = time.monotonic() + 60
    import requests

    for color in ("blue", "green"):
        asked = {"query": query.format(color)}
        while not requests.get(f"{url}/api/v1/query", asked, timeout=5).json()["data"]["result"]:
            assert time.monotonic() < give_up, (home / "prometheus.log").read_text("utf-8")
            time.sleep(0.2)


def lint(tmp_path: Path, text: str, *arguments: str) -> Result:
    (tmp_path / "rules.yaml").write_text(as_file(text), "utf-8")
    if "kind: Application" not in text:
        (tmp_path / "application.yaml").write_text(APPLICATION, "utf-8")
    return CliRunner().invoke(app, ["rules", "lint", str(tmp_path), *arguments])


def codes(done: Result) -> set[str]:
    return {one["code"] for one in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize(
    "section",
    [one for one in sections() if CODES[one.code].needs == "prometheus" and one.code != "BW705"],
    ids=lambda one: one.code,
)
def test_the_documents_examples_give_what_they_are_said_to_give(
    prometheus: str, tmp_path: Path, section: Section
) -> None:
    asked = ("--prometheus", prometheus, "--format", "json")

    assert codes(lint(tmp_path, section.bad, *asked)) == {section.code}
    assert codes(lint(tmp_path, section.good, *asked)) == set()


def test_names_are_suggested_from_all_that_there_are_and_places_lie_in_the_query(
    prometheus: str, tmp_path: Path
) -> None:
    (section,) = [one for one in sections() if one.code == "BW701"]

    done = lint(tmp_path, section.bad, "--prometheus", prometheus)

    assert "rules.yaml:7:18: BW701 error: example/example: Prometheus has no queue_lenght" in done.stdout
    assert 'did you mean "queue_length"?' in done.stdout


def test_each_query_is_listed_with_what_it_gave_and_cost(prometheus: str, tmp_path: Path) -> None:
    done = lint(tmp_path, GOOD, "--prometheus", prometheus)

    line = done.stdout.splitlines()[0]
    assert line.startswith("shop-prod/shop example/example query: blue 1 series, ")
    assert line.endswith(" ms, 2 samples")
    listed = json.loads(lint(tmp_path, GOOD, "--prometheus", prometheus, "--format", "json").stdout)["queries"]
    assert [(one["color"], one["series"], one["samples"]) for one in listed] == [("blue", 1, 2), ("green", 1, 2)]
    assert 'color="green"' in listed[1]["expr"]


def test_the_scrape_interval_is_the_servers_unless_it_is_said(prometheus: str, tmp_path: Path) -> None:
    rule = (
        'query: sum(rate(requests_total{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))\n'
        "window: 10s\nthreshold: {above: 1000}\n"
    )

    assert codes(lint(tmp_path, rule, "--format", "json")) == {"BW303"}
    asked = ("--prometheus", prometheus, "--format", "json")
    assert codes(lint(tmp_path, rule, *asked)) == set()
    assert codes(lint(tmp_path, rule, *asked, "--scrape-interval", "15s")) == {"BW303"}


def api(answers: Mapping[str, Any]) -> Answer:
    """A server that knows queue_length, with other answers to some paths."""
    found = {"resultType": "vector", "result": [{"metric": {"__name__": "queue_length"}, "value": [0, "1"]}]}
    known = {
        "query": {**found, "stats": {"samples": {"totalQueryableSamples": 2_000_000}}},
        "labels": ["__name__", "namespace", "color"],
        "metadata": {},
        "targets": {"activeTargets": []},
        **answers,
    }

    def answer(path: str, body: str) -> tuple[int, str, str]:
        given = known.get(path.partition("?")[0].removeprefix("/api/v1/"))
        if isinstance(given, tuple):
            return given
        return (200, "application/json", json.dumps({"status": "success", "data": given}))

    return answer


def test_a_query_that_reads_too_much_is_expensive(tmp_path: Path) -> None:
    (section,) = [one for one in sections() if one.code == "BW705"]
    with answering(api({})) as url:
        done = lint(tmp_path, GOOD, "--prometheus", url)

    assert section.title == CODES["BW705"].title
    assert "BW705 warning: example/example: this took 0.0 s, and read 2000000 samples" in done.stdout
    assert done.exit_code == 1


STRANGE: list[Any] = [
    3,
    None,
    [],
    {"metric": 3, "value": [0, "1"]},
    {"metric": {}, "value": [0, "x"]},
    {"metric": {}, "value": 3},
]


@pytest.mark.parametrize("row", STRANGE, ids=str)
def test_an_answer_that_is_none_is_said_to_be_strange(tmp_path: Path, row: Any) -> None:
    with answering(api({"query": {"resultType": "vector", "result": [row]}})) as url:
        done = lint(tmp_path, GOOD, "--prometheus", url)

    assert done.exit_code == 2
    assert "answered with something that its HTTP API does not describe: is the address right?" in done.stderr


@pytest.mark.parametrize("path", ["metadata", "targets", "labels"])
@pytest.mark.parametrize(
    "given", [3, [], [3], {}, {"queue_length": []}, {"activeTargets": [3, {"labels": 3}]}], ids=str
)
def test_strange_words_about_metrics_and_targets_are_passed_over(tmp_path: Path, path: str, given: Any) -> None:
    with answering(api({path: given})) as url:
        done = lint(tmp_path, GOOD, "--prometheus", url)

    assert done.stderr == ""
    codes_said = set(re.findall(r"BW\d+", done.stdout))
    assert codes_said <= ({"BW702", "BW705"} if path == "labels" and given == [3] else {"BW705"})


@pytest.mark.parametrize("path", ["metadata", "targets"])
@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_targets_or_types_is_asked_for_the_rest(tmp_path: Path, path: str, status: int) -> None:
    few = {"resultType": "vector", "result": [{"metric": {"__name__": "queue_length"}, "value": [0, "1"]}]}
    with answering(api({path: (status, "text/plain", "no such thing"), "query": few})) as url:
        done = lint(tmp_path, GOOD, "--prometheus", url)

    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, "text/plain", "broken"), "answered 500 Internal Server Error: broken"),
        ((200, "text/html", "<h1>Grafana</h1>"), "answered with something that its HTTP API does not describe"),
        ((200, "application/json", '{"status": "success", "data": 3}'), "its HTTP API does not describe"),
        (
            (422, "application/json", '{"status": "error", "error": "too many series"}'),
            "refused count by (__name__, job)",
        ),
        ((401, "text/plain", "who are you"), "answered 401 Unauthorized: who are you"),
        ((503, "application/json", '{"status": "error", "error": "starting up"}'), "answered 503: starting up"),
    ],
)
def test_a_server_that_cannot_be_used_ends_the_command_with_its_words(
    tmp_path: Path, answer: tuple[int, str, str], said: str
) -> None:
    with answering(api({"query": answer})) as url:
        done = lint(tmp_path, GOOD, "--prometheus", url)

    assert (done.exit_code, done.stdout) == (2, "")
    assert f"watcher: Prometheus at {url} " in done.stderr
    assert said in done.stderr


def test_a_server_that_is_not_there_or_an_address_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    for url, said in (
        ("http://127.0.0.1:1", "could not be reached: connection refused"),
        ("prometheus:9090", "must look like http://host:port"),
    ):
        done = lint(tmp_path, GOOD, "--prometheus", url)
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_server_that_is_slow_is_left_after_the_time_out(tmp_path: Path) -> None:
    over = threading.Event()

    def slow(path: str, body: str) -> tuple[int, str, str]:
        over.wait(10)
        return 200, "text/plain", ""

    with answering(slow) as url:
        began = time.monotonic()
        done = lint(tmp_path, GOOD, "--prometheus", url, "--timeout", "0.3")
        took = time.monotonic() - began
        over.set()

    assert done.exit_code == 2
    assert "did not answer in time" in done.stderr
    assert took < 8


def test_many_quick_answers_end_at_the_time_out_as_well(tmp_path: Path) -> None:
    rules = "".join(
        f'    - name: r{index}\n      query: max(queue_length{{namespace="{{{{ namespace }}}}",'
        f'color="{{{{ color }}}}"}}) + {index}\n      threshold: {{above: 200}}\n'
        for index in range(50)
    )
    text = (
        "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: RuleSet\nmetadata: {name: example}\nspec:\n  rules:\n"
        + rules
    )

    def slow(path: str, body: str) -> tuple[int, str, str]:
        time.sleep(0.1)
        return api({})(path, body)

    with answering(slow) as url:
        done = lint(tmp_path, text, "--prometheus", url, "--timeout", "1")

    assert done.exit_code == 2
    assert "did not answer" in done.stderr


def test_a_token_is_sent_and_never_said(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("very-secret-token", "utf-8")
    answer = api({"query": (403, "text/plain", "very-secret-token is not let in")})
    with answering(answer) as url:
        done = lint(tmp_path, GOOD, "--prometheus", url, "--token-file", str(tmp_path / "token"))

    assert done.exit_code == 2
    assert "[cut] is not let in" in done.stderr
