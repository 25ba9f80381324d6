"""Telling is not doing (S11): nothing waits for it, it is tried again, and a key is told once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.conftest import Server, reply
from tests.support.acting import until
from tests.support.api import api_server, kubeconfig
from tests.support.clock import HandClock
from tests.support.proxy import Proxy, refuse
from watcher.adapters.errors import Conflict
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.channels import Notification
from watcher.core.effects import Tell
from watcher.core.release import Release, Spec
from watcher.core.settings import Settings
from watcher.engine.clock import SystemClock
from watcher.engine.config import Config
from watcher.engine.teller import Teller

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
NOW_REALLY = datetime.now(UTC)
FLIP = Tell("flip/1", "Switched", "Traffic moved from blue to green.", evidence={"from": "blue", "to": "green"})
BACK = Tell("flip/2", "SwitchedBack", "Traffic moved back.", "warning")
RELEASE = Release(
    name="shop-x7k2p",
    namespace="prod",
    uid="5a1ff0",
    resource_version="1",
    created_at=NOW,
    spec=Spec(application="shop", version="2.4.1"),
)
SERVICE = {"apiVersion": "v1", "kind": "Service", "name": "shop", "namespace": "prod", "uid": "77aa"}

Start = Callable[..., Teller]
Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with api_server(tmp_path_factory.mktemp("api")) as connection:
        yield connection


@pytest.fixture
def start(api: Connection) -> Iterator[Start]:
    """Start a teller in a namespace without Events."""
    for item in api.get(paths.events("prod")).get("items") or ():
        api.delete(f"{paths.events('prod')}/{item['metadata']['name']}")
    with suppress(Conflict):
        api.create("/api/v1/namespaces", {"metadata": {"name": "prod"}})
    made: list[Teller] = []

    def begin(*channels: Notification, hands: Hands | None = None, lost: Callable[[], None] = lambda: None) -> Teller:
        made.append(Teller(hands or Hands(api), config(*channels), SystemClock(), lost=lost))
        made[-1].start()
        return made[-1]

    yield begin
    for teller in made:
        teller.stop()


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def begin(script: Callable[..., Any]) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def config(*channels: Notification) -> Callable[[], Config]:
    found = Config(Settings(notifications=channels))
    return lambda: found


def chat(name: str, url: str) -> Notification:
    return Notification(name=name, url=url)


def good(_: Any, send: Any, __: Any) -> None:
    send(reply(200))


def hang(_: Any, __: Any, stopped: threading.Event) -> None:
    stopped.wait(20)


def events(api: Connection) -> list[dict[str, Any]]:
    return list(api.get(paths.events("prod"))["items"])


def fails(_: Any, send: Any, __: Any) -> None:
    send(reply(500))


def states(api: Connection) -> dict[str, str]:
    """What the Release's first Event says of the channels."""
    found = Hands(api).read_channels("prod", RELEASE.uid)
    return dict(found[0].states) if found else {}


def keys(server: Server) -> list[str]:
    return [json.loads(asked.body)["key"] for asked in server.asked]


def test_what_happened_is_told_to_channels_and_on_release_and_service(
    start: Start, serve: Serve, api: Connection
) -> None:
    hook = serve(good)
    start(chat("team-chat", hook.url)).tell(RELEASE, FLIP, NOW, SERVICE)
    until(lambda: len(events(api)) == 2 and hook.asked, "both Events and the notification")
    assert {e["involvedObject"]["kind"] for e in events(api)} == {"Release", "Service"}
    assert {e["reason"] for e in events(api)} == {"Switched"}
    document = json.loads(hook.asked[0].body)
    assert document["message"] == FLIP.message
    assert document["evidence"] == {"from": "blue", "to": "green"}
    assert document["version"] == "2.4.1"
    assert hook.asked[0].method == "POST"


def test_a_key_is_told_once(start: Start, serve: Serve, api: Connection) -> None:
    hook = serve(good)
    teller = start(chat("team-chat", hook.url))
    for tell in (FLIP, FLIP, BACK, FLIP):
        teller.tell(RELEASE, tell, NOW, SERVICE)
    until(lambda: len(events(api)) == 4 and len(hook.asked) == 2, "four Events and two notifications")
    assert sorted(keys(hook)) == ["5a1ff0/flip/1", "5a1ff0/flip/2"]


