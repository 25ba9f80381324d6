"""The daemon's surroundings at their worst: an API server with moods, broken files, a server that repeats secrets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scenarios.conftest import Led
from tests.support.acting import ERRORS, GOOD, Selector, application, condition, events, kubectl, write
from tests.support.proxy import Fault, drop_answer, hang, refuse
from watcher.core.release import Phase
from watcher.demo.platform.manifests import NAMESPACE
from watcher.demo.stage import Stage

SERVICE = r"/services/chatbot-platform$"
STATUS = r"/releases/[^/]+/status$"
SWAP = '"replace", "path": "/spec/selector/color", "value": '

MOODS: dict[str, Fault] = {
    "no-answer-although-done": drop_answer,
    "never-answers": hang,
    "conflict": refuse(409),
    "too-many-requests": refuse(429, retry_after="1"),
    "internal-error": refuse(500),
}


@pytest.mark.parametrize("mood", MOODS)
def test_each_flip_is_made_and_recorded_once_whatever_mood_the_api_server_is_in(
    mood: str, led: Callable[..., Led]
) -> None:
    found = led(rules=False)
    stage, proxy = found.stage, found.proxy
    struck = [
        proxy.on("PATCH", SERVICE, MOODS[mood], body=SWAP + '"green"'),
        proxy.on("PATCH", STATUS, MOODS[mood], body='"RollingBack"'),
        proxy.on("PATCH", SERVICE, MOODS[mood], body=SWAP + '"blue"'),
        proxy.on("PATCH", STATUS, MOODS[mood], body='"flips"', first=2),
    ]
    with Selector(stage) as selector:
        release = stage.release(GOOD)
        stage.follow(release, lambda r: r.phase is Phase.WATCHING, 60, "the watch")
        stage.hands.command(NAMESPACE, release.name, "rollback", {"by": "ada"})
        ended = stage.follow(release, lambda r: r.phase.terminal, 60, "the end")
        assert ended.phase is Phase.ROLLED_BACK, ended.status.message
        assert [(f.index, f.to) for f in ended.status.flips] == [(1, "green"), (2, "blue")]
        selector.was("blue", "green", "blue")
    assert [rule.body for rule in struck if not rule.struck.is_set()] == []


def test_an_api_server_that_keeps_refusing_is_not_asked_in_a_tight_loop(led: Callable[..., Led]) -> None:
    found = led(rules=False)
    rule = found.proxy.on("PATCH", STATUS, refuse(409), times=0)
    found.stage.release(GOOD)
    assert rule.struck.wait(20)
    before = len(found.proxy.asked)
    assert not threading.Event().wait(2.0)
    assert len(found.proxy.asked) - before < 40


def test_an_api_server_that_asks_for_a_rest_gets_it(led: Callable[..., Led]) -> None:
    found = led(rules=False)
    rule = found.proxy.on("PATCH", STATUS, refuse(429, retry_after="20"), times=0)
    found.stage.release(GOOD)
    assert rule.struck.wait(20)
    before = len(rule.seen)
    assert not threading.Event().wait(3.0)
    assert len(rule.seen) == before


def test_a_quiet_watch_asks_nothing_of_the_api_server(led: Callable[..., Led]) -> None:
    found = led()
    stage = found.stage
    release = stage.release(GOOD)
    stage.follow(release, lambda r: any(rule.outcome == "pass" for rule in r.status.rules), 60, "the rule to pass")
    stage.wait_for(lambda: bool(events(stage, "Service", "chatbot-platform")), "the Events to be written")
    quiet = threading.Event()
    counts: list[int] = []
    for _ in range(8):
        counts.append(len([a for a in found.proxy.asked if "watch=true" not in a.query and "leases" not in a.path]))
        assert not quiet.wait(0.5)
    assert counts[-1] == counts[2], "evaluations of rules ask nothing of the API server"


# -- S10: bad files change nothing ------------------------------------------------------------------------------------


def test_a_broken_rule_file_is_refused_with_its_place_and_the_last_good_one_stays(
    small: Callable[..., Stage], tmp_path: Path
) -> None:
    watch = {"duration": "10m", "interval": "1s", "rules": ["errors"]}
    stage = small(ERRORS, watch=watch)
    stage.wait_for(lambda: '"starts"' in stage.daemon_log.read_text("utf-8"), "the daemon to start")
    good = (tmp_path / "config" / "ruleset-errors.yaml").read_text("utf-8")
    broken = good.replace('"threshold"', '"treshold"')
    line = 1 + broken[: broken.index('"treshold"')].count("\n")
    column = broken.splitlines()[line - 1].index('"treshold"') + 1
    (tmp_path / "config" / "ruleset-errors.yaml").write_text(broken, "utf-8")
    place = f"ruleset-errors.yaml:{line}:{column}"

    def page() -> str:
        return requests.get(stage.page, timeout=5).text

    stage.wait_for(lambda: place in stage.daemon_log.read_text("utf-8"), f"the log to name {place}", 15)
    assert "treshold" in stage.daemon_log.read_text("utf-8")
    stage.wait_for(lambda: place in page(), "the page to say so", 5)
    assert "watcher_config_valid 0.0" in requests.get(f"{stage.page}metrics", timeout=5).text
    release = stage.release(GOOD)
    watching = stage.follow(release, lambda r: r.phase is Phase.WATCHING, 40, "a watch by the last good rules")
    assert watching.status.pinned is not None
    assert [rule.id for rule in watching.status.pinned.rules] == ["errors/rate"]
    (tmp_path / "config" / "ruleset-errors.yaml").write_text(good.replace('"5%"', '"7%"'), "utf-8")
    stage.wait_for(lambda: place not in page(), "the page to be clear again", 15)
    assert "watcher_config_valid 1.0" in requests.get(f"{stage.page}metrics", timeout=5).text
    later = stage.read(release)
    assert later.status.pinned is not None
    assert later.status.pinned.rules == watching.status.pinned.rules, "a watch keeps the rules that it began with"


def test_files_that_are_wrong_at_the_start_stop_it_with_every_problem_named(
    small: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = small()
    stage.kill_daemon()
    write(tmp_path / "config", application(servise="x", watch={"duration": 5}))
    stage.start_daemon()
    stage.wait_for(lambda: "servise" in stage.daemon_log.read_text("utf-8"), "the log to name the problems", 10)
    assert stage.wait_daemon() == 2
    said = stage.daemon_log.read_text("utf-8").splitlines()[-2:]
    assert any("servise" in line and "service" in line for line in said)
    assert any("without a unit" in line for line in said)


# -- S12: secrets -----------------------------------------------------------------------------------------------------

SECRETS = ("s3cr3t-bearer-0815", "s3cr3t-header-4711", "s3cr3t-path-1234")


class _Gossip(BaseHTTPRequestHandler):
    """Refuses everything, and repeats whatever it was sent."""

    heard: list[str]

    def _refuse(self) -> None:
        said = f"{self.path} {dict(self.headers)}"
        self.heard.append(said)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = f'{{"status":"error","errorType":"internal","error":{said!r:.400}}}'.encode()
        self.send_response(500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


def _gossip(heard: list[str]) -> type[_Gossip]:
    refuse = _Gossip._refuse
    return type("Gossip", (_Gossip,), {"heard": heard, "do_GET": refuse, "do_POST": refuse})


@pytest.fixture
def gossip() -> Iterator[tuple[str, list[str]]]:
    heard: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _gossip(heard))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", heard
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_secrets_are_sent_where_they_belong_and_shown_nowhere(
    small: Callable[..., Stage], gossip: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, heard = gossip
    (tmp_path / "hook").write_text(f"{url}/hooks/{SECRETS[2]}\n", "utf-8")
    (tmp_path / "secrets").mkdir()
    for name, secret in zip(("bearer", "scope"), SECRETS, strict=False):
        (tmp_path / "secrets" / name).write_text(secret, "utf-8")
    settings: dict[str, Any] = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Settings",
        "secrets": {"directory": str(tmp_path / "secrets")},
        "prometheus": {"headers": {"Authorization": "Bearer {{ secrets.bearer }}", "X-Scope": "{{ secrets.scope }}"}},
        "notifications": [{"name": "team-chat", "urlFile": str(tmp_path / "hook")}],
    }
    watch = {"duration": "10m", "interval": "1s", "rules": ["errors"]}
    stage = small(
        ERRORS,
        settings,
        watch=watch,
        environment={"WATCHER_PROMETHEUS_URL": url, "WATCHER_LOG_LEVEL": "debug"},
    )
    release = stage.release(GOOD)
    stage.follow(release, lambda r: r.phase is Phase.WATCHING and condition(r, "Blind"), 40, "the rules to be blind")
    stage.wait_for(lambda: all(any(s in said for said in heard) for s in SECRETS), "every secret to be sent")
    stage.wait_for(lambda: len([said for said in heard if SECRETS[2] in said]) > 2, "notifications to be tried again")
    trouble = ("did not", "500")
    stage.wait_for(
        lambda: any(words in stage.daemon_log.read_text("utf-8") for words in trouble), "the trouble itself to be said"
    )
    shown = {
        "log": stage.daemon_log.read_text("utf-8"),
        "page": requests.get(stage.page, timeout=5).text,
        "metrics": requests.get(f"{stage.page}metrics", timeout=5).text,
        "status and events": kubectl(stage, "get", "releases,events", "-o", "json"),
    }
    for where, text in shown.items():
        for secret in (*SECRETS, stage.cluster.token):
            assert secret not in text, f"{where} shows a secret"
