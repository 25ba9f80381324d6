"""Secrets that files refer to: looked for when the files are read, read when they are sent, and told to nobody else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.adapters.conftest import Asked, reply
from tests.support.acting import NoJobs, application, until
from tests.support.clock import HandClock
from watcher.adapters.secrets import REDACTOR, SecretFiles
from watcher.core.checks import Check, Hook
from watcher.core.observed import CheckResult
from watcher.engine.blind import NoMetrics
from watcher.engine.checks import Checks, Key
from watcher.engine.config import Files, read_config
from watcher.engine.logging import redact
from watcher.engine.probes import probes

A: Key = ("prod", "chat-x7k2p")

SETTINGS = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Settings
secrets: {directory: %s}
"""

APPLICATION = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: prod}
spec:
  service: shop
  colors: {blue: {deployment: shop-blue}, green: {deployment: shop-green}}
  tests:
    smoke:
      - http:
          path: /
          headers:
            Authorization: Bearer {{ secrets.chat-token }}
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A directory of secrets as the kubelet mounts one: files behind links."""
    directory = tmp_path / "secrets"
    (directory / "..2026").mkdir(parents=True)
    (directory / "..data").symlink_to("..2026")
    return directory


def keep(directory: Path, name: str, value: str) -> None:
    (directory / "..2026" / name).write_text(value + "\n", "utf-8")
    if not (directory / name).exists():
        (directory / name).symlink_to(Path("..data") / name)


def files(tmp_path: Path, kept: Path) -> list[Path]:
    directory = tmp_path / "config"
    directory.mkdir()
    (directory / "watcher.yaml").write_text(SETTINGS % kept, "utf-8")
    (directory / "app.yaml").write_text(APPLICATION, "utf-8")
    return [directory]


def test_a_reference_to_nothing_is_refused_where_it_stands(tmp_path: Path, kept: Path) -> None:
    keep(kept, "chat-tokens", "value-4700")
    config, (problem,) = read_config(files(tmp_path, kept), {})
    assert config is None
    assert str(problem).partition("config/")[2] == (
        'app.yaml:12:28: there is no secret chat-token: did you mean "{{ secrets.chat-tokens }}"?'
    )


def test_a_secret_that_is_added_later_makes_the_files_right(tmp_path: Path, kept: Path) -> None:
    read = Files(files(tmp_path, kept), {})
    assert read.read()[0] is None
    keep(kept, "chat-token", "value-4700")
    config, problems = read.read()
    assert problems == []
    assert config is not None
    (kept / "chat-token").unlink()
    assert read.read()[0] is None


def test_whoever_reads_the_files_elsewhere_needs_no_secrets(tmp_path: Path, kept: Path) -> None:
    config, problems = read_config(files(tmp_path, kept), {}, secrets_elsewhere=True)
    assert (config is not None, problems) == (True, [])


def test_a_secret_in_the_clear_is_refused_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(APPLICATION.replace("{{ secrets.chat-token }}", "abcdefghijkl"), "utf-8")
    config, (problem,) = read_config([tmp_path], {})
    assert config is None
    assert (problem.line, problem.message) == (12, "the header Authorization stands in the clear")
    assert "abcdefgh" not in str(problem)


def test_the_directory_may_come_from_the_environment(tmp_path: Path, kept: Path) -> None:
    keep(kept, "chat-token", "value-4700")
    (tmp_path / "app.yaml").write_text(APPLICATION, "utf-8")
    config, problems = read_config([tmp_path / "app.yaml"], {"WATCHER_SECRETS_DIRECTORY": str(kept)})
    assert (config is not None, problems) == (True, [])


def echo(asked: Asked, send: Callable[[bytes], None], _: Any) -> None:
    """Refuses what it is asked, and says all of it."""
    said = {"path": asked.path, "body": asked.body.decode(), **asked.headers}
    send(reply(403, json.dumps(said | {"as base64": base64.b64encode(json.dumps(said).encode()).decode()})))


def run(found: Check | Hook, url: str, secrets: Path) -> CheckResult:
    checks = Checks(lambda _: None, HandClock(), NoJobs(), NoMetrics(), secret=SecretFiles(lambda: str(secrets)).value)
    try:
        checks.start(A, "one", probes(found, [url], value=checks.secret))
        until(lambda: not checks.results(A)["one"].running, "the result")
        return checks.results(A)["one"]
    finally:
        checks.stop()


def test_what_is_sent_has_the_secrets_and_what_is_told_has_none(serve: Callable[..., Any], kept: Path) -> None:
    value = 'pass"4701 /&'
    keep(kept, "one", value)
    server = serve(echo)
    http = {
        "path": "/x/{{ secrets.one }}?k={{ secrets.one }}",
        "method": "POST",
        "headers": {"X-Key": "Key {{ secrets.one }}"},
        "body": '{"deep": ["{{ secrets.one }}"]}',
        "within": "0s",
    }
    result = run(Check.model_validate_json(json.dumps({"http": http})), server.url, kept)
    assert server.asked, result.message
    (asked,) = server.asked
    assert asked.path == f"/x/{quote(value, safe='')}?k={quote(value, safe='')}"
    assert json.loads(asked.body) == {"deep": [value]}
    assert not result.ok
    assert "403" in result.message
    assert "[cut]" in result.output
    for form in ("4701", quote(value, safe=""), base64.b64encode(value.encode()).decode()[:12]):
        assert form not in f"{result}"


def test_a_hook_may_be_sent_to_an_address_that_is_a_secret(serve: Callable[..., Any], kept: Path) -> None:
    server = serve(lambda _, send, __: send(reply(500, "not at /hook-4702 now")))
    keep(kept, "url", f"{server.url}/hook-4702")
    hook = Hook.model_validate_json(json.dumps({"http": {"url": "{{ secrets.url }}"}}))
    assert hook.http
    result = run(hook, hook.http.url, kept)
    assert [asked.path for asked in server.asked] == ["/hook-4702"]
    assert not result.ok
    assert server.url not in f"{result}"


def test_a_secret_that_is_replaced_counts_for_the_next_try(serve: Callable[..., Any], kept: Path) -> None:
    keep(kept, "one", "value-4703")
    seen: list[str] = []

    def script(asked: Asked, send: Callable[[bytes], None], _: Any) -> None:
        seen.append(asked.headers["x-key"])
        keep(kept, "one", "value-4704")
        send(reply(200 if asked.headers["x-key"] == "value-4704" else 401, f"not {seen[0]} then"))

    http = {"path": "/", "headers": {"X-Key": "{{ secrets.one }}"}, "every": "10ms", "within": "30s"}
    result = run(Check.model_validate_json(json.dumps({"http": http})), serve(script).url, kept)
    assert result.ok
    assert seen == ["value-4703", "value-4704"]
    assert "4703" not in REDACTOR.cut("was value-4703"), "what was replaced is still nobody's to know"


def test_a_check_whose_secret_went_away_fails_and_says_which(serve: Callable[..., Any], kept: Path) -> None:
    server = serve(lambda _, send, __: send(reply(200)))
    http = {"path": "/", "headers": {"X-Key": "{{ secrets.gone }}"}, "within": "0s"}
    result = run(Check.model_validate_json(json.dumps({"http": http})), server.url, kept)
    assert not result.ok
    assert "could not be sent: the secret gone cannot be read (No such file or directory)" in result.message
    assert server.asked == []


def test_a_log_line_has_none_of_them(kept: Path) -> None:
    keep(kept, "one", "value-4705")
    assert SecretFiles(lambda: str(kept)).value("one") == "value-4705"
    found = redact(None, "", {"event": "sent value-4705", "evidence": {"a": ["x value-4705 y"]}})
    assert "4705" not in f"{found}"


def test_an_application_without_secrets_needs_no_directory(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(json.dumps(application()), "utf-8")
    config, _ = read_config([tmp_path], {})
    assert config is not None
