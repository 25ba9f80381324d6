"""Checks in the background: each runs once, ends by its own deadline, and its result is observed later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.adapters.conftest import Server, reply
from tests.support.acting import NoJobs, until
from tests.support.clock import HandClock
from watcher.core.checks import Check
from watcher.engine.blind import NoMetrics
from watcher.engine.checks import Checks, Key
from watcher.engine.probes import probes

A: Key = ("prod", "a")
Serve = Callable[..., Server]


def check(**http: Any) -> Check:
    quick = {"path": "/healthz", "within": "0s", "timeout": "2s"}
    return Check.model_validate_json(Check.model_validate({"http": quick | http}, strict=False).model_dump_json())


class Running:
    def __init__(self) -> None:
        self.told: list[Key] = []
        self.clock = HandClock()
        self.checks = Checks(self.told.append, self.clock, NoJobs(), NoMetrics(), threads=4)

    def ends(self, id_: str, key: Key = A) -> Any:
        until(lambda: id_ in self.checks.results(key) and not self.checks.results(key)[id_].running, id_)
        return self.checks.results(key)[id_]


@pytest.fixture
def running() -> Iterator[Running]:
    found = Running()
    yield found
    found.checks.stop()


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(script: Callable[..., Any]) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def good(_: Any, send: Any, __: Any) -> None:
    send(reply(200, "fine"))


def ill(_: Any, send: Any, __: Any) -> None:
    send(reply(503, "the database is away"))


def hang(_: Any, __: Any, stopped: threading.Event) -> None:
    stopped.wait(20)


def test_a_check_passes_when_it_passes_on_every_pod(running: Running, serve: Serve) -> None:
    pods = [serve(good), serve(good), serve(good)]
    running.checks.start(A, "health/pods", probes(check(), [pod.url for pod in pods]))
    assert running.ends("health/pods").ok
    assert [len(pod.asked) for pod in pods] == [1, 1, 1]
    assert running.told == [A]


def test_one_ill_pod_fails_the_check_and_is_quoted(running: Running, serve: Serve) -> None:
    running.checks.start(A, "health/pods", probes(check(), [serve(good).url, serve(ill).url]))
    found = running.ends("health/pods")
    assert not found.ok
    assert "503" in found.message
    assert "the database is away" in found.output


def test_the_first_pod_that_fails_ends_the_check_for_all(running: Running, serve: Serve) -> None:
    fine, sick = serve(good), serve(ill)
    found = probes(check(**{"for": "10m", "every": "20ms"}), [fine.url, sick.url, fine.url])
    running.checks.start(A, "health/pods", found)
    result = running.ends("health/pods")
    assert not result.ok
    assert "503" in result.message
    assert running.told == [A]


def test_the_tries_at_all_addresses_are_heard_of_while_it_runs(running: Running, serve: Serve) -> None:
    running.checks.start(A, "smoke/1", probes(check(**{"for": "10m", "every": "20ms"}), [serve(good).url] * 2))
    until(lambda: running.checks.results(A)["smoke/1"].tries >= 6, "six tries")
    now = running.checks.results(A)["smoke/1"]
    assert now.running
    assert "answered 200 Told as expected" in now.last
    running.checks.cancel(A)


def test_a_check_by_tcp_goes_to_the_host_and_port_of_its_address(running: Running, serve: Serve) -> None:
    server = serve(good)
    found = Check.model_validate_json('{"tcp": {"within": "0s"}}')
    running.checks.start(A, "smoke/1", probes(found, [server.url]))
    assert running.ends("smoke/1").message.startswith(f"TCP 127.0.0.1:{server.port} took a connection")
    server.close()
    running.checks.start(A, "smoke/2", probes(found, [server.url]))
    assert "connection refused" in running.ends("smoke/2").message


def test_the_same_check_is_run_once_however_often_it_is_asked_for(running: Running, serve: Serve) -> None:
    server = serve(good)
    for _ in range(10):
        running.checks.start(A, "smoke/1", probes(check(), [server.url]))
    running.ends("smoke/1")
    running.checks.start(A, "smoke/1", probes(check(), [server.url]))
    running.checks.start(("prod", "b"), "smoke/1", probes(check(), [server.url]))
    running.ends("smoke/1", ("prod", "b"))
    assert len(server.asked) == 2


def test_a_check_that_runs_says_since_when(running: Running, serve: Serve) -> None:
    running.checks.start(A, "smoke/1", probes(check(), [serve(hang).url]))
    found = running.checks.results(A)["smoke/1"]
    assert found.running
    assert found.since == running.clock.now()


def test_a_check_ends_although_the_server_never_answers(running: Running, serve: Serve) -> None:
    running.checks.start(A, "smoke/1", probes(check(timeout="300ms"), [serve(hang).url]))
    assert not running.ends("smoke/1").ok


def test_a_cancelled_check_ends_soon_tells_nobody_and_may_be_started_anew(running: Running, serve: Serve) -> None:
    slow, quick = serve(hang), serve(good)
    running.checks.start(A, "smoke/1", probes(check(timeout="20s"), [slow.url]))
    until(lambda: slow.asked, "the check to begin")
    running.checks.cancel(A)
    assert running.checks.results(A) == {}
    running.checks.start(A, "smoke/1", probes(check(), [quick.url]))
    assert running.ends("smoke/1").ok
    assert running.told == [A]


def test_stopping_does_not_wait_for_slow_checks(serve: Serve) -> None:
    running = Running()
    slow = serve(hang)
    for n in range(8):
        running.checks.start(A, f"smoke/{n}", probes(check(timeout="20s"), [slow.url]))
    until(lambda: slow.asked, "a check to begin")
    began = time.monotonic()
    running.checks.stop()
    assert time.monotonic() - began < 3


def test_without_an_address_a_check_fails_and_says_so(running: Running) -> None:
    running.checks.start(A, "smoke/1", probes(check(), []))
    assert "no address" in running.ends("smoke/1").message


def test_a_check_that_cannot_be_made_fails_and_does_not_hang(running: Running) -> None:
    running.checks.start(A, "smoke/1", probes(check(), ["nonsense://"]))
    assert not running.ends("smoke/1").ok