def test_a_key_that_an_earlier_life_told_is_not_told_again(start: Start, serve: Serve, api: Connection) -> None:
    hook = serve(good)
    start(chat("team-chat", hook.url)).tell(RELEASE, FLIP, NOW, None)
    until(lambda: len(events(api)) == 1 and hook.asked, "the Event and the notification")
    later = start(chat("team-chat", hook.url))
    for tell in (FLIP, BACK):
        later.tell(RELEASE, tell, NOW, None)
    until(lambda: len(hook.asked) == 2, "the news")
    assert keys(hook) == ["5a1ff0/flip/1", "5a1ff0/flip/2"]
    assert len(events(api)) == 2


def test_what_an_earlier_life_could_not_deliver_is_delivered_by_the_next_from_the_event_alone(
    start: Start, serve: Serve, api: Connection
) -> None:
    """Nobody tells it again: the Release that it was about may be gone."""
    down, other, hook = serve(fails), serve(good), serve(good)
    first = start(chat("team-chat", down.url), chat("log", other.url))
    first.tell(RELEASE, FLIP, NOW_REALLY, None)
    until(lambda: down.asked and states(api).get("log", "").startswith("sent "), "the first try, and what came of it")
    first.stop()
    assert states(api)["team-chat"] == "owed"

    later = start(chat("team-chat", hook.url), chat("log", other.url))
    later.resume(["prod"])
    until(lambda: states(api)["team-chat"].startswith("sent "), "the note that it was delivered")
    assert keys(hook) == keys(other) == ["5a1ff0/flip/1"]
    assert json.loads(hook.asked[0].body) == json.loads(other.asked[0].body), "the same words"
    assert not Hands(api).read_owed("prod")


def test_a_channel_that_the_settings_got_later_hears_no_old_news(start: Start, serve: Serve, api: Connection) -> None:
    hook, new = serve(good), serve(good)
    start(chat("team-chat", hook.url)).tell(RELEASE, FLIP, NOW_REALLY, None)
    until(lambda: states(api).get("team-chat", "").startswith("sent "), "the first")
    later = start(chat("team-chat", hook.url), chat("new", new.url))
    for tell in (replace(FLIP, repeated=True), BACK):
        later.tell(RELEASE, tell, NOW_REALLY, None)
    until(lambda: new.asked and len(hook.asked) == 2, "the news")
    assert keys(new) == ["5a1ff0/flip/2"]


def test_killed_between_telling_and_noting_it_tells_once_more_with_the_same_key(
    start: Start, serve: Serve, api: Connection, tmp_path: Path
) -> None:
    hook = serve(good)
    with Proxy(kubeconfig(tmp_path / "direct", api.host)) as proxy:
        proxy.on("PATCH", "/events/", refuse(503, "no"), times=1000)
        hands = Hands(Connection(proxy.kubeconfig(tmp_path / "through")))
        killed = start(chat("team-chat", hook.url), hands=hands)
        killed.tell(RELEASE, FLIP, NOW_REALLY, None)
        until(lambda: hook.asked, "the notification")
        killed.stop(0.2)
    assert states(api) == {"team-chat": "owed"}
    later = start(chat("team-chat", hook.url))
    later.tell(RELEASE, replace(FLIP, repeated=True), NOW_REALLY, None)
    until(lambda: states(api)["team-chat"].startswith("sent "), "the note")
    assert keys(hook) == ["5a1ff0/flip/1", "5a1ff0/flip/1"]


def test_what_is_no_news_any_more_is_given_up_and_says_so(start: Start, serve: Serve, api: Connection) -> None:
    down, hook, lost = serve(fails), serve(good), threading.Event()
    first = start(chat("team-chat", down.url))
    first.tell(RELEASE, FLIP, NOW_REALLY - timedelta(minutes=61), None)
    until(lambda: down.asked, "the first try")
    first.stop()
    start(chat("team-chat", hook.url), lost=lost.set).resume(["prod"])
    until(lambda: states(api)["team-chat"].startswith("given up "), "the note")
    assert lost.is_set()
    assert not hook.asked


