"""The load generator against small real servers, each of which ends requests in one way."""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.platform.running import ChatPod, Service, until
from watcher.demo.platform.ledger import OUTCOMES, Ledger, Outcome, Served, Traffic
from watcher.demo.platform.load import LoadGenerator, main

CONTENT = b'{"conversation": "c-123"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Color: blue\r\n\r\n%b" % (len(CONTENT), CONTENT)
Behaviour = Callable[[socket.socket, int], bool]


def _request(connection: socket.socket) -> bool:
    """Reads one request of the load generator. False when there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (got := connection.recv(65536)):
            return False
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return True


@contextmanager
def server(behave: Behaviour) -> Iterator[str]:
    """A server that reads requests and does with each what `behave(connection, number)` does, until that is False."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            number = 0
            try:
                while _request(self.request) and not over.is_set() and behave(self.request, number):
                    number += 1
            except ConnectionError:
                return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}"
        finally:
            over.set()
            running.shutdown()
            thread.join()


def answer(data: bytes) -> Behaviour:
    def behave(connection: socket.socket, _number: int) -> bool:
        connection.sendall(data)
        return True

    return behave


def abort(connection: socket.socket, data: bytes = b"") -> bool:
    """Ends the connection with a reset, after part of an answer or before any."""
    if data:
        connection.sendall(data)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def hang(_connection: socket.socket, _number: int) -> bool:
    time.sleep(0.6)
    return False


def traffic(url: str, requests: int = 20, timeout: float = 5.0) -> Traffic:
    """What the clients saw after at least so many requests."""
    with LoadGenerator(url, rate=200, connections=4, timeout=timeout) as load:
        until(lambda: load.snapshot().requests >= requests, f"{requests} requests")
        return load.stop()


STATUS = "HTTP/1.1 {} X\r\nContent-Length: 0\r\nX-Color: green\r\n\r\n"


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        pytest.param(answer(OK), "ok", id="good answers"),
        pytest.param(answer(STATUS.format(404).encode()), "http_4xx", id="404"),
        pytest.param(answer(STATUS.format(503).encode()), "http_5xx", id="503"),
        pytest.param(lambda connection, _: abort(connection), "reset", id="reset before the answer"),
        pytest.param(lambda connection, _: abort(connection, b"HTTP/1.1 200"), "reset", id="reset within the head"),
        pytest.param(lambda connection, _: abort(connection, OK[:-3]), "reset", id="reset within the body"),
        pytest.param(lambda _connection, _: False, "reset", id="closed instead of answered"),
        pytest.param(answer(b"220 mail.example ESMTP\r\n\r\n"), "other", id="another protocol"),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\n\r\n"), "other", id="an answer without a length"),
    ],
)
def test_what_clients_see_is_counted_by_its_cause(behave: Behaviour, outcome: Outcome) -> None:
    with server(behave) as url:
        seen = traffic(url)

    assert {key: count for key, count in seen.results.items() if count} == {outcome: seen.requests}
    assert seen.failed == (0 if outcome == "ok" else seen.requests)


def test_a_server_that_never_answers_is_a_timeout() -> None:
    with server(hang) as url:
        seen = traffic(url, requests=4, timeout=0.2)

    assert seen.results["timeout"] == seen.requests
    assert seen.dropped > 0  # requests that no client was free to send are not hidden


def test_a_closed_port_is_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        seen = traffic(f"http://127.0.0.1:{bound.getsockname()[1]}")

    assert seen.results["refused"] == seen.requests


def test_an_idle_connection_that_the_server_closed_is_replaced_unseen() -> None:
    def answer_and_close(connection: socket.socket, _number: int) -> bool:
        connection.sendall(OK)
        return False

    with server(answer_and_close) as url:
        seen = traffic(url)

    assert seen.failed == 0
    assert seen.reconnects > 0


