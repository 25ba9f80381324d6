"""Metrics servers that misbehave: every query is answered, in time, with a sentence, and one culprit blinds nobody."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.core.readings import Failed, Query, Series

AT = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
Port = Callable[..., PrometheusMetrics]
Serve = Callable[..., Any]
Reply = Callable[..., bytes]
THREE = ("vector(1)", "vector(2)", "vector(3)")


def ask(port: PrometheusMetrics, *exprs: str, **more: Any) -> list[Any]:
    answers = port.query([Query(str(n), expr) for n, expr in enumerate(exprs)], AT, AT, timedelta(seconds=1), **more)
    return [answers[str(n)] for n in range(len(exprs))]


def the_failure(answers: list[Any]) -> Failed:
    """All queries of a batch failed for one reason: that one."""
    (failed,) = set(answers)
    assert isinstance(failed, Failed)
    return failed


def success(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(rows)}, **more}


def row(value: float = 1.0, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "values": [[AT.timestamp(), str(value)]]}


# Servers that nobody hears from


def test_a_refused_connection_fails_the_whole_batch_at_once(metrics: Port, free_port: int) -> None:
    started = time.monotonic()
    failed = the_failure(ask(metrics(f"http://127.0.0.1:{free_port}"), *THREE))
    assert failed.reason == f"Prometheus at http://127.0.0.1:{free_port} could not be reached: connection refused."
    assert failed.transient
    assert time.monotonic() - started < 2


def test_a_name_is_tried_at_each_of_its_addresses(metrics: Port, serve: Serve, reply: Reply) -> None:
    server = serve(reply(200, success(row())))
    assert isinstance(ask(metrics(f"http://localhost:{server.port}"), "vector(1)")[0], Series)


def test_a_connection_that_nobody_accepts_fails_within_the_connect_timeout(metrics: Port) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:  # fill the queue of connections, so that the kernel answers no further one
            one.setblocking(False)
            one.connect_ex(address)
        started = time.monotonic()
        failed = the_failure(ask(metrics(f"http://127.0.0.1:{address[1]}", connect_timeout=0.3), *THREE))
        assert 0.2 < time.monotonic() - started < 2
        for one in waiting:
            one.close()
    assert "could not be reached" in failed.reason
    assert failed.transient


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


def never(_: Any, __: Any, stopped: threading.Event) -> None:
    stopped.wait(30)


def headers_only(_: Any, send: Callable[[bytes], None], stopped: threading.Event) -> None:
    send(HEADERS)
    stopped.wait(30)


def drip(text: bytes) -> Callable[..., None]:
    def script(_: Any, send: Callable[[bytes], None], stopped: threading.Event) -> None:
        for byte in text:
            send(bytes([byte]))
            if stopped.wait(0.05):
                return

    return script


def headers_then_drip(asked: Any, send: Callable[[bytes], None], stopped: threading.Event) -> None:
    send(HEADERS)
    drip(b" " * 100_000)(asked, send, stopped)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(never, id="never answers"),
        pytest.param(headers_only, id="hangs after the headers"),
        pytest.param(headers_then_drip, id="sends a byte of the body now and then"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000), id="sends a byte of the headers now and then"),
    ],
)
def test_the_deadline_counts_over_the_whole_answer(metrics: Port, serve: Serve, script: Callable[..., None]) -> None:
    server = serve(script)
    started = time.monotonic()
    failed = the_failure(ask(metrics(server.url, timeout=0.5), *THREE))
    assert 0.5 <= time.monotonic() - started < 1.5
    assert "did not answer in time" in failed.reason
    assert server.url in failed.reason
    assert failed.transient
    assert len(server.asked) == 2  # the merged request, and a trivial one to see whose fault it was


def test_one_call_ends_within_its_budget_however_many_requests_it_needs(metrics: Port, serve: Serve) -> None:
    server = serve(never)
    started = time.monotonic()
    answers = ask(metrics(server.url, timeout=5.0), *(f"vector({n})" for n in range(1000)), within=0.8)
    assert time.monotonic() - started < 1.5
    assert len(answers) == 1000
    assert all(isinstance(answer, Failed) for answer in answers)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16\x03\x01 what?\r\n\r\n", id="something other than HTTP"),
        pytest.param(HEADERS + b'{"status":"succ', id="half an answer"),
        pytest.param(
            # A whole answer: only because it says so is the connection, which ends here, not used for the next request.
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
            id="bad compression",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunks"),
    ],
)
def test_a_broken_connection_is_an_outage(metrics: Port, serve: Serve, answer: bytes) -> None:
    def script(_: Any, send: Callable[[bytes], None], __: Any) -> bool:
        send(answer)
        return False

    server = serve(script)
    failed = the_failure(ask(metrics(server.url), *THREE))
    assert failed.transient
    assert server.url in failed.reason
    assert len(server.asked) == 2


def test_connections_are_kept_and_replaced_when_the_server_closes_them(
    metrics: Port, serve: Serve, reply: Reply
) -> None:
    def script(_: Any, send: Callable[[bytes], None], __: Any) -> bool:
        send(reply(200, success(row())))
        return len(server.asked) <= 5

    server = serve(script)
    port = metrics(server.url)
    for _ in range(5):
        assert isinstance(ask(port, "vector(1)")[0], Series)
    assert server.connections == 1
    for _ in range(3):
        assert isinstance(ask(port, "vector(1)")[0], Series)
        assert server.closed.acquire(timeout=10)
    assert server.connections == 3


@pytest.mark.parametrize("answer", [b"", HEADERS + b'{"status":"succ'], ids=["nothing", "half an answer"])
def test_a_kept_connection_that_ends_before_a_word_of_the_answer_costs_no_look(
    metrics: Port, serve: Serve, reply: Reply, answer: bytes
) -> None:
    """The server had closed it, or does so now: asked again on a new one. What has begun to answer is not."""

    def script(_: Any, send: Callable[[bytes], None], __: Any) -> bool:
        spoilt = len(server.asked) == 2
        send(answer if spoilt else reply(200, success(row())))
        return not spoilt

    server = serve(script)
    port = metrics(server.url)
    assert isinstance(ask(port, "vector(1)")[0], Series)
    found = ask(port, "vector(1)")[0]
    assert isinstance(found, Failed if answer else Series)
    assert (server.connections, len(server.asked)) == ((1, 2) if answer else (2, 3))


def test_a_server_that_ends_every_connection_is_asked_twice_in_the_same_time(
    metrics: Port, serve: Serve, reply: Reply
) -> None:
    def script(_: Any, send: Callable[[bytes], None], __: Any) -> bool:
        if len(server.asked) == 1:
            send(reply(200, success(row())))
        return len(server.asked) == 1

    server = serve(script)
    port = metrics(server.url)
    assert isinstance(ask(port, "vector(1)")[0], Series)
    assert "the connection broke" in the_failure(ask(port, "vector(1)")).reason
    assert len(server.asked) == 3


# Servers that answer something else


@pytest.mark.parametrize(
    ("status", "body", "transient", "requests", "says"),
    [
        pytest.param(503, "Service Unavailable", True, 2, "503 Told: Service Unavailable.", id="starting up"),
        pytest.param(502, "<html><h1>Bad</h1> gateway</html>", True, 2, "502 Told: Bad gateway.", id="gateway page"),
        pytest.param(500, "", True, 2, "answered 500 Told.", id="crash without words"),
        pytest.param(429, "slow down", True, 1, "429 Told: slow down.", id="throttled"),
        pytest.param(401, "who are you?", False, 1, "401 Told: who are you?", id="no credentials"),
        pytest.param(403, "no", False, 2, "403 Told: no.", id="no rights"),
        pytest.param(404, "404 page not found", False, 2, "404 Told", id="wrong address"),
        pytest.param(200, "<html><title>Sign in</title></html>", False, 2, "Sign in", id="login page"),
        pytest.param(200, "", False, 2, "nothing", id="empty body"),
    ],
)
def test_answers_that_are_none_fail_the_batch_once(
    metrics: Port, serve: Serve, reply: Reply, status: int, body: str, transient: bool, requests: int, says: str
) -> None:
    """Without hidden retries: at most one further request, to learn whether the server answers at all."""
    server = serve(reply(status, body))
    started = time.monotonic()
    failed = the_failure(ask(metrics(server.url), *THREE))
    assert time.monotonic() - started < 2
    assert failed.transient is transient
    assert says in failed.reason
    assert f"Prometheus at {server.url} answered {status}" in failed.reason
    assert len(server.asked) == requests


def test_a_redirect_is_not_followed(metrics: Port, serve: Serve, reply: Reply) -> None:
    other = serve(reply(200, success(row())))
    place = other.url.replace("http://", "http://user:hidden@") + "/login?next=hidden"
    server = serve(reply(302, "", Location=place))
    failed = the_failure(ask(metrics(server.url), *THREE))
    assert other.asked == []
    assert f"a redirect to {other.url}/login;" in failed.reason
    assert "hidden" not in failed.reason
    assert not failed.transient


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [
        pytest.param(200, "bad_data", False, id="refused with 200"),
        pytest.param(400, "bad_data", False, id="does not parse"),
        pytest.param(422, "execution", False, id="cannot be evaluated"),
        pytest.param(503, "timeout", True, id="took too long"),
        pytest.param(200, "timeout", True, id="took too long, with 200"),
        pytest.param(500, "internal", True, id="internal"),
    ],
)
def test_a_refusal_gives_the_servers_own_words(
    metrics: Port, serve: Serve, reply: Reply, status: int, kind: str, transient: bool
) -> None:
    words = "1:9: parse error: a < b > c " + "x" * 1000
    server = serve(reply(status, {"status": "error", "errorType": kind, "error": words}))
    (failed,) = ask(metrics(server.url), "sum(")
    assert f"answered {status} ({kind}): 1:9: parse error: a < b > c xxx" in failed.reason
    assert len(failed.reason) < 500
    assert failed.transient is transient
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "null",
        "7",
        "{}",
        '{"status":"success"}',
        '{"status":"success","data":[]}',
        '{"status":"success","data":{"resultType":"vector","result":[]}}',
        '{"status":"success","data":{"resultType":"matrix","result":{}}}',
        '{"status":"success","data":{"resultType":"matrix","result":[7]}}',
        '{"status":"success","data":{"resultType":"matrix","result":[{"values":[]}]}}',
        '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"many"]]}]}}',
        '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}',
        '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e999,"1"]]}]}}',
        "[" * 100_000,
        "\x00\ufffe",
    ],
)
def test_json_of_another_shape_is_a_failure_and_not_a_crash(
    metrics: Port, serve: Serve, reply: Reply, body: str
) -> None:
    failed = the_failure(ask(metrics(serve(reply(200, body)).url), *THREE))
    assert not failed.transient
    assert len(failed.reason) < 500


def test_an_endless_body_is_not_read_to_its_end(metrics: Port, serve: Serve) -> None:
    sent = 0

    def script(_: Any, send: Callable[[bytes], None], stopped: threading.Event) -> bool:
        nonlocal sent
        send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while not stopped.is_set():
            send(b" " * 1_000_000)
            sent += 1
        return False

    (failed,) = ask(metrics(serve(script).url, timeout=20.0), "requests")
    assert "more than 32 MiB" in failed.reason
    assert not failed.transient
    assert sent < 60


def test_a_body_that_unpacks_to_too_much_is_not_unpacked(metrics: Port, serve: Serve, reply: Reply) -> None:
    packed = gzip.compress(b" " * 100_000_000, 1)
    (failed,) = ask(metrics(serve(reply(200, packed, Content_Encoding="gzip")).url, timeout=20.0), "requests")
    assert "more than 32 MiB" in failed.reason


# Answers that are not whole


def test_a_warning_makes_an_answer_a_failure_with_its_text(metrics: Port, serve: Serve, reply: Reply) -> None:
    server = serve(reply(200, success(row(), warnings=["partial response: store 3 is down"])))
    (failed,) = ask(metrics(server.url), "requests")
    assert isinstance(failed, Failed)
    assert "partial response: store 3 is down" in failed.reason
    assert failed.transient


def test_notes_do_not_make_an_answer_a_failure(metrics: Port, serve: Serve, reply: Reply) -> None:
    server = serve(reply(200, success(row(), infos=["metric might not be a counter"], warnings=[])))
    assert isinstance(ask(metrics(server.url), "requests")[0], Series)


def test_a_warning_in_a_merged_answer_is_traced_to_its_query(metrics: Port, through: Serve, reply: Reply) -> None:
    server = through(
        lambda asked: reply(200, success(warnings=["bad quantile"])) if "vector(13)" in asked.form["query"] else None
    )
    answers = ask(metrics(server.url), *(f"vector({n})" for n in range(32)))
    assert isinstance(answers[13], Failed)
    assert "bad quantile" in answers[13].reason
    assert all(isinstance(answer, Series) for n, answer in enumerate(answers) if n != 13)
    assert len(server.asked) == 11


def test_warnings_about_everything_cost_a_bounded_number_of_requests(metrics: Port, serve: Serve, reply: Reply) -> None:
    server = serve(reply(200, success(warnings=["partial response"])))
    port = metrics(server.url)
    for _ in range(2):
        before = len(server.asked)
        answers = ask(port, *(f"vector({n})" for n in range(100)))
        assert len(server.asked) - before <= 100
        assert all(isinstance(answer, Failed) and "partial response" in answer.reason for answer in answers)


def test_rows_that_cannot_be_told_apart_are_asked_apart(metrics: Port, serve: Serve, reply: Reply) -> None:
    """A proxy in between may drop labels that it does not know."""
    server = serve(reply(200, success(row(5))))
    answers = ask(metrics(server.url), *THREE)
    assert all(isinstance(answer, Series) for answer in answers)
    assert len(server.asked) == 5


def test_native_histograms_are_named_and_blind_nobody(metrics: Port, serve: Serve, reply: Reply) -> None:
    histogram = {"metric": {"watcher_rule": "1"}, "histograms": [[AT.timestamp(), {"count": "1"}]]}
    server = serve(reply(200, success(row(1, watcher_rule="0"), histogram, row(3, watcher_rule="2"))))
    one, two, three = ask(metrics(server.url), *THREE)
    assert isinstance(one, Series)
    assert isinstance(three, Series)
    assert isinstance(two, Failed)
    assert "native histograms" in two.reason
    assert len(server.asked) == 1


# One culprit among many


@pytest.mark.parametrize("status", [413, 500, 502, 504, 403])
def test_a_query_that_upsets_the_way_to_the_server_is_found(
    metrics: Port, through: Serve, reply: Reply, status: int
) -> None:
    """A gateway answers for the server, without its words: a trivial query shows that the server is well."""
    server = through(lambda asked: reply(status, "upset") if "vector(3)" in asked.form["query"] else None)
    answers = ask(metrics(server.url), *(f"vector({n})" for n in range(16)))
    assert isinstance(answers[3], Failed)
    assert "upset" in answers[3].reason
    assert all(isinstance(answer, Series) for n, answer in enumerate(answers) if n != 3)
    assert len(server.asked) <= 10


def test_a_query_that_never_ends_leaves_time_for_the_others(metrics: Port, through: Serve) -> None:
    released = threading.Event()

    def hang(asked: Any) -> None:
        if "vector(3)" in asked.form["query"]:
            released.wait(60)

    server = through(hang)
    started = time.monotonic()
    answers = ask(metrics(server.url, timeout=2.4), *(f"vector({n})" for n in range(8)), within=6.0)
    released.set()
    assert time.monotonic() - started < 9
    assert isinstance(answers[3], Failed)
    assert answers[3].transient
    assert all(isinstance(answer, Series) for n, answer in enumerate(answers) if n != 3)


def test_a_server_that_dies_midway_is_not_asked_on(metrics: Port, serve: Serve, reply: Reply, free_port: int) -> None:
    def script(_: Any, send: Callable[[bytes], None], __: Any) -> None:
        send(reply(400, {"status": "error", "errorType": "bad_data", "error": "no"}) if first() else reply(429, "stop"))

    calls = iter([True])
    server = serve(script)

    def first() -> bool:
        return next(calls, False)

    failed = the_failure(ask(metrics(server.url), *THREE))
    assert "429" in failed.reason
    assert len(server.asked) == 2


# Secrets, tokens, proxies, certificates


def test_secrets_are_neither_shown_nor_repeated(metrics: Port, serve: Serve, reply: Reply, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token-4711\n")

    def echo(asked: Any, send: Callable[[bytes], None], _: Any) -> None:
        send(reply(403, json.dumps(asked.headers)))

    server = serve(echo)
    url = server.url.replace("http://", "http://jane:pass-4712@")
    headers = {"X-Key": "key-4713", "X-Auth": "Bearer inner-4714"}
    for settings in (
        {"token_file": token, "headers": headers},
        {"headers": headers},
    ):
        port = metrics(url, **settings)
        text = the_failure(ask(port, *THREE)).reason + repr(port) + repr(PrometheusSettings(url, headers=headers))
        for secret in ("4711", "4712", "4713", "4714", "jane"):
            assert secret not in text
        assert server.url in text


@pytest.mark.parametrize("before", range(270, 302, 3))
def test_a_secret_that_stands_where_a_text_is_cut_is_not_repeated_in_part(
    metrics: Port, serve: Serve, reply: Reply, tmp_path: Path, before: int
) -> None:
    (tmp_path / "token").write_text("hidden-token-4711")
    server = serve(reply(500, "x" * before + "hidden-token-4711"))
    (failed,) = ask(metrics(server.url, token_file=tmp_path / "token"), "vector(1)")
    assert "hidden" not in failed.reason


def test_warnings_do_not_repeat_secrets(metrics: Port, serve: Serve, reply: Reply) -> None:
    server = serve(reply(200, success(warnings=["tenant key-4713 is over its limit"])))
    (failed,) = ask(metrics(server.url, headers={"X-Key": "key-4713"}), "vector(1)")
    assert "tenant [cut] is over its limit" in failed.reason


def test_user_and_password_of_the_address_are_sent_as_basic_authentication(
    metrics: Port, serve: Serve, reply: Reply
) -> None:
    server = serve(reply(200, success(row())))
    ask(metrics(server.url.replace("http://", "http://jane:p%40ss@") + "/prefix/"), "vector(1)")
    assert server.asked[0].headers["authorization"] == "Basic amFuZTpwQHNz"
    assert server.asked[0].path == "/prefix/api/v1/query_range"


def test_a_token_that_is_rotated_is_used_at_once(metrics: Port, serve: Serve, reply: Reply, tmp_path: Path) -> None:
    token = tmp_path / "token"
    server = serve(reply(200, success(row())))
    port = metrics(server.url, token_file=token, headers={"X-Scope-OrgID": "team"})
    for text in ("first", "second"):
        token.write_text(f"{text}\n")
        ask(port, "vector(1)")
        assert server.asked[-1].headers["authorization"] == f"Bearer {text}"
        assert server.asked[-1].headers["x-scope-orgid"] == "team"


@pytest.mark.parametrize(
    ("content", "transient", "says"),
    [
        pytest.param(None, True, "cannot be read", id="missing"),
        pytest.param("\n", True, "is empty", id="empty"),
        pytest.param("hidden\nX-Other: hidden", False, "something other than one token", id="two lines"),
    ],
)
def test_an_unusable_token_file_sends_nothing_and_says_so(
    metrics: Port, serve: Serve, reply: Reply, tmp_path: Path, content: str | None, transient: bool, says: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    server = serve(reply(200, success(row())))
    failed = the_failure(ask(metrics(server.url, token_file=tmp_path / "token"), *THREE))
    assert says in failed.reason
    assert "hidden" not in failed.reason
    assert failed.transient is transient
    assert server.asked == []


def test_a_malformed_header_is_not_repeated(metrics: Port, serve: Serve, reply: Reply) -> None:
    server = serve(reply(200, success(row())))
    failed = the_failure(ask(metrics(server.url, headers={"X-Key": "hidden\r\nX-Other: hidden"}), *THREE))
    assert "malformed" in failed.reason
    assert "hidden" not in failed.reason
    assert not failed.transient


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:hidden@host",
        "host:9090",
        "http://",
        "http://host:port",
        "http://user:hidden@host/?a=b",
        "http://host#x",
        "http://[::1",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="address of Prometheus") as raised:
        PrometheusSettings(url)
    assert "hidden" not in str(raised.value)


def test_neither_netrc_nor_proxy_of_the_environment_touch_this_machine(
    metrics: Port, serve: Serve, reply: Reply, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = serve(reply(200, success(row()))), serve(reply(500))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login jane password hidden\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert isinstance(ask(metrics(server.url), "vector(1)")[0], Series)
    assert "authorization" not in server.asked[0].headers
    assert proxy.asked == []


def test_a_proxy_of_the_environment_is_used_for_other_machines_as_no_proxy_says(
    metrics: Port, serve: Serve, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(reply(200, success(row())))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "10.255.255.1")
    assert isinstance(ask(metrics("http://prometheus.example:9090"), "vector(1)")[0], Series)
    assert proxy.asked[0].path == "http://prometheus.example:9090/api/v1/query_range"
    monkeypatch.setenv("no_proxy", "127.0.0.1,prometheus.example")
    proxy.close()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (failed,) = ask(metrics("http://prometheus.example:9090"), "vector(1)")
    assert f"the proxy 127.0.0.1:{proxy.port} did not let us through (connection refused)" in failed.reason


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, key included, good for a day."""
    home = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    where = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(home / "key"), "-out", str(home / "crt")]
    subprocess.run([*command.split(), *where], check=True, capture_output=True, timeout=30)
    (home / "both.pem").write_text((home / "key").read_text() + (home / "crt").read_text())
    return home / "both.pem"


