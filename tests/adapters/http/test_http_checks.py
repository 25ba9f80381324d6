"""HTTP checks against servers that answer well, badly, late, too much, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from watcher.adapters.http_checks import HttpCheck, run_http_check
from watcher.adapters.repeated import CheckOutcome

Serve = Callable[..., Any]
Reply = Callable[..., bytes]


class TestClock:
    """Time that passes only while somebody waits, or when a test says so."""

    __test__ = False

    def __init__(self) -> None:
        self.passed = 0.0
        self.cancel_at: float | None = None

    def now(self) -> datetime:
        return datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.passed += seconds
        if self.cancel_at is not None and self.passed >= self.cancel_at:
            event.set()
        return event.is_set()


def run(check: HttpCheck, clock: TestClock | None = None, cancel: threading.Event | None = None) -> CheckOutcome:
    return run_http_check(check, cancel or threading.Event(), clock or TestClock())


def in_turn(*answers: bytes) -> Callable[..., None]:
    """Answer each request with the next one, and go on with the last."""
    left = list(answers)

    def script(_: Any, send: Callable[[bytes], None], __: Any) -> None:
        send(left.pop(0) if len(left) > 1 else left[0])

    return script


def test_a_good_answer_passes_with_one_try(serve: Serve, reply: Reply) -> None:
    server = serve(reply(200, "fine"))
    outcome = run(HttpCheck(f"{server.url}/healthz"))
    assert outcome.ok
    assert outcome.message == f"GET {server.url}/healthz answered 200 Told as expected (1 try in 0 s)."
    assert outcome.last_output == "fine"
    assert [asked.path for asked in server.asked] == ["/healthz"]


def test_method_headers_and_body_are_sent_as_written(serve: Serve, reply: Reply) -> None:
    server = serve(reply(204))
    assert run(HttpCheck(f"{server.url}/x?a=b", "POST", {"X-Test": "yes"}, '{"text":"ä"}')).ok
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers["x-test"]) == ("POST", "/x?a=b", "yes")
    assert asked.body == '{"text":"ä"}'.encode()


@pytest.mark.parametrize(
    ("wants", "says"),
    [
        pytest.param({}, "expected status 200-299, got 418 Told", id="any success"),
        pytest.param({"expect_status": (200, 503)}, "expected status 200 or 503, got 418 Told", id="named statuses"),
        pytest.param({"expect_status": (418,), "expect_text": "coffee"}, "expected the text 'coffee', got ", id="text"),
        pytest.param({"expect_status": (418,), "expect_json": {"a": 2}}, "expected a to be 2, got '1'", id="value"),
        pytest.param({"expect_status": (418,), "expect_json": {"a": True}}, "a to be true, got '1'", id="type"),
        pytest.param({"expect_status": (418,), "expect_json": {"b.1.c": "x"}}, 'be "x", got \'"y"\'', id="path"),
        pytest.param({"expect_status": (418,), "expect_json": {"b.7.c": 1}}, "be 1, got nothing", id="no such place"),
        pytest.param({"expect_status": (418,), "expect_json": {"b": [1]}}, "be [1], got '[0, ", id="list"),
    ],
)
def test_an_answer_that_is_not_expected_fails_with_what_was_and_what_came(
    serve: Serve, reply: Reply, wants: dict[str, Any], says: str
) -> None:
    server = serve(reply(418, {"a": 1, "b": [0, {"c": "y"}]}))
    outcome = run(HttpCheck(server.url, within=0, **wants))
    assert not outcome.ok
    assert says in outcome.message
    assert server.url in outcome.message
    assert outcome.last_output == '{"a": 1, "b": [0, {"c": "y"}]}'


def test_an_answer_with_everything_expected_passes(serve: Serve, reply: Reply) -> None:
    server = serve(reply(418, {"a": 1, "b": [0, {"c": "y"}]}))
    wants: dict[str, Any] = {"a": 1, "b.1.c": "y", "b": [0, {"c": "y"}]}
    assert run(HttpCheck(server.url, expect_status=(418,), expect_text='"y"', expect_json=wants, max_latency=1)).ok


@pytest.mark.parametrize("body", ["<html>", "", "[" * 100_000], ids=["page", "nothing", "nested too deeply"])
def test_a_body_that_is_no_json_is_said_to_be_none(serve: Serve, reply: Reply, body: str) -> None:
    outcome = run(HttpCheck(serve(reply(200, body)).url, within=0, expect_json={"a": 1}))
    assert "expected JSON, got" in outcome.message
    assert len(outcome.message) < 400


def test_a_slow_answer_fails_when_the_latency_has_a_limit(serve: Serve, reply: Reply) -> None:
    clock = TestClock()

    def script(_: Any, send: Callable[[bytes], None], __: Any) -> None:
        clock.passed += 0.35
        send(reply(200))

    server = serve(script)
    outcome = run(HttpCheck(server.url, within=0, max_latency=0.2), clock)
    assert "expected an answer within 200 ms, it took 350 ms" in outcome.message
    assert run(HttpCheck(server.url, within=0, max_latency=0.4), clock).ok


# Tries


def test_the_first_success_may_come_late_within_the_grace(serve: Serve, reply: Reply) -> None:
    server = serve(in_turn(reply(503), reply(503), reply(200)))
    outcome = run(HttpCheck(server.url, every=2, within=10))
    assert outcome.ok
    assert outcome.tries == 3
    assert outcome.finished - outcome.started == timedelta(seconds=4)
    assert "(3 tries in 4 s)" in outcome.message


def test_no_success_within_the_grace_fails_with_the_last_problem(serve: Serve, reply: Reply) -> None:
    server = serve(in_turn(reply(500), reply(503)))
    outcome = run(HttpCheck(server.url, every=2, within=10))
    assert not outcome.ok
    assert outcome.message == f"GET {server.url}: expected status 200-299, got 503 Told (5 tries in 8 s)."
    assert len(server.asked) == 5


def test_success_must_hold_for_the_length_asked_for(serve: Serve, reply: Reply) -> None:
    server = serve(in_turn(reply(503), reply(200)))
    outcome = run(HttpCheck(server.url, every=2, for_=20))
    assert outcome.ok
    assert outcome.tries == 12
    assert outcome.finished - outcome.started == timedelta(seconds=22)


def test_the_last_try_stands_at_the_end_of_the_length(serve: Serve, reply: Reply) -> None:
    outcome = run(HttpCheck(serve(reply(200)).url, every=2, for_=5))
    assert outcome.tries == 4
    assert outcome.finished - outcome.started == timedelta(seconds=5)


def test_one_failure_after_the_first_success_ends_the_check(serve: Serve, reply: Reply) -> None:
    server = serve(in_turn(reply(200), reply(200), reply(500, "boom"), reply(200)))
    outcome = run(HttpCheck(server.url, every=2, for_=20))
    assert not outcome.ok
    assert "held for 4 s of 20 s, then: expected status 200-299, got 500 Told (3 tries in 4 s)" in outcome.message
    assert outcome.last_output == "boom"


def test_each_try_opens_a_connection_of_its_own(serve: Serve, reply: Reply) -> None:
    """A kept connection would ask the same pod again and again, also after the Service points elsewhere."""
    server = serve(reply(200))
    run(HttpCheck(server.url, every=1, for_=3))
    assert server.connections == 4


# Servers that misbehave


def test_nobody_listening_is_a_failure_and_no_error(free_port: int) -> None:
    outcome = run(HttpCheck(f"http://127.0.0.1:{free_port}/x", within=5))
    assert not outcome.ok
    assert "could not be reached: connection refused (3 tries in 4 s)" in outcome.message


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_try_ends_at_its_time_out_however_the_server_drips(serve: Serve, begin: bytes) -> None:
    def script(_: Any, send: Callable[[bytes], None], stopped: threading.Event) -> None:
        send(begin)
        while not stopped.wait(0.05):
            send(b"x")

    server = serve(script)
    started = time.monotonic()
    outcome = run(HttpCheck(server.url, timeout=0.4, within=0))
    assert 0.4 <= time.monotonic() - started < 1.4
    assert "did not answer: no complete answer within 0.4 s" in outcome.message


def test_a_cancelled_check_ends_at_once_even_while_the_server_hangs(serve: Serve) -> None:
    cancel = threading.Event()

    def script(_: Any, __: Any, stopped: threading.Event) -> None:
        cancel.set()
        stopped.wait(30)

    started = time.monotonic()
    outcome = run_http_check(HttpCheck(serve(script).url, timeout=20, within=20), cancel)
    assert time.monotonic() - started < 2
    assert (outcome.ok, outcome.cancelled) == (False, True)
    assert "was cancelled (1 try in" in outcome.message


def test_a_cancelled_check_ends_while_it_waits_for_the_next_try(serve: Serve, reply: Reply) -> None:
    clock = TestClock()
    clock.cancel_at = 3
    outcome = run(HttpCheck(serve(reply(200)).url, every=2, for_=20), clock)
    assert (outcome.ok, outcome.cancelled, outcome.tries) == (False, True, 2)


def test_a_check_cancelled_before_it_began_asks_nobody(serve: Serve, reply: Reply) -> None:
    cancel = threading.Event()
    cancel.set()
    server = serve(reply(200))
    assert run(HttpCheck(server.url), cancel=cancel).cancelled
    assert server.asked == []


def test_of_an_endless_body_only_the_beginning_is_read(serve: Serve) -> None:
    def script(_: Any, send: Callable[[bytes], None], stopped: threading.Event) -> bool:
        send(b"HTTP/1.1 200 OK\r\n\r\nbegin")
        while not stopped.is_set():
            send(b"x" * 100_000)
        return False

    outcome = run(HttpCheck(serve(script).url, within=0, expect_text="begin"))
    assert outcome.ok
    assert len(outcome.last_output) == 500
    missing = run(HttpCheck(serve(script).url, within=0, expect_text="end of it"))
    assert "expected the text 'end of it' in the first 1024 KiB" in missing.message


@pytest.mark.parametrize("url", ["http://[", "nothing", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"])
def test_a_malformed_address_is_a_failure_and_no_error(url: str) -> None:
    assert not run(HttpCheck(url, within=0)).ok


# Redirects and secrets


def test_a_redirect_is_an_answer_and_is_not_followed(serve: Serve, reply: Reply) -> None:
    there = serve(reply(200, "arrived"))
    server = serve(reply(302, Location=f"{there.url}/there"))
    assert "got 302" in run(HttpCheck(server.url, within=0)).message
    assert there.asked == []


def test_secrets_are_neither_shown_nor_repeated(serve: Serve, reply: Reply) -> None:
    def echo(asked: Any, send: Callable[[bytes], None], _: Any) -> None:
        send(reply(401, {**asked.headers, "path": asked.path.partition("?")[0], "password": "pass-4711"}))

    url = serve(echo).url.replace("http://", "http://jane:pass-4711@") + "/x?token=4713"
    for wants in (
        {},
        {"expect_status": (401,), "expect_text": "y"},
        {"expect_status": (401,), "expect_json": {"b": 1}},
    ):
        check = HttpCheck(url, headers={"X-Key": "Bearer key-4712"}, within=0, **wants)
        outcome = run(check)
        for secret in ("4711", "4712", "4713", "jane"):
            assert secret not in f"{outcome} {check!r} {check.shown}"
