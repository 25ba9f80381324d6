"""gRPC health checks against a real gRPC server, and against what is none."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from watcher.adapters.grpc_checks import GrpcCheck, Tls, run_grpc_check
from watcher.adapters.repeated import CheckOutcome, Pace

CHAT = "chat.v1.Assistant"
STATUS = health_pb2.HealthCheckResponse
ONCE = Pace(within=0, timeout=10)


class Server:
    """A gRPC server on loopback. Without a health service it serves nothing at all."""

    def __init__(self, servicer: Any, credentials: Any = None) -> None:
        self.health = servicer
        self._server = grpc.server(ThreadPoolExecutor(4))
        if servicer is not None:
            health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        place = "127.0.0.1:0"
        self.port = (
            self._server.add_secure_port(place, credentials) if credentials else self._server.add_insecure_port(place)
        )
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait(10)


Start = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(servicer: Any = None, credentials: Any = None) -> Server:
            server = Server(servicer, credentials)
            stack.callback(server.close)
            return server

        yield begin


def served(**states: int) -> health.HealthServicer:
    found = health.HealthServicer()
    for name, state in states.items():
        found.set({"server": "", "chat": CHAT}[name], state)
    return found


def run(port: int, service: str = "", tls: Tls | None = None, pace: Pace = ONCE) -> CheckOutcome:
    return run_grpc_check(GrpcCheck("127.0.0.1", port, service, tls), pace, threading.Event())


def test_a_server_that_serves_passes(start: Start) -> None:
    port = start(served(server=STATUS.SERVING)).port
    outcome = run(port)
    assert outcome.ok, outcome.message
    assert outcome.message.startswith(f"gRPC health at 127.0.0.1:{port} is SERVING (1 try in ")


def test_each_service_has_a_health_of_its_own(start: Start) -> None:
    server = start(served(server=STATUS.SERVING, chat=STATUS.NOT_SERVING))
    assert run(server.port).ok
    outcome = run(server.port, CHAT)
    assert f"gRPC health of {CHAT} at 127.0.0.1:{server.port}: expected SERVING, got NOT_SERVING (" in outcome.message
    server.health.set(CHAT, STATUS.SERVING)
    assert run(server.port, CHAT).ok


@pytest.mark.parametrize(
    ("state", "says"),
    [(STATUS.UNKNOWN, "got UNKNOWN"), (STATUS.SERVICE_UNKNOWN, "got SERVICE_UNKNOWN")],
    ids=["unknown", "service unknown"],
)
def test_any_other_status_fails_by_its_name(start: Start, state: int, says: str) -> None:
    outcome = run(start(served(server=state)).port)
    assert not outcome.ok
    assert f"expected SERVING, {says} (" in outcome.message


def test_a_service_that_the_server_does_not_know_is_named(start: Start) -> None:
    outcome = run(start(served(server=STATUS.SERVING)).port, "chat.v2.Assistant")
    assert 'its health service knows no service "chat.v2.Assistant" (NOT_FOUND)' in outcome.message


def test_a_server_without_the_health_service_is_told_what_it_must_serve(start: Start) -> None:
    outcome = run(start().port)
    assert "it has no health service (UNIMPLEMENTED): it must serve grpc.health.v1.Health" in outcome.message


class Odd(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it ships no types
    """A health service that does something else."""

    def __init__(self, does: Callable[[Any], Any]) -> None:
        self._does = does

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name that gRPC gives it
        return self._does(context)


def test_a_refusal_is_said_with_the_servers_words(start: Start) -> None:
    server = start(Odd(lambda context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "wer da? Ünbekannt")))
    assert "answered UNAUTHENTICATED: wer da? Ünbekannt (" in run(server.port).message


def test_a_server_that_does_not_answer_fails_by_the_deadline_which_it_is_told(start: Start) -> None:
    told: list[float] = []
    release = threading.Event()

    def waits(context: Any) -> Any:
        told.append(context.time_remaining())
        release.wait(20)
        return STATUS(status=STATUS.SERVING)

    server = start(Odd(waits))
    began = time.monotonic()
    outcome = run(server.port, pace=Pace(within=0, timeout=0.5))
    release.set()
    assert not outcome.ok
    assert time.monotonic() - began < 5
    assert "no complete answer within 0.5 s" in outcome.message or "DEADLINE_EXCEEDED" in outcome.message
    assert 0 < told[0] <= 0.5


def test_it_is_tried_until_it_serves_and_then_has_to_go_on(start: Start) -> None:
    server = start(served(server=STATUS.NOT_SERVING))

    def then(tries: int, _: str) -> None:
        server.health.set("", STATUS.NOT_SERVING if tries in (1, 4) else STATUS.SERVING)

    pace = Pace(every=0.02, for_=60, within=30, timeout=10)
    check = GrpcCheck("127.0.0.1", server.port)
    outcome = run_grpc_check(check, pace, threading.Event(), heard=lambda tries, _: then(tries + 1, _))
    assert not outcome.ok
    assert outcome.tries > 2
    assert " of 60 s, then: expected SERVING, got NOT_SERVING (" in outcome.message


def test_a_port_that_nobody_listens_at_is_said_to_be_unreachable(start: Start) -> None:
    server = start(served())
    server.close()
    assert "could not be reached: connection refused" in run(server.port).message


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "what it says is no HTTP/2: is this its gRPC port?"),
        (b"", "it ended the connection"),
        (b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 8000, "it says more than a health service does"),
    ],
    ids=["HTTP/1.1", "nothing", "too much"],
)
def test_what_speaks_something_else_is_said_to(serve: Any, says: bytes, problem: str) -> None:
    def script(_: Any, send: Callable[[bytes], None], stopped: threading.Event) -> bool:
        send(says)
        if says:
            stopped.wait(20)  # what it closes now would be reset, as it has not read everything
        return False

    outcome = run(serve(script).port)
    assert not outcome.ok
    assert f"did not answer: {problem}" in outcome.message


def test_a_check_that_is_cancelled_ends_although_nobody_answers(serve: Any) -> None:
    cancel, came = threading.Event(), threading.Event()

    def script(_: Any, __: Any, stopped: threading.Event) -> None:
        came.set()
        stopped.wait(20)

    server = serve(script)

    def gives_up() -> None:
        came.wait(20)
        cancel.set()

    threading.Thread(target=gives_up, daemon=True).start()
    outcome = run_grpc_check(GrpcCheck("127.0.0.1", server.port), Pace(within=0, timeout=60), cancel)
    assert outcome.cancelled


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key, and a certificate of its own for chat.prod.svc, good for a day."""
    home = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=chat"
    where = ["-addext", "subjectAltName=DNS:chat.prod.svc", "-keyout", str(home / "key"), "-out", str(home / "crt")]
    subprocess.run([*command.split(), *where], check=True, capture_output=True, timeout=30)
    return home / "key", home / "crt"


def test_a_server_that_speaks_tls_is_taken_for_whom_its_certificate_names(
    start: Start, certificate: tuple[Path, Path]
) -> None:
    key, crt = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), crt.read_bytes())])
    port = start(served(server=STATUS.SERVING), credentials).port
    assert run(port, tls=Tls("chat.prod.svc", str(crt))).ok
    other = run(port, tls=Tls("shop.prod.svc", str(crt))).message
    assert "could not be reached: the certificate is not valid for shop.prod.svc: " in other
    assert "the certificate is not valid for chat.prod.svc: self" in run(port, tls=Tls("chat.prod.svc")).message
    missing = run(port, tls=Tls("chat.prod.svc", str(crt.with_name("none")))).message
    assert f"the caFile {crt.with_name('none')} cannot be used (No such file or directory)" in missing
    assert not run(port).ok, "it speaks TLS, and is asked without"


def test_a_server_without_tls_is_said_to_have_none(start: Start, certificate: tuple[Path, Path]) -> None:
    outcome = run(start(served(server=STATUS.SERVING)).port, tls=Tls("chat.prod.svc", str(certificate[1])))
    assert "could not be reached: TLS failed: does it speak TLS at this port?" in outcome.message
