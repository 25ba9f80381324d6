"""Servers that hang, drip, drop and refuse: every call ends in time, and says whether a change may have happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from watcher.adapters.errors import AdapterError, Conflict, Fatal, OutcomeUnknown, Transient
from watcher.adapters.kubernetes.connection import (
    JSON_PATCH,
    MERGE_PATCH,
    Connection,
    Gone,
    NotFound,
)
from watcher.adapters.kubernetes.hands import Hands

SLACK = 1.0
"""Seconds over its deadline that a call may take on a busy machine."""
DEADLINE = 0.6


def get(connection: Connection) -> object:
    return connection.get("/api/v1/namespaces")


def patch(connection: Connection) -> object:
    return connection.patch("/api/v1/namespaces/it", {"metadata": {}}, MERGE_PATCH)


def hang(_: Any, __: Any, stopped: Any) -> None:
    stopped.wait(20)


def drip_head(_: Any, send: Any, stopped: Any) -> None:
    send(b"HTTP/1.1 200 OK\r\n")
    while not stopped.wait(0.1):
        send(b"x: y\r\n")


def drip_body(_: Any, send: Any, stopped: Any) -> None:
    send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while not stopped.wait(0.1):
        send(b" ")


def drip_chunks(_: Any, send: Any, stopped: Any) -> None:
    send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not stopped.wait(0.1):
        send(b"1\r\n \r\n")


def drop(_: Any, __: Any, ___: Any) -> bool:
    return False


def drop_half(_: Any, send: Any, __: Any) -> bool:
    send(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"half":')
    return False


def no_http(_: Any, send: Any, __: Any) -> bool:
    send(b"220 mail.example ESMTP\r\n\r\n")
    return False


TROUBLES = [hang, drip_head, drip_body, drip_chunks, drop, drop_half, no_http]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
@pytest.mark.parametrize(("call", "error"), [(get, Transient), (patch, OutcomeUnknown)], ids=["read", "write"])
def test_a_call_ends_in_time_and_a_change_without_an_answer_is_unknown(
    trouble: Callable[..., Any],
    call: Callable[[Connection], object],
    error: type[AdapterError],
    serve: Callable[..., Any],
    connect: Callable[..., Connection],
) -> None:
    server = serve(trouble)
    connection = connect(server.url, DEADLINE)
    began = time.monotonic()
    with pytest.raises(AdapterError) as caught:
        call(connection)
    assert type(caught.value) is error
    assert time.monotonic() - began < DEADLINE + SLACK
    assert len(server.asked) == 1, "nothing is asked twice behind the caller's back"


@pytest.mark.parametrize("call", [get, patch], ids=["read", "write"])
def test_what_was_never_sent_changed_nothing(
    call: Callable[[Connection], object], free_port: int, connect: Callable[..., Connection]
) -> None:
    with pytest.raises(Transient):
        call(connect(f"http://127.0.0.1:{free_port}"))


@pytest.mark.parametrize(
    ("code", "method", "content_type", "error"),
    [
        (404, "GET", None, NotFound),
        (410, "GET", None, Gone),
        (401, "GET", None, Fatal),
        (403, "PATCH", MERGE_PATCH, Fatal),
        (409, "PATCH", MERGE_PATCH, Conflict),
        (422, "PATCH", JSON_PATCH, Conflict),
        (422, "PATCH", MERGE_PATCH, Fatal),
        (429, "GET", None, Transient),
        (429, "PATCH", MERGE_PATCH, Transient),
        (500, "GET", None, Transient),
        (500, "PATCH", MERGE_PATCH, OutcomeUnknown),
        (504, "PATCH", JSON_PATCH, OutcomeUnknown),
        (302, "GET", None, Fatal),
    ],
)
def test_each_refusal_is_what_a_caller_can_act_on(
    code: int,
    method: str,
    content_type: str | None,
    error: type[AdapterError],
    serve: Callable[..., Any],
    reply: Callable[..., bytes],
    connect: Callable[..., Connection],
) -> None:
    answer = reply(code, {"kind": "Status", "message": "said the server"}, Retry_After="1", Location="/elsewhere")
    server = serve(answer)
    connection = connect(server.url)
    body: Any = [] if content_type == JSON_PATCH else {}
    with pytest.raises(AdapterError, match="said the server") as caught:
        connection.patch("/apis/x", body, content_type) if content_type else connection.get("/apis/x")
    assert type(caught.value) is error
    assert [asked.method for asked in server.asked] == [method]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 0), ("", 0), ("-1", 0), ("1.5", 0), ("Mon, 23 Nov 2026 14:00:00 GMT", 0), ("9" * 400, 3600)],
)
def test_a_throttled_call_says_how_long_the_server_wants_to_be_left_alone(
    header: str,
    seconds: float,
    serve: Callable[..., Any],
    reply: Callable[..., bytes],
    connect: Callable[..., Connection],
) -> None:
    server = serve(reply(429, {"kind": "Status", "message": "too many"}, Retry_After=header))
    with pytest.raises(Transient) as caught:
        connect(server.url).get("/apis/x")
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("body", ["<html>", "[]", ""], ids=["html", "list", "empty"])
def test_an_answer_that_is_no_object_of_kubernetes_is_an_error_of_ours(
    body: str, serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    server = serve(reply(200, body))
    with pytest.raises(Transient):
        get(connect(server.url))
    with pytest.raises(OutcomeUnknown):
        patch(connect(server.url))


def test_a_connection_is_used_again(
    serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    server = serve(reply(200, {"items": []}))
    connection = connect(server.url)
    for _ in range(5):
        get(connection)
    assert server.connections == 1


def test_a_silent_watch_ends(serve: Callable[..., Any], connect: Callable[..., Connection]) -> None:
    def silent(_: Any, send: Any, stopped: Any) -> None:
        send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        stopped.wait(20)

    connection = connect(serve(silent).url)
    began = time.monotonic()
    with pytest.raises(Transient, match="silent"):
        list(connection.watch("/api/v1/pods", {}, 0.4))
    assert 0.4 <= time.monotonic() - began < 0.4 + SLACK


def test_a_watch_that_now_and_then_says_something_goes_on(
    serve: Callable[..., Any], connect: Callable[..., Connection]
) -> None:
    line = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}\n'

    def talk(_: Any, send: Any, stopped: Any) -> bool:
        send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in (line[:20], line[20:], line, line):
            stopped.wait(0.25)
            send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        send(b"0\r\n\r\n")
        return False

    connection = connect(serve(talk).url)
    assert len(list(connection.watch("/api/v1/pods", {}, 0.7))) == 3


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b'{"type":"ERROR","object":{"code":410,"message":"too old"}}', Gone),
        (b'{"type":"ERROR","object":{"code":500,"message":"etcd"}}', Transient),
        (b'{"no":"event"}', Transient),
        (b"<html>", Transient),
    ],
)
def test_what_a_watch_says_in_error_is_raised(
    event: bytes,
    error: type[AdapterError],
    serve: Callable[..., Any],
    reply: Callable[..., bytes],
    connect: Callable[..., Connection],
) -> None:
    connection = connect(serve(reply(200, event + b"\n")).url)
    with pytest.raises(AdapterError) as caught:
        list(connection.watch("/api/v1/pods", {}, 1))
    assert type(caught.value) is error


def test_credentials_that_cannot_be_read_are_named_without_a_traceback(tmp_path: Any) -> None:
    with pytest.raises(Fatal, match="nowhere"):
        Connection(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "excuse",
    [
        b"unable to retrieve container logs for containerd://a8a8b2a3e472",
        b'failed to try resolving symlinks in path "/var/log/pods/shop_web-1_ea04/web/1.log": lstat: no such file',
    ],
    ids=["container", "file"],
)
def test_the_kubelets_excuse_for_a_removed_log_is_no_log(
    excuse: bytes, serve: Callable[..., Any], reply: Callable[..., bytes], connect: Callable[..., Connection]
) -> None:
    hands = Hands(connect(serve(reply(200, excuse)).url, DEADLINE))

    assert not hands.read_logs("shop", "web-1", "web", previous=True)