def test_a_kept_connection_that_is_reset_when_the_request_arrives_is_replaced_unseen() -> None:
    def reset_the_second(connection: socket.socket, number: int) -> bool:
        return abort(connection) if number else answer(OK)(connection, number)

    with server(reset_the_second) as url:
        seen = traffic(url)

    assert seen.failed == 0
    assert seen.reconnects >= seen.requests // 2 - 4


def test_a_kept_connection_that_breaks_within_an_answer_is_a_reset() -> None:
    def break_the_second(connection: socket.socket, number: int) -> bool:
        return abort(connection, OK[:20]) if number else answer(OK)(connection, number)

    with server(break_the_second) as url:
        seen = traffic(url)

    assert abs(seen.results["reset"] - seen.results["ok"]) <= 4
    assert seen.results["reset"] > 5


def test_a_connection_carries_ten_requests_at_most() -> None:
    with server(answer(OK)) as url:
        seen = traffic(url, requests=100)

    assert seen.connections >= seen.requests / 10


def test_a_flip_shows_in_versions_colours_and_seconds(tmp_path: Path) -> None:
    with (
        ChatPod(tmp_path, version="2.3.0", COLOR="blue") as blue,
        ChatPod(tmp_path, version="2.4.0", COLOR="green") as green,
        Service(blue) as service,
        LoadGenerator(service.url, rate=200) as load,
    ):
        until(lambda: load.snapshot().colors.get("blue", 0) > 50, "blue serves")
        service.selected = green
        until(lambda: load.snapshot().colors.get("green", 0) > 50, "green serves")
        seen = load.stop()

    assert set(seen.versions) == {"2.3.0", "2.4.0"}
    assert sum(seen.colors.values()) == seen.requests
    assert sum(second.requests for second in seen.seconds) == seen.requests
    assert [second.at for second in seen.seconds] == sorted({second.at for second in seen.seconds})
    assert all(second.p50 and second.p99 and second.p50 <= second.p99 for second in seen.seconds)
    assert abs(seen.seconds[-1].at - time.time()) < 5


def test_users_convert_in_a_twentieth_of_their_requests(tmp_path: Path) -> None:
    with ChatPod(tmp_path) as pod, LoadGenerator(pod.url, rate=200) as load:
        until(lambda: load.snapshot().requests >= 200, "200 requests")
        seen = load.stop()
        conversions, conversations = pod.metric("chat_conversions_total"), pod.metric("chat_conversations_total")

    assert 0.03 < conversions / seen.requests < 0.07
    assert 0.15 < conversions / conversations < 0.45


def test_seconds_keep_their_counts_and_latencies_apart() -> None:
    ledger = Ledger(100.0)
    for latency in (0.1, 0.2, 0.3):
        ledger.record(100.5, "ok", Served("v1", "blue", "p"), latency)
    ledger.record(101.1, "refused")
    ledger.record(100.9, "reset")  # the clock stepped back: never an old second again
    seen = ledger.snapshot()

    assert [(second.at, second.requests, second.failed) for second in seen.seconds] == [(100, 3, 0), (101, 2, 2)]
    assert (seen.seconds[0].p50, seen.seconds[0].p99, seen.seconds[1].p50) == (0.2, 0.3, None)
    assert set(seen.results) == set(OUTCOMES)
    assert (seen.requests, seen.failed, dict(seen.colors)) == (5, 2, {"blue": 3})


def test_a_snapshot_does_not_change_afterwards() -> None:
    ledger = Ledger(0.0)
    ledger.record(1.0, "ok", Served("v1", "blue", "p"), 0.1)
    seen = ledger.snapshot()
    ledger.record(1.5, "http_5xx", Served("v1", "blue", "p"), 0.1)

    assert (seen.requests, seen.results["http_5xx"], seen.seconds[0].requests) == (1, 0, 1)


def test_the_command_reports_and_fails_when_a_client_saw_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    with server(answer(STATUS.format(500).encode())) as url:
        monkeypatch.setattr(sys, "argv", ["load", "--url", url, "--seconds", "0.3", "--report", str(report)])
        assert main() == 1

    assert "http_5xx" in capsys.readouterr().out
    assert '"http_5xx"' in report.read_text()