def test_one_that_no_longer_leads_sends_nothing_and_keeps_what_is_owed(
    start: Start, serve: Serve, api: Connection
) -> None:
    down, leads = serve(fails), threading.Event()
    leads.set()
    teller = Teller(Hands(api), config(chat("team-chat", down.url)), SystemClock(), leads=leads.is_set)
    teller.start()
    teller.tell(RELEASE, FLIP, NOW_REALLY, None)
    until(lambda: len(down.asked) >= 2, "tries")
    leads.clear()
    teller.let_go()
    assert teller.outbox.waiting() == {"team-chat": 0}
    assert states(api) == {"team-chat": "owed"}
    before = len(down.asked)
    leads.set()
    teller.resume(["prod"])
    until(lambda: len(down.asked) > before, "a try after it leads again")
    teller.stop()


def test_severity_events_and_the_applications_own_channels_decide_who_hears(
    start: Start, serve: Serve, api: Connection
) -> None:
    everything, warnings, flips = serve(good), serve(good), serve(good)
    teller = start(
        chat("everything", everything.url),
        Notification(name="warnings", url=warnings.url, severity="warning"),
        Notification(name="flips", url=flips.url, events=("flip",)),
    )
    attention = Tell("way-back-lost/1", "WayBackLost", "The way back is lost.", "critical")
    for tell in (FLIP, attention):
        teller.tell(RELEASE, tell, NOW_REALLY, None)
    until(lambda: len(everything.asked) == 2 and warnings.asked and flips.asked, "all that is wanted")
    teller.stop()
    assert keys(warnings) == ["5a1ff0/way-back-lost/1"]
    assert keys(flips) == ["5a1ff0/flip/1"]


def test_a_conflict_over_something_else_does_not_count_as_told(
    start: Start, serve: Serve, api: Connection, tmp_path: Path
) -> None:
    """A quota that somebody else is just counting against answers a creation with 409, too."""
    hook = serve(good)
    with Proxy(kubeconfig(tmp_path / "direct", api.host)) as proxy:
        refused = refuse(409, 'Operation cannot be fulfilled on resourcequotas "quota": the object has been modified')
        proxy.on("POST", "/events$", refused, times=2)
        hands = Hands(Connection(proxy.kubeconfig(tmp_path / "through")))
        start(chat("team-chat", hook.url), hands=hands).tell(RELEASE, FLIP, NOW, None)
        until(lambda: events(api) and hook.asked, "the Event and the notification")
    assert len(hook.asked) == 1


def test_an_event_that_was_given_up_is_made_when_the_news_is_told_again_and_the_channels_hear_it_once(
    serve: Serve, api: Connection, tmp_path: Path
) -> None:
    """So it is with a lead that was lost right after something happened, and won again."""
    hook, clock, leads, lost = serve(good), HandClock(), threading.Event(), threading.Event()
    hands = Hands(Connection(kubeconfig(tmp_path / "it", api.host), may_write=leads.is_set))
    teller = Teller(hands, config(chat("team-chat", hook.url)), clock, lost=lost.set)
    release = RELEASE.model_copy(update={"uid": "7e11e4"})

    def told() -> list[dict[str, Any]]:
        return [event for event in events(api) if event["involvedObject"]["uid"] == release.uid]

    def given_up() -> bool:
        clock.seconds += 10
        return lost.is_set()

    teller.start()
    teller.tell(release, FLIP, NOW, None)
    until(given_up, "the Event to be given up")
    leads.set()

    def made() -> bool:
        teller.tell(release, replace(FLIP, repeated=True), NOW, None)
        return bool(told())

    until(made, "the Event")
    teller.stop()
    assert keys(hook) == [f"{release.uid}/flip/1"]
    assert len(told()) == 1


