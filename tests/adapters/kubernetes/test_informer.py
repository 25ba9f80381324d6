"""A cache kept by list and watch: complete at first, woken by changes, right again after whatever the server did."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.acting import until
from watcher.adapters.kubernetes import paths, views
from watcher.adapters.kubernetes.connection import MERGE_PATCH, Connection
from watcher.adapters.kubernetes.informer import Informer

Changes = list[tuple[str, str | None, str | None]]


def color(raw: Any) -> str:
    return str(raw["spec"]["selector"].get("color", ""))


class Followed:
    """An informer of Services by their colour, and what it told."""

    def __init__(self, connection: Connection, namespace: str, **times: Any) -> None:
        self.told: Changes = []
        self.informer: Informer[str] = Informer(connection, paths.services(namespace), color, self._tell, **times)
        self.informer.start()

    def _tell(self, name: str, before: str | None, after: str | None) -> None:
        self.told.append((name, before, after))

    def sees(self, **colors: str) -> None:
        until(lambda: dict(self.informer.all()) == colors, f"{colors}, not {dict(self.informer.all())}")


@pytest.fixture
def follow() -> Iterator[Callable[..., Followed]]:
    with ExitStack() as stack:

        def begin(connection: Connection, namespace: str = "it", **times: float) -> Followed:
            found = Followed(connection, namespace, **times)
            stack.callback(found.informer.stop)
            return found

        yield begin


def test_it_lists_first_and_then_follows_every_change(
    connection: Connection, namespace: str, service: Callable[..., str], follow: Callable[..., Followed]
) -> None:
    service("a")
    found = follow(connection, namespace)
    found.sees(a="blue")
    service("b")
    found.sees(a="blue", b="blue")
    connection.patch(paths.services(namespace, "a"), {"spec": {"selector": {"color": "green"}}}, MERGE_PATCH)
    found.sees(a="green", b="blue")
    connection.delete(paths.services(namespace, "b"))
    found.sees(a="green")
    until(lambda: len(found.told) == 4, "every change to be told")
    assert found.told == [
        ("a", None, "blue"),
        ("b", None, "blue"),
        ("a", "blue", "green"),
        ("b", "blue", None),
    ]


def test_a_change_of_no_interest_wakes_nobody(
    connection: Connection, namespace: str, service: Callable[..., str], follow: Callable[..., Followed]
) -> None:
    service("a")
    found = follow(connection, namespace)
    found.sees(a="blue")
    connection.patch(paths.services(namespace, "a"), {"metadata": {"labels": {"x": "y"}}}, MERGE_PATCH)
    service("b")
    found.sees(a="blue", b="blue")
    assert [name for name, _, _ in found.told] == ["a", "b"]


def item(name: str, is_color: str, version: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "resourceVersion": str(version)},
        "spec": {"selector": {"color": is_color}},
    }


class Script:
    """An API server told what to answer: lists in turn (the last one again and again), and what each watch does."""

    def __init__(
        self, lists: list[list[dict[str, Any]]], watches: list[Callable[[Any, threading.Event], bool]]
    ) -> None:
        self.lists, self.watches = lists, watches
        self.listed = 0
        self.watched: list[str] = []

    def __call__(self, asked: Any, send: Any, stopped: threading.Event) -> bool:
        if "watch=true" not in asked.path:
            items = self.lists[min(self.listed, len(self.lists) - 1)]
            self.listed += 1
            body = json.dumps({"metadata": {"resourceVersion": str(self.listed * 100)}, "items": items}).encode()
            send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return True
        self.watched.append(asked.path.partition("resourceVersion=")[2].partition("&")[0])
        number = len(self.watched) - 1
        if number >= len(self.watches):
            return silence(send, stopped)
        return self.watches[number](send, stopped)


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


BEGIN = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def silence(send: Any, stopped: threading.Event) -> bool:
    """Half open: it never says anything again."""
    send(BEGIN)
    stopped.wait(20)
    return False


def ends(send: Any, _: threading.Event) -> bool:
    """An ordinary end of the stream."""
    send(BEGIN + b"0\r\n\r\n")
    return False


def breaks(send: Any, _: threading.Event) -> bool:
    """The server goes away in the middle."""
    send(BEGIN + _chunk(b'{"type":"MODIFIED","obj'))
    return False


def too_old(send: Any, _: threading.Event) -> bool:
    """The version asked for is compacted away."""
    event = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    send(BEGIN + _chunk(json.dumps(event).encode() + b"\n") + b"0\r\n\r\n")
    return False


def gone(send: Any, _: threading.Event) -> bool:
    """The same as a refusal."""
    send(b"HTTP/1.1 410 Gone\r\ncontent-length: 2\r\n\r\n{}")
    return False


def nonsense(send: Any, _: threading.Event) -> bool:
    """An event whose object is not what it should be."""
    event = {"type": "MODIFIED", "object": {"metadata": {"name": "a", "resourceVersion": "101"}}}
    send(BEGIN + _chunk(json.dumps(event).encode() + b"\n"))
    return False


@pytest.mark.parametrize("trouble", [breaks, too_old, gone, silence], ids=lambda trouble: trouble.__name__)
def test_after_trouble_with_a_watch_it_lists_anew_and_tells_what_it_missed(
    trouble: Callable[..., bool],
    serve: Callable[..., Any],
    connect: Callable[..., Connection],
    follow: Callable[..., Followed],
) -> None:
    script = Script([[item("a", "blue", 1), item("b", "blue", 2)], [item("a", "green", 7)]], [trouble])
    found = follow(connect(serve(script).url, 5), silence=0.5)
    found.sees(a="green")
    until(lambda: len(found.told) == 4, "every change to be told")
    assert set(found.told[2:]) == {("a", "blue", "green"), ("b", "blue", None)}


def test_a_watch_that_ends_is_followed_by_another_from_where_it_was(
    serve: Callable[..., Any], connect: Callable[..., Connection], follow: Callable[..., Followed]
) -> None:
    def one(send: Any, _: threading.Event) -> bool:
        event = {"type": "MODIFIED", "object": item("a", "green", 105)}
        mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "109"}}}
        lines = b"".join(json.dumps(e).encode() + b"\n" for e in (event, mark))
        send(BEGIN + _chunk(lines) + b"0\r\n\r\n")
        return False

    script = Script([[item("a", "blue", 1)]], [one, ends])
    found = follow(connect(serve(script).url, 5))
    until(lambda: len(script.watched) >= 3, "three watches")
    assert script.watched[:3] == ["100", "109", "109"]
    assert script.listed == 1
    found.sees(a="green")


def test_it_lists_anew_now_and_then_although_nothing_seems_wrong(
    serve: Callable[..., Any], connect: Callable[..., Connection], follow: Callable[..., Followed]
) -> None:
    def a_second(send: Any, stopped: threading.Event) -> bool:
        send(BEGIN)
        stopped.wait(0.3)
        send(b"0\r\n\r\n")
        return False

    script = Script([[item("a", "blue", 1)], [item("a", "green", 2)]], [a_second])
    follow(connect(serve(script).url, 5), relist=0.2).sees(a="green")


def test_an_object_that_cannot_be_read_does_not_end_it(
    serve: Callable[..., Any], connect: Callable[..., Connection], follow: Callable[..., Followed]
) -> None:
    script = Script([[item("a", "blue", 1)], [item("a", "green", 7)]], [nonsense])
    found = follow(connect(serve(script).url, 5))
    until(lambda: found.informer.get("a") == "green", "the next list", 12)


def test_a_server_that_finds_every_version_too_old_is_not_asked_in_a_tight_loop(
    serve: Callable[..., Any], connect: Callable[..., Connection], follow: Callable[..., Followed]
) -> None:
    script = Script([[item("a", "blue", 1)]], [gone] * 1000)
    follow(connect(serve(script).url, 5)).sees(a="blue")
    assert not threading.Event().wait(1.0)
    assert 2 <= script.listed <= 8


def test_a_server_that_is_started_again_is_found_again(
    serve: Callable[..., Any], connect: Callable[..., Connection], follow: Callable[..., Followed], free_port: int
) -> None:
    found = follow(connect(f"http://127.0.0.1:{free_port}", 1))
    assert not found.informer.synced.wait(0.3)
    script = Script([[item("a", "blue", 1)]], [])
    server = serve(script, None, free_port)
    until(lambda: script.watched, "the watch to begin")
    found.sees(a="blue")
    server.close()
    serve(Script([[item("a", "green", 1)]], []), None, free_port)
    found.sees(a="green")


def test_what_was_just_read_is_seen_at_once(
    serve: Callable[..., Any], connect: Callable[..., Connection], follow: Callable[..., Followed]
) -> None:
    found = follow(connect(serve(Script([[item("a", "blue", 1)]], [])).url, 5))
    found.sees(a="blue")
    snapshot = found.informer.all()
    found.informer.put("a", "green", "2")
    assert found.informer.get("a") == "green"
    assert snapshot["a"] == "blue"


def test_an_answer_that_comes_late_does_not_hide_what_the_watch_brought_meanwhile(
    connection: Connection, namespace: str, service: Callable[..., str], follow: Callable[..., Followed]
) -> None:
    service("a")
    found = follow(connection, namespace)
    found.sees(a="blue")
    path = paths.services(namespace, "a")
    ours = connection.patch(path, {"spec": {"selector": {"color": "ours"}}}, MERGE_PATCH)
    connection.patch(path, {"spec": {"selector": {"color": "theirs"}}}, MERGE_PATCH)
    found.sees(a="theirs")
    found.informer.put("a", "ours", ours["metadata"]["resourceVersion"])
    assert found.informer.get("a") == "theirs"


def test_an_answer_that_comes_late_does_not_bring_back_what_was_deleted(
    connection: Connection, namespace: str, service: Callable[..., str], follow: Callable[..., Followed]
) -> None:
    service("a")
    found = follow(connection, namespace)
    found.sees(a="blue")
    ours = connection.get(paths.services(namespace, "a"))
    connection.delete(paths.services(namespace, "a"))
    found.sees()
    found.informer.put("a", "blue", ours["metadata"]["resourceVersion"])
    assert found.informer.get("a") is None
    service("a")
    found.sees(a="blue")


def test_the_watch_wakes_for_what_was_put_before(
    connection: Connection, namespace: str, service: Callable[..., str], follow: Callable[..., Followed]
) -> None:
    service("a")
    found = follow(connection, namespace)
    found.sees(a="blue")
    patch = {"spec": {"selector": {"color": "green"}}}
    written = connection.patch(paths.services(namespace, "a"), patch, MERGE_PATCH)
    found.informer.put("a", "green", written["metadata"]["resourceVersion"])
    until(lambda: len(found.told) == 2, "the wake-up")
    assert found.told[1][2] == "green"


def test_views_take_what_is_absent_for_unknown() -> None:
    meta = {"name": "shop", "uid": "u", "resourceVersion": "1", "annotations": {views.FLIP_ANNOTATION: "u/1 yesterday"}}
    found = views.service({"metadata": meta})
    assert (found.view.mark, found.view.marked_at) == ("u/1", None)
    assert found.view.selector == {}
    endpoints = [
        {"targetRef": {"kind": "Pod", "name": "a"}},
        {"targetRef": {"kind": "Pod", "name": "b"}, "conditions": {"ready": False}},
        {"targetRef": {"kind": "Node", "name": "c"}},
        {"conditions": {"ready": True}},
    ]
    piece = {"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "shop"}}, "endpoints": endpoints}
    assert views.endpoint_slice(piece).ready_pods == ("a",)
