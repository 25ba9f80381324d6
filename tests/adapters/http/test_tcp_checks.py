"""TCP checks: somebody takes connections, or nobody does, or nobody answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from watcher.adapters.repeated import CheckOutcome, Pace
from watcher.adapters.tcp_checks import run_tcp_check

ONCE = Pace(within=0, timeout=5)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def run(port: int, pace: Pace = ONCE, cancel: threading.Event | None = None) -> CheckOutcome:
    return run_tcp_check("127.0.0.1", port, pace, cancel or threading.Event())


def test_a_port_that_takes_connections_passes_and_is_sent_nothing(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    outcome = run(port)
    assert outcome.ok
    assert outcome.message.startswith(f"TCP 127.0.0.1:{port} took a connection (1 try in ")
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        assert connection.recv(1) == b"", "closed, and nothing was said"


def test_a_port_that_nobody_listens_at_fails_with_the_reason(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    heard: list[tuple[int, str]] = []
    pace = Pace(every=0.05, within=0.12, timeout=1)
    outcome = run_tcp_check("127.0.0.1", port, pace, threading.Event(), heard=lambda *told: heard.append(told))
    assert not outcome.ok
    assert f"TCP 127.0.0.1:{port}: could not be reached: connection refused (" in outcome.message
    assert heard[0] == (1, "could not be reached: connection refused")
    assert len(heard) == outcome.tries > 1


def test_a_port_that_does_not_answer_ends_by_the_deadline() -> None:
    with socket.socket() as full:
        # Its queue holds one connection, which nobody accepts; the next one waits for ever.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            outcome = run(port, Pace(within=0, timeout=0.3))
    assert "nobody answered the connection in time" in outcome.message


def test_a_port_that_goes_away_while_it_has_to_hold_fails(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    pace = Pace(every=0.02, for_=30, within=5, timeout=5)

    def first(tries: int, _: str) -> None:
        if tries == 1:
            listener.close()

    outcome = run_tcp_check("127.0.0.1", port, pace, threading.Event(), heard=first)
    assert not outcome.ok
    assert " of 30 s, then: could not be reached" in outcome.message


def test_a_cancelled_check_is_neither_good_nor_bad(listener: socket.socket) -> None:
    cancel = threading.Event()
    pace = Pace(every=0.02, for_=60)
    port = listener.getsockname()[1]
    outcome = run_tcp_check("127.0.0.1", port, pace, cancel, heard=lambda *_: cancel.set())
    assert outcome.cancelled
    assert not outcome.ok