def test_a_channel_that_hangs_delays_neither_the_caller_nor_the_others_nor_the_events(
    start: Start, serve: Serve, api: Connection
) -> None:
    stuck, hook = serve(hang), serve(good)
    teller = start(chat("stuck", stuck.url), chat("team-chat", hook.url))
    began = time.monotonic()
    for n in range(50):
        teller.tell(RELEASE, Tell(f"k/{n}", "Said", f"{n}"), NOW, None)
    assert time.monotonic() - began < 0.5, "telling waits for something"
    until(lambda: len(hook.asked) == 50 and len(events(api)) == 50, "all of it", 20)
    assert stuck.asked


def test_an_api_server_that_hangs_delays_no_caller(start: Start, serve: Serve, tmp_path: Path) -> None:
    stuck, hook = serve(hang), serve(good)
    connection = Connection(kubeconfig(tmp_path / "kubeconfig", stuck.url), deadline=0.5)
    teller = start(chat("team-chat", hook.url), hands=Hands(connection))
    began = time.monotonic()
    for tell in (FLIP, BACK):
        teller.tell(RELEASE, tell, NOW, SERVICE)
    assert time.monotonic() - began < 0.4
    until(lambda: hook.asked, "the notification although the API server hangs")


def test_a_channel_that_fails_is_tried_again(start: Start, serve: Serve) -> None:
    def late(asked: Any, send: Any, _: Any) -> None:
        answers.append(asked.path)
        send(reply(503 if len(answers) < 3 else 204))

    answers: list[str] = []
    hook = serve(late)
    start(chat("team-chat", hook.url)).tell(RELEASE, FLIP, NOW, None)
    until(lambda: len(hook.asked) == 3, "the third attempt")
    assert set(keys(hook)) == {"5a1ff0/flip/1"}


def test_a_channel_that_refuses_for_good_is_not_asked_again_and_what_was_lost_is_counted(
    start: Start, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Any, send: Any, __: Any) -> None:
        send(reply(404))

    hook, other = serve(refuse), serve(good)
    lost: list[bool] = []
    teller = start(chat("team-chat", hook.url), chat("other", other.url), lost=lambda: lost.append(True))
    teller.tell(RELEASE, FLIP, NOW, None)
    until(lambda: hook.asked and other.asked, "the notifications")
    threading.Event().wait(0.8)  # longer than the first wait between two attempts
    assert len(hook.asked) == 1
    assert lost == [True], "the other channel's was delivered"
    assert hook.url not in capsys.readouterr().out


def test_an_event_outlives_an_outage_of_the_api_server(api: Connection, start: Start, tmp_path: Path) -> None:
    class Hurried(SystemClock):
        def wait(self, event: threading.Event, seconds: float) -> bool:
            waited.append(seconds)
            return event.is_set()

    waited: list[float] = []
    path = kubeconfig(tmp_path / "kubeconfig", api.host)
    start().stop()  # for a namespace without Events
    teller = Teller(Hands(Connection(path, may_write=lambda: sum(waited) > 60)), config(), Hurried())
    teller.start()
    teller.tell(RELEASE, FLIP, NOW, None)
    until(lambda: api.get(paths.events("prod"))["items"], "the Event")
    teller.stop()
    assert max(waited) <= 5


def test_a_secret_address_is_read_for_each_message(start: Start, serve: Serve, tmp_path: Path) -> None:
    first, second = serve(good), serve(good)
    file = tmp_path / "url"
    file.write_text(first.url + "\n", "utf-8")
    teller = start(Notification(name="team-chat", url_file=str(file)))
    teller.tell(RELEASE, FLIP, NOW, None)
    until(lambda: first.asked, "the first place")
    file.write_text(second.url, "utf-8")
    teller.tell(RELEASE, BACK, NOW, None)
    until(lambda: second.asked, "the second place")


def test_stopping_delivers_what_waits_and_does_not_wait_for_what_hangs(
    start: Start, serve: Serve, api: Connection
) -> None:
    teller = start(chat("stuck", serve(hang).url))
    for tell in (FLIP, BACK):
        teller.tell(RELEASE, tell, NOW, None)
    began = time.monotonic()
    teller.stop()
    assert time.monotonic() - began < 3
    assert len(events(api)) == 2