def test_certificates_are_checked_against_the_given_authority(
    metrics: Port, serve: Serve, reply: Reply, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(reply(200, success(row())), context)
    (strange,) = ask(metrics(server.url), "vector(1)")
    assert isinstance(strange, Failed)
    assert "TLS failed (the certificate is not valid" in strange.reason
    assert server.asked == []
    assert isinstance(ask(metrics(server.url, ca_file=certificate), "vector(1)")[0], Series)
    missing = the_failure(ask(metrics(server.url, ca_file=certificate.with_name("none")), *THREE))
    assert "a TLS file cannot be used" in missing.reason


def test_the_deadline_holds_under_tls_too(metrics: Port, serve: Serve, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(headers_then_drip, context)
    started = time.monotonic()
    failed = the_failure(ask(metrics(server.url, ca_file=certificate, timeout=0.5), *THREE))
    assert time.monotonic() - started < 2
    assert "did not answer in time" in failed.reason


def test_a_handshake_that_never_comes_ends_at_the_deadline(metrics: Port) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        failed = the_failure(ask(metrics(f"https://127.0.0.1:{silent.getsockname()[1]}", timeout=0.5), *THREE))
        assert time.monotonic() - started < 2
    assert failed.transient


def test_ready_says_why_not(metrics: Port, serve: Serve, reply: Reply, free_port: int) -> None:
    assert metrics(serve(reply(200, success(row()))).url).ready() is None
    not_yet = metrics(serve(reply(503, "Service Unavailable")).url).ready()
    assert not_yet is not None
    assert "503" in not_yet.reason
    nobody = metrics(f"http://127.0.0.1:{free_port}").ready()
    assert nobody is not None
    assert nobody.transient


# What is told of the requests


def test_whose_fault_each_failure_was_is_told_and_whether_anybody_answers_at_all(
    serve: Serve, reply: Reply, free_port: int
) -> None:
    told: list[str] = []

    def script(asked: Any, send: Callable[[bytes], None], _: Any) -> None:
        if b"bad" in asked.body:
            send(reply(400, {"status": "error", "errorType": "bad_data", "error": "no"}))
        else:
            send(reply(200, success(row())))

    def seen(url: str, *exprs: str) -> tuple[list[str], bool]:
        told.clear()
        port = PrometheusMetrics(PrometheusSettings(url, timeout=5.0), lambda seconds, blame: told.append(blame))
        ask(port, *exprs)
        port.close()
        return list(told), port.reachable

    server = serve(script).url
    assert seen(server, "vector(1)") == ([""], True)
    assert seen(server, "bad") == (["query"], True), "a refusal is an answer"
    assert seen(f"http://127.0.0.1:{free_port}", "vector(1)") == (["server"], False)
