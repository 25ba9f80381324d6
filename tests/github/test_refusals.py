"""What the daemon refuses, what is no daemon at all, and what is wrong with the inputs: each told with its cure."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.conftest import Asked, Server, reply
from tests.api.conftest import APPROVER, ELSEWHERE, READER, RELEASER, Site, entry, opened
from tests.github.runner import Done, Job
from tests.support.certificates import certificate, server_context
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

WHOEVER = "somebody-0123456789abcdef"
RELEASE = {"namespace": NAMESPACE, "application": APPLICATION, "version": "2.5.0", "images": "chat=chat:2.5.0"}
Serve = Callable[..., Server]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "job")


def titled(done: Done, level: str = "error") -> list[str]:
    return [text for found, _, text in done.annotations if found == level]


# -- what the daemon refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "status", "said"),
    [
        ({"token": "nobody-0123456789abcdef"}, 1, "401: This token is not let in"),
        ({"token": READER}, 1, "403: screen does not have the role releaser"),
        ({"token": ELSEWHERE}, 1, "404: There is no Application"),
        ({"application": "shop"}, 1, "404: There is no Application shop"),
        ({"images": "Chat!=chat:2.5.0"}, 2, "422: The body is not as it should be."),
        ({"command": "wait", "release": "nobody"}, 1, "404: There is no Release nobody"),
        ({"command": "approve", "release": "nobody", "token": APPROVER}, 1, "404: There is no Release nobody"),
    ],
)
def test_what_the_daemon_refuses_is_told_with_its_words(
    inputs: dict[str, str], status: int, said: str, site: Site, job: Job
) -> None:
    done = job.run(**{"server": site.url, "token": RELEASER} | RELEASE | inputs)
    assert done.status == status, done.raw
    (message,) = titled(done)
    assert message.startswith(said)
    assert said.partition(":")[2].strip().split()[0] in done.summary
    assert done.outputs["release"] == ""
    assert inputs.get("token", RELEASER) not in done.told()
    assert site.hands.read_releases(NAMESPACE) == ()


def test_what_of_a_request_is_wrong_is_told_by_its_name(site: Site, job: Job) -> None:
    done = job.run(**{"server": site.url, "token": RELEASER} | RELEASE | {"images": "Chat!=chat:2.5.0"})
    assert "  | body images.Chat!" in done.shown


def test_an_application_that_asks_for_no_approval_cannot_be_stopped_at_it(tmp_path: Path, job: Job) -> None:
    with opened(tmp_path, {"tokens": [entry(tmp_path, "pipeline", RELEASER, "releaser")]}) as site:
        done = job.run(server=site.url, token=RELEASER, until="approval", **RELEASE)
        assert site.hands.read_releases(NAMESPACE) == ()
    assert done.status == 2
    assert "say approval: beforeSwitch in it" in titled(done)[0]


def test_where_no_run_is_known_each_step_asks_anew(site: Site, tmp_path: Path) -> None:
    for known, releases in (("4711", 1), ("", 3)):
        job = Job(tmp_path / f"job-{known}", GITHUB_RUN_ID=known)
        for _ in range(2):
            assert job.run(server=site.url, token=RELEASER, until="asked", **RELEASE).status == 0
        assert len(site.hands.read_releases(NAMESPACE)) == releases


def test_without_a_reason_the_record_says_which_run_it_was(site: Site, tmp_path: Path) -> None:
    name = site.create().json()["name"]
    job = Job(tmp_path / "job", GITHUB_SERVER_URL="https://github.example", GITHUB_TRIGGERING_ACTOR="octocat")
    inputs = {"server": site.url, "token": RELEASER, "namespace": NAMESPACE, "release": name}
    assert job.run(command="abort", until="asked", **inputs).status == 0
    (release,) = site.hands.read_releases(NAMESPACE)
    assert release.spec.abort is not None
    assert release.spec.abort.reason == "https://github.example/example/chat/actions/runs/4711 of octocat"


def test_a_job_cancelled_while_nothing_has_begun_takes_its_release_back(site: Site, job: Job) -> None:
    running = job.start(server=site.url, token=RELEASER, **RELEASE)
    running.until_it_says("releases chatbot-platform 2.5.0")
    done = running.cancel()
    assert done.status == 130, done.raw
    (release,) = site.hands.read_releases(NAMESPACE)
    assert release.spec.abort is not None
    assert release.spec.abort.by == "pipeline"
    assert done.outputs["release"] == release.name


def test_a_job_cancelled_while_the_daemon_is_away_says_that_it_could_not_be_told(job: Job, serve: Serve) -> None:
    server = serve(reply(503, {"detail": "not now"}))
    running = job.start(server=server.url, token=WHOEVER, **RELEASE)
    running.until_it_says("tries again.")
    done = running.cancel()
    assert done.status == 130, done.raw
    assert titled(done, "warning") == ["Nothing had been asked for."]


# -- what is no daemon, or a bad day of one ---------------------------------------------------------------------------

SHOWN = {"name": APPLICATION, "namespace": NAMESPACE, "activeColor": "blue", "approval": "none", "releases": []}
STATUS = {"command": "status", "namespace": NAMESPACE, "application": APPLICATION, "token": WHOEVER}


def after(*first: bytes) -> Callable[..., Any]:
    """Answers with these, one after the other, and well from then on."""
    left = list(first)

    def script(_: Asked, send: Callable[[bytes], None], __: threading.Event) -> Any:
        if left:
            answer = left.pop(0)
            if answer:
                send(answer)
            return False
        send(reply(200, SHOWN))
        return None

    return script


@pytest.mark.parametrize(
    "first",
    [
        [reply(503, {"detail": "The cluster does not answer."}, Retry_After="1"), reply(500)],
        [reply(429, Retry_After="1"), reply(504)],
        [reply(502, "<html>bad gateway</html>", Content_Type="text/html")],
        [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"],
        [b"what is this\r\n\r\n"],
    ],
    ids=["503-and-500", "429-and-504", "a-proxy-without-the-daemon", "broken-off", "no-http"],
)
def test_a_bad_moment_is_outlasted(first: list[bytes], serve: Serve, job: Job) -> None:
    server = serve(after(*first))
    done = job.run(server=server.url, **STATUS)
    assert done.status == 0, done.raw
    assert done.outputs["active-color"] == "blue"
    assert done.shown.count("tries again.") == 1
    assert "The daemon answers again." in done.shown
    assert len(server.asked) == len(first) + 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(200, "<html>sign in</html>", Content_Type="text/html"), "not the daemon's API"),
        (reply(200, "[]", Content_Type="application/json"), "not the daemon's API"),
        (reply(302, Location="https://login.example/x?secret"), "sends us to login.example, and no redirect"),
        (reply(404, "<html>"), "404: It answers 404, and does not say why."),
        (
            reply(502, '{"status":502,"detail":"The cluster refuses this."}', Content_Type="application/problem+json"),
            "502: The cluster refuses this.",
        ),
    ],
    ids=["a-page", "no-object", "a-redirect", "a-page-not-found", "what-the-cluster-refuses"],
)
def test_what_will_not_pass_is_not_tried_again(answer: bytes, said: str, serve: Serve, job: Job) -> None:
    server = serve(answer)
    done = job.run(server=server.url, **STATUS)
    assert done.status == 1, done.raw
    assert said in titled(done)[0]
    assert len(server.asked) == 1


def test_a_token_goes_nowhere_else(serve: Serve, job: Job) -> None:
    elsewhere = serve(reply(200, SHOWN))
    for code in (301, 302, 307, 308):
        server = serve(reply(code, Location=f"{elsewhere.url}/api/v1/"))
        assert job.run(server=server.url, **STATUS).status == 1
    assert elsewhere.asked == []


def test_an_answer_that_trickles_ends_at_the_deadline(serve: Serve, job: Job) -> None:
    def trickle(_: Asked, send: Callable[[bytes], None], stopped: threading.Event) -> None:
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stopped.wait(0.2):
            send(b" ")

    server = serve(trickle)
    done = job.run(server=server.url, **STATUS | {"timeout": "2s"})
    assert done.status == 1, done.raw
    assert "gave no usable answer: no answer in time" in titled(done)[0]


def test_an_answer_without_end_is_cut_off(serve: Serve, job: Job) -> None:
    def pour(_: Asked, send: Callable[[bytes], None], stopped: threading.Event) -> None:
        send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not stopped.is_set():
            send(b" " * 65536)

    done = job.run(server=serve(pour).url, **STATUS | {"timeout": "3s"})
    assert done.status == 1, done.raw
    assert "it answers with more than 4 MiB" in done.shown


def test_a_server_is_trusted_by_the_certificate_that_is_given(tmp_path: Path, serve: Serve, job: Job) -> None:
    cert, key = certificate(tmp_path, "watcher")
    server = serve(reply(200, SHOWN), server_context(cert, key))
    done = job.run(server=server.url, ca_certificate=cert.read_text("ascii"), **STATUS)
    assert done.status == 0, done.raw
    for ca in ("", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----"):
        refused = job.run(server=server.url, ca_certificate=ca, **STATUS | {"timeout": "1s"})
        assert refused.status == (2 if ca else 1), refused.raw
        assert ("no certificate in PEM form" if ca else "is not trusted (self-signed certificate)") in titled(refused)[
            0
        ]


# -- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"command": "deploy"}, "The input command: 'deploy' is none of release, wait,"),
        ({"server": "watcher.example"}, "The input server: write the daemon's address"),
        ({"server": "file:///etc/passwd"}, "The input server"),
        ({"server": "https://user:pw@watcher.example"}, "The input server"),
        ({"server": "http://x:99999"}, "The input server"),
        ({"images": ""}, "needs the input images."),
        ({"images": "", "version": ""}, "needs the inputs version and images."),
        ({"images": "chat"}, "'chat' is not CONTAINER=IMAGE"),
        ({"images": "a=b:1\na=b:2"}, "the container 'a' is there twice"),
        ({"namespace": "../../secrets"}, "The input namespace: '../../secrets' is no name"),
        ({"command": "wait", "release": "a/../b"}, "The input release: 'a/../b' is no name"),
        ({"release": "one"}, "use the command wait"),
        ({"command": "approve"}, "The command approve needs the input release."),
        ({"timeout": "soon"}, "'soon' is no time of up to 24h"),
        ({"timeout": "0"}, "'0' is no time"),
        ({"timeout": "25h"}, "'25h' is no time"),
        ({"force": "yes"}, "'yes' is neither true nor false"),
        ({"until": "tomorrow"}, "The input until"),
        ({"on-cancel": "panic"}, "The input on-cancel"),
        ({"token": "two words"}, "The input token: it is to be one line"),
        ({"token": ""}, "let the job have the permission id-token: write"),
    ],
)
def test_a_wrong_input_is_told_by_its_name_before_anything_is_asked(
    inputs: dict[str, str], said: str, serve: Serve, job: Job
) -> None:
    server = serve(reply(500))
    done = job.run(**{"server": server.url, "token": WHOEVER} | RELEASE | inputs)
    assert done.status == 2, done.raw
    assert said in titled(done)[0]
    assert server.asked == []


def test_an_input_is_never_run(tmp_path: Path, serve: Serve, job: Job) -> None:
    server = serve(reply(404, {"detail": "no"}))
    evil = f'"; touch {tmp_path}/owned; `touch {tmp_path}/owned` $(touch {tmp_path}/owned) #'
    for name in ("version", "reason", "override_window", "audience", "images"):
        job.run(**{"server": server.url, "token": WHOEVER} | RELEASE | {name: f"a={evil}"})
    assert not (tmp_path / "owned").exists()


# -- what comes from elsewhere ----------------------------------------------------------------------------------------

EVIL = "::add-mask::x\n::error::owned\r\n##[error]owned\n| <script>x</script> `x` @team [a](https://b.example) %0A::x::"


def test_what_others_wrote_is_text_in_the_log_and_on_the_page(serve: Serve, job: Job) -> None:
    status = {
        "phase": "Failed",
        "reason": EVIL,
        "message": EVIL,
        "verdict": EVIL,
        "checks": [{"id": EVIL, "ok": False, "message": EVIL, "output": EVIL}],
        "rules": [{"name": EVIL, "outcome": "breach", "value": 1e9, "threshold": EVIL, "message": EVIL, "query": EVIL}],
        "rulesAt": "2026-11-23T14:02:11Z",
        "flips": [{"service": EVIL, "from": EVIL, "to": EVIL, "reason": EVIL, "at": EVIL}],
        "conditions": [{"type": "Blind", "status": "True", "message": EVIL}],
        "progress": {"stage": EVIL, "done": 1, "of": 2, "running": [{"id": EVIL, "tries": 1, "last": EVIL}]},
    }
    release = {
        "name": "one",
        "namespace": NAMESPACE,
        "resourceVersion": "1",
        "spec": {"version": EVIL},
        "status": status,
    }
    server = serve(reply(200, release))
    done = job.run(server=server.url, token=WHOEVER, namespace=NAMESPACE, command="wait", release="one")
    assert done.status == 3, done.raw  # the runner here refuses what it would take for a command
    assert done.outputs["message"] == EVIL.replace("\r\n", "\n")
    assert set(done.outputs) >= {"release", "phase"}
    assert "<script" not in done.summary
    summary = re.sub("<pre>[^<]*</pre>", "", done.summary)
    assert "@team" not in summary
    assert "](https" not in summary
    for line in summary.splitlines():
        if line.startswith("| ") and "---" not in line:
            assert line.count("|") in {3, 4, 6}, line


def test_a_field_that_is_missing_or_new_stops_nothing(serve: Serve, job: Job) -> None:
    odd = {"phase": "Completed", "rules": "none", "flips": [7], "colors": None, "progress": [], "new": {"a": 1}}
    words = {"phase": "Completed", "message": "half a character \ud800, and \u6f22\u5b57"}
    for status in (odd, {"phase": "Completed"}, words):
        release = {"name": "one", "namespace": NAMESPACE, "resourceVersion": "1", "status": status}
        server = serve(reply(200, release))
        done = job.run(server=server.url, token=WHOEVER, namespace=NAMESPACE, command="wait", release="one")
        assert done.status == 0, done.raw


def test_a_summary_stays_below_what_the_runner_takes(serve: Serve, job: Job) -> None:
    rules = [{"name": f"r{n}", "outcome": "breach", "message": "m" * 2000, "query": "q" * 4000} for n in range(400)]
    status = {"phase": "RolledBack", "rules": rules, "rulesAt": "2026-11-23T14:02:11Z"}
    release = {"name": "one", "namespace": NAMESPACE, "resourceVersion": "1", "status": status}
    assert len(json.dumps(release)) > 2**20
    server = serve(reply(200, release))
    done = job.run(server=server.url, token=WHOEVER, namespace=NAMESPACE, command="wait", release="one")
    assert done.status == 4, done.raw[:500]
    assert 500_000 < len(done.summary.encode()) < 2**20
