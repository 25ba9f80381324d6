"""The server by itself: certificates that are changed while it runs, and clients that are slow, silent or too many."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.api.conftest import READER, entry, opened
from tests.support.acting import until
from tests.support.certificates import certificate
from watcher.api import server as bounds
from watcher.api.limits import Buckets, Limits, Slots
from watcher.api.problems import Problem
from watcher.api.server import Certificates, Server

LIST = "/api/v1/releases"


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{len(await request.body())}")


async def plenty(_: Request) -> Response:
    return PlainTextResponse("x" * 8_000_000)


APP = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), Route("/plenty", plenty)])


@contextmanager
def served(certificates: Certificates | None = None) -> Iterator[Server]:
    server = Server(APP, "127.0.0.1", 0, certificates)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 10)


def ended(connection: socket.socket) -> bool:
    """Whether the server ends the connection within ten seconds, without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "chunks without an end"],
)
def test_a_request_that_does_not_arrive_ends(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.Protocol, "receiving", 0.3)
    with served() as server, connect(server) as connection:
        connection.sendall(sent)
        assert ended(connection)


def test_a_request_that_drips_ends_although_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.Protocol, "receiving", 0.5)
    with served() as server, connect(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        connection.settimeout(0.05)
        sent = 0
        while sent < 1000:
            try:
                connection.sendall(b"x")
                sent += 1
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert sent < 1000


def test_a_connection_that_is_used_again_is_not_ended_by_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.Protocol, "receiving", 2.0)
    with served() as server, requests.Session() as session:
        for size in (0, 10, 200_000):
            answer = session.post(f"http://127.0.0.1:{server.port}/", data=b"x" * size, timeout=10)
            assert answer.text == str(size)


def test_silent_connections_make_room_for_those_that_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.Protocol, "most_connections", 20)
    with served() as server, ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(60)]
        assert requests.get(f"http://127.0.0.1:{server.port}/", timeout=10).status_code == 200
        assert ended(silent[0]), "the one that waited longest makes room"


def test_a_client_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TAKING", 0.5)
    with served() as server, connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /plenty HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1) == b"H"
        held = server._server.server_state.connections
        until(lambda: not held, "the connection to be let go")


def test_a_head_that_is_too_large_is_refused() -> None:
    with served() as server, connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        try:
            answer = connection.recv(100)
        except ConnectionError:
            return
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


# -- TLS --------------------------------------------------------------------------------------------------------------


def common_name(server: Server) -> str:
    """Whose certificate a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(server) as plain, context.wrap_socket(plain) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found is not None
    return "new" if b"new" in found else "old"


def test_a_certificate_is_taken_over_when_its_files_change(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "old")
    new_cert, new_key = certificate(tmp_path, "new")
    usable: list[bool] = []
    with served(Certificates(cert, key, usable.append)) as server:
        assert common_name(server) == "old"
        shutil.copy(new_cert, cert)
        assert common_name(server) == "old", "a certificate without its key is not taken"
        assert common_name(server) == "old"
        shutil.copy(new_key, key)
        assert common_name(server) == "new"
        cert.unlink()
        assert common_name(server) == "new", "the last good one stays"
        assert usable == [True, False, False, True, False], "and is said to, at each handshake"
        assert requests.get(f"https://127.0.0.1:{server.port}/", timeout=10, verify=str(new_cert)).status_code == 200


def test_with_a_certificate_nothing_is_answered_in_the_clear(tmp_path: Path) -> None:
    with served(Certificates(*certificate(tmp_path))) as server, connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not connection.recv(10).startswith(b"HTTP")


def test_files_that_are_no_certificate_are_refused_at_the_start(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with pytest.raises(OSError, match=r".*"):
        Certificates(key, cert)
    with pytest.raises(FileNotFoundError):
        Certificates(tmp_path / "none", key)


def test_the_api_is_asked_by_tls_with_a_token(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    tokens = [entry(tmp_path, "screen", READER, "reader")]
    with opened(tmp_path, {"tokens": tokens}, http={"certFile": str(cert), "keyFile": str(key)}) as site:
        assert site.ask("GET", LIST, READER).json() == {"items": []}


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_caller_who_asks_too_often_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    tokens = [entry(tmp_path, "screen", READER, "reader"), entry(tmp_path, "other", "other-0123456789ab", "reader")]
    with opened(tmp_path, {"tokens": tokens}, Limits(rate=0.01, burst=5, at_once=10)) as site:
        answers = [site.ask("GET", LIST, READER) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert site.ask("GET", LIST, "other-0123456789ab").status_code == 200


def test_a_caller_with_too_many_requests_at_once_is_refused(tmp_path: Path) -> None:
    tokens = [entry(tmp_path, "screen", READER, "reader")]
    with opened(tmp_path, {"tokens": tokens}, Limits(rate=1e5, burst=1e5, at_once=2)) as site, ExitStack() as stack:
        path = site.url + "/api/v1/applications/chatbot-platform-prod/chatbot-platform/events"
        headers = {"Authorization": f"Bearer {READER}"}
        streams = [stack.enter_context(requests.get(path, headers=headers, stream=True, timeout=10)) for _ in range(2)]
        lines = [stream.iter_lines(1) for stream in streams]
        assert all(next(one).startswith(b"retry") for one in lines)
        assert site.ask("GET", LIST, READER).status_code == 429
        streams[0].close()
        until(lambda: site.ask("GET", LIST, READER).status_code == 200, "the place to be free")


def test_a_bucket_fills_at_its_rate_and_no_further_than_its_burst() -> None:
    clock = [0.0]
    buckets = Buckets(2.0, 3.0, lambda: clock[0])
    for _ in range(3):
        buckets.take("a")
    with pytest.raises(Problem) as caught:
        buckets.take("a")
    assert caught.value.status == 429
    clock[0] = 0.5
    buckets.take("a")
    clock[0] = 1000.0
    assert buckets.left("a") == 3.0


def test_a_place_is_free_again_however_its_request_ended() -> None:
    slots = Slots(1)
    with pytest.raises(KeyError), slots.one("a"):
        raise KeyError
    with slots.one("a"), pytest.raises(Problem), slots.one("a"):
        pass
