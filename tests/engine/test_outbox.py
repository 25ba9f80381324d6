"""Each channel's queue: what goes first, when it is tried again, and what is given up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.adapters.conftest import Asked, Server, reply
from tests.support.acting import until
from watcher.core.channels import Notification
from watcher.core.notices import Notice, sample
from watcher.engine import outbox
from watcher.engine.clock import SystemClock
from watcher.engine.outbox import Letter, Outbox

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
Serve = Callable[..., Server]


class Waits(SystemClock):
    """Waits no time, and remembers for how long it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []
        self.skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waited.append(seconds)
        self.skipped += seconds
        return event.is_set()


class Desk:
    """An outbox with one channel, and what came of each letter."""

    def __init__(self, *channels: Notification) -> None:
        self.channels = list(channels)
        self.clock = Waits()
        self.came: dict[str, str] = {}
        self.counted: list[str] = []
        self.box = Outbox(
            lambda: self.channels,
            self.clock,
            leads=lambda: True,
            counted=lambda _, outcome: self.counted.append(outcome),
            recall=lambda _, __: "",
        )

    def put(self, key: str, thread: str = "one", **notice: Any) -> None:
        found: Notice = sample("chat", NOW).model_copy(update={"key": key, "thread": thread, **notice})
        until_ = self.clock.now() + timedelta(hours=1)
        self.box.put("chat", Letter(found, until_, lambda state: self.came.__setitem__(key, state)))


@pytest.fixture
def desk(serve: Serve) -> Iterator[Callable[..., tuple[Desk, Server]]]:
    desks: list[Desk] = []

    def begin(script: Any, **settings: Any) -> tuple[Desk, Server]:
        server = serve(script)
        desks.append(Desk(Notification(name="chat", url=server.url, **settings)))
        return desks[-1], server

    yield begin
    for one in desks:
        one.box.stop(1)


def keys(server: Server) -> list[str]:
    return [json.loads(asked.body)["key"] for asked in server.asked]


def test_it_waits_longer_each_time_up_to_a_minute_and_begins_anew_after_a_success(
    desk: Callable[..., tuple[Desk, Server]],
) -> None:
    def script(_: Asked, send: Any, __: Any) -> None:
        send(reply(500 if len(server.asked) <= 12 or len(server.asked) == 14 else 200))

    found, server = desk(script)
    found.put("a")
    until(lambda: "a" in found.came, "the first")
    waits = list(found.clock.waited)
    assert len(waits) == 12
    assert all(
        w <= bound and w > bound * 0.4 for w, bound in zip(waits, [min(0.5 * 2**n, 60) for n in range(12)], strict=True)
    )
    found.put("b")
    until(lambda: "b" in found.came, "the second")
    assert found.clock.waited[12] <= 0.5
    assert found.counted == ["failed"] * 12 + ["delivered", "failed", "delivered"]


def test_what_a_server_asks_for_by_retry_after_is_what_it_gets(desk: Callable[..., tuple[Desk, Server]]) -> None:
    def script(_: Asked, send: Any, __: Any) -> None:
        send(reply(429, Retry_After="120") if len(server.asked) == 1 else reply(200))

    found, server = desk(script)
    found.put("a")
    until(lambda: "a" in found.came, "it")
    assert [round(wait) for wait in found.clock.waited] == [120]


def test_of_one_release_everything_comes_in_order_and_another_is_not_held_up_by_it(
    desk: Callable[..., tuple[Desk, Server]],
) -> None:
    def script(asked: Asked, send: Any, _: Any) -> None:
        bad = json.loads(asked.body)["key"] == "one/1" and "two/1" not in keys(server)
        send(reply(500 if bad else 200))

    found, server = desk(script)
    for key in ("one/1", "one/2", "one/3", "two/1"):
        found.put(key, thread=key[:3])
    until(lambda: len(found.came) == 4, "all of them")
    taken = [key for index, key in enumerate(keys(server)) if key not in keys(server)[index + 1 :]]
    assert [key for key in taken if key.startswith("one")] == ["one/1", "one/2", "one/3"]


def test_a_channel_that_the_settings_have_no_more_is_given_up(desk: Callable[..., tuple[Desk, Server]]) -> None:
    found, _ = desk(reply(200))
    found.channels.clear()
    found.put("a")
    until(lambda: "a" in found.came, "it")
    assert found.came["a"].startswith("given up ")
    assert "no more" in found.came["a"]


def test_too_many_are_given_up_and_counted(
    desk: Callable[..., tuple[Desk, Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_WAITING", 3)
    found, server = desk(lambda _, __, stopped: stopped.wait(20))
    for number in range(5):
        found.put(str(number))
    assert found.box.waiting() == {"chat": 3}
    assert sorted(found.came) == ["3", "4"]
    assert "too many" in found.came["4"]
    assert found.counted == ["given_up"] * 2
    until(lambda: server.asked, "the first")


def test_a_template_that_fails_leaves_the_default_words_and_says_so(desk: Callable[..., tuple[Desk, Server]]) -> None:
    found, server = desk(reply(200), template="{{ evidence.rule.more.more }}")
    found.put("a")
    until(lambda: "a" in found.came, "it")
    told = json.loads(server.asked[0].body)
    assert "text" not in told
    assert "The template of the channel chat failed" in told["why"][-1]
    assert found.came["a"].startswith("sent ")


def test_a_template_is_used_with_values_of_the_notice(desk: Callable[..., tuple[Desk, Server]]) -> None:
    found, server = desk(reply(200), template="{{ application }} is {{ phase }}")
    found.put("a", phase="Failed")
    until(lambda: server.asked, "it")
    assert json.loads(server.asked[0].body)["text"] == "chatbot-platform is Failed"


def test_stopping_does_not_wait_for_what_waits(desk: Callable[..., tuple[Desk, Server]]) -> None:
    found, server = desk(lambda _, __, stopped: stopped.wait(20))
    found.put("a")
    until(lambda: server.asked, "the try")
    began = time.monotonic()
    found.box.stop(0.3)
    assert time.monotonic() - began < 2
    assert found.came == {}, "it stays owed"
