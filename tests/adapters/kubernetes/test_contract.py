"""What the daemon's hands rely on in an API server; put to the embedded one, or to any other (see conftest)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.acting import application
from watcher.adapters.errors import AdapterError, Conflict, Fatal
from watcher.adapters.kubernetes import paths, views
from watcher.adapters.kubernetes.connection import MERGE_PATCH, Connection, NotFound
from watcher.adapters.kubernetes.hands import OWED, Event, Hands
from watcher.adapters.kubernetes.leases import Leases
from watcher.core.effects import Deploy
from watcher.core.release import Colors, Flip, Phase, Release

NOW = datetime(2026, 11, 23, 14, 2, 11, 250000, tzinfo=UTC)
FORWARD = Flip(index=1, from_="blue", to="green", reason="switch", at=NOW)
BACK = Flip(index=2, from_="green", to="blue", reason="manual", at=NOW)


def look(hands: Hands, namespace: str, name: str = "shop") -> views.Service:
    found = hands.read_service(namespace, name)
    assert found is not None
    return found


def release(hands: Hands, namespace: str, **spec: Any) -> Release:
    body = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Release",
        "metadata": {"generateName": "shop-"},
        "spec": {"application": "shop", "version": "2", "images": {"web": "shop:2"}} | spec,
    }
    return hands.create_release(namespace, body)


# -- the switch -------------------------------------------------------------------------------------------------------


def test_a_swap_changes_the_one_key_and_leaves_its_mark(
    hands: Hands, connection: Connection, namespace: str, service: Callable[..., str]
) -> None:
    service(annotations={"team": "chat"}, labels={"tier": "front"})
    hands.swap_selector(look(hands, namespace), namespace, "color", FORWARD, "uid/1", NOW)
    raw = connection.get(paths.services(namespace, "shop"))
    assert raw["spec"]["selector"] == {"app": "shop", "color": "green"}
    assert raw["metadata"]["annotations"] == {"team": "chat", views.FLIP_ANNOTATION: f"uid/1 {NOW.isoformat()} green"}
    assert raw["metadata"]["labels"] == {"tier": "front"}
    found = look(hands, namespace)
    assert (found.view.mark, found.view.marked_at) == ("uid/1", NOW)


@pytest.mark.parametrize("meta", [{}, {"annotations": {"team": "chat"}}], ids=["unannotated", "annotated"])
def test_a_swap_from_the_wrong_colour_conflicts_and_changes_nothing(
    meta: dict[str, Any], hands: Hands, connection: Connection, namespace: str, service: Callable[..., str]
) -> None:
    service(**meta)
    before = connection.get(paths.services(namespace, "shop"))
    with pytest.raises(Conflict):
        hands.swap_selector(look(hands, namespace), namespace, "color", BACK, "uid/2", NOW)
    assert connection.get(paths.services(namespace, "shop")) == before


def test_a_swap_of_a_key_that_the_selector_does_not_have_conflicts(
    hands: Hands, namespace: str, service: Callable[..., str]
) -> None:
    service()
    with pytest.raises(Conflict):
        hands.swap_selector(look(hands, namespace), namespace, "colour/of", FORWARD, "uid/1", NOW)


def test_the_first_annotation_of_somebody_else_is_not_erased_by_a_swap(
    hands: Hands, connection: Connection, namespace: str, service: Callable[..., str]
) -> None:
    service()
    stale = look(hands, namespace)
    assert not stale.annotated
    connection.patch(paths.services(namespace, "shop"), {"metadata": {"annotations": {"team": "chat"}}}, MERGE_PATCH)
    with pytest.raises(Conflict):
        hands.swap_selector(stale, namespace, "color", FORWARD, "uid/1", NOW)
    hands.swap_selector(look(hands, namespace), namespace, "color", FORWARD, "uid/1", NOW)
    assert connection.get(paths.services(namespace, "shop"))["metadata"]["annotations"]["team"] == "chat"


@pytest.mark.parametrize("meta", [{}, {"annotations": {"team": "chat"}}], ids=["unannotated", "annotated"])
def test_of_swaps_at_once_exactly_one_wins(
    meta: dict[str, Any], hands: Hands, connection: Connection, namespace: str, service: Callable[..., str]
) -> None:
    service(**meta)
    seen = look(hands, namespace)
    won: list[str] = []
    lost: list[str] = []
    start = threading.Barrier(8)

    def swap(mark: str) -> None:
        start.wait()
        try:
            hands.swap_selector(seen, namespace, "color", FORWARD, mark, NOW)
            won.append(mark)
        except Conflict:
            lost.append(mark)

    threads = [threading.Thread(target=swap, args=(f"uid-{n}/1",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(won) == 1
    assert len(lost) == 7
    found = look(hands, namespace)
    assert found.view.selector["color"] == "green"
    assert found.view.mark == won[0]


def test_a_swap_of_a_service_that_went_says_so(hands: Hands, connection: Connection, namespace: str) -> None:
    body = {"metadata": {"name": "shop"}, "spec": {"selector": {"color": "blue"}, "ports": [{"port": 80}]}}
    connection.create(paths.services(namespace), {"apiVersion": "v1", "kind": "Service", **body})
    seen = look(hands, namespace)
    connection.delete(paths.services(namespace, "shop"))
    with pytest.raises(NotFound):
        hands.swap_selector(seen, namespace, "color", FORWARD, "uid/1", NOW)
    assert hands.read_service(namespace, "shop") is None


def test_pointing_the_preview_changes_its_colour_alone(
    hands: Hands, namespace: str, service: Callable[..., str]
) -> None:
    service("preview")
    hands.point_preview(namespace, "preview", "color", "green")
    assert look(hands, namespace, "preview").view.selector == {"app": "shop", "color": "green"}


# -- the Release ------------------------------------------------------------------------------------------------------


def test_a_status_is_written_once_per_version_of_the_release(hands: Hands, namespace: str) -> None:
    fresh = release(hands, namespace)
    first = fresh.status.model_copy(update={"phase": Phase.DEPLOYING, "colors": Colors(from_="blue", to="green")})
    written = hands.write_status(fresh, first)
    assert written.phase is Phase.DEPLOYING
    assert written.resource_version != fresh.resource_version
    with pytest.raises(Conflict):
        hands.write_status(fresh, fresh.status.model_copy(update={"phase": Phase.FAILED}))
    found = hands.read_release(namespace, fresh.name)
    assert found is not None
    assert found.status == first


def test_a_status_is_not_written_over_a_command_that_came_meanwhile(hands: Hands, namespace: str) -> None:
    fresh = release(hands, namespace)
    hands.command(namespace, fresh.name, "abort", {"by": "ada", "reason": "wrong version"})
    with pytest.raises(Conflict):
        hands.write_status(fresh, fresh.status.model_copy(update={"phase": Phase.DEPLOYING}))


def test_what_a_newer_version_wrote_survives_a_status_of_ours(
    hands: Hands, connection: Connection, namespace: str
) -> None:
    fresh = release(hands, namespace)
    status = {
        "phase": "Watching",
        "message": "by a newer one",
        "pinned": {"application": application(), "novelty": [1, 2]},
    }
    path = paths.releases(namespace, fresh.name)
    connection.patch(f"{path}/status", {"status": status}, MERGE_PATCH)
    seen = hands.read_release(namespace, fresh.name)
    assert seen is not None
    assert seen.status.pinned is not None
    hands.write_status(seen, seen.status.model_copy(update={"message": "by us"}))
    raw = connection.get(path)["status"]
    assert raw["message"] == "by us"
    assert raw["pinned"]["novelty"] == [1, 2]


def test_a_field_that_is_taken_from_the_status_is_gone(hands: Hands, namespace: str) -> None:
    fresh = release(hands, namespace)
    with_intent = hands.write_status(fresh, fresh.status.model_copy(update={"intent": FORWARD}))
    assert with_intent.status.intent == FORWARD
    without = hands.write_status(with_intent, with_intent.status.model_copy(update={"intent": None}))
    assert without.status.intent is None


def test_a_status_that_the_schema_refuses_is_no_conflict(hands: Hands, connection: Connection, namespace: str) -> None:
    fresh = release(hands, namespace)
    with pytest.raises(Fatal):
        connection.patch(
            f"{paths.releases(namespace, fresh.name)}/status", {"status": {"phase": "Nowhere"}}, MERGE_PATCH
        )


def test_commands_are_set_and_taken_away(hands: Hands, namespace: str) -> None:
    fresh = release(hands, namespace)
    paused = hands.command(namespace, fresh.name, "pause", {"by": "ada", "reason": "lunch"})
    assert paused.spec.pause is not None
    assert paused.spec.pause.told() == "by ada (lunch)"
    assert hands.command(namespace, fresh.name, "pause", None).spec.pause is None


def test_a_release_without_an_application_is_refused(hands: Hands, namespace: str) -> None:
    with pytest.raises(Fatal, match="application"):
        release(hands, namespace, application="")


# -- the colours ------------------------------------------------------------------------------------------------------


def test_a_deploy_changes_image_size_and_version_and_nothing_else(
    hands: Hands, connection: Connection, namespace: str
) -> None:
    containers: list[dict[str, Any]] = [
        {"name": "web", "image": "shop:1", "env": [{"name": "COLOR", "value": "green"}]},
        {"name": "sidecar", "image": "proxy:7"},
    ]
    labels = {"app": "shop", "color": "green"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop-green", "annotations": {"team": "chat"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
    connection.create(paths.deployments(namespace), body)
    hands.deploy(namespace, Deploy("shop-green", {"web": "shop:2"}, 0, "2"))
    raw = connection.get(paths.deployments(namespace, "shop-green"))
    web, sidecar = raw["spec"]["template"]["spec"]["containers"]
    assert (web["image"], web["env"]) == ("shop:2", containers[0]["env"])
    assert sidecar["image"] == "proxy:7"
    assert raw["metadata"]["annotations"]["team"] == "chat"
    assert views.deployment(raw).version == "2"
    hands.scale(namespace, "shop-green", 3)
    assert views.deployment(connection.get(paths.deployments(namespace, "shop-green"))).replicas == 3


# -- telling ----------------------------------------------------------------------------------------------------------


def test_an_event_is_there_once_per_key_and_object(hands: Hands, connection: Connection, namespace: str) -> None:
    fresh = release(hands, namespace)
    about = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Release",
        "name": fresh.name,
        "namespace": namespace,
        "uid": fresh.uid,
    }
    for key in ("flip/1", "flip/1", "flip/2", "flip/1"):
        hands.event(Event(about, key, "rule/http/error-rate", "Traffic moved. " * 200, "Normal", NOW))
    found = connection.get(paths.events(namespace))["items"]
    assert len(found) == 2
    assert {item["reason"] for item in found} == {"rulehttperror-rate"}
    assert all(len(item["message"]) <= 1024 for item in found)


def test_what_may_not_be_done_is_fatal_and_what_is_not_there_is_not_found(
    hands: Hands, connection: Connection, namespace: str
) -> None:
    assert hands.read_release(namespace, "nobody") is None
    with pytest.raises(NotFound):
        hands.command(namespace, "nobody", "abort", {})
    with pytest.raises(AdapterError) as caught:
        connection.create(paths.services(namespace), {"metadata": {"name": "Not A Name"}, "spec": {}})
    assert isinstance(caught.value, Fatal)


def test_an_event_keeps_what_channels_are_owed_until_all_have_got_it(
    hands: Hands, connection: Connection, namespace: str
) -> None:
    fresh = release(hands, namespace)
    about = {"kind": "Release", "name": fresh.name, "namespace": namespace, "uid": fresh.uid}
    event = Event(about, "u/end", "Completed", "It serves.", "Normal", NOW, notice='{"key": "u/end"}')
    assert hands.event(event, {"chat": OWED, "pager": OWED})
    assert not hands.event(event, {"chat": OWED}), "it exists once"
    (owed,) = hands.read_owed(namespace)
    assert (owed.name, owed.notice) == (event.name, event.notice)
    assert owed.states == {"chat": OWED, "pager": OWED}

    hands.note_channels(namespace, event.name, {"chat": "sent then C1", "pager": OWED})
    assert [one.states["chat"] for one in hands.read_owed(namespace)] == ["sent then C1"]
    hands.note_channels(namespace, event.name, {"chat": "sent then C1", "pager": "sent then"})
    assert not hands.read_owed(namespace)
    (known,) = hands.read_channels(namespace, fresh.uid)
    assert known.states == {"chat": "sent then C1", "pager": "sent then"}
    hands.note_channels(namespace, "gone", {"chat": OWED})  # Events are kept for an hour; that is no error


# -- the Lease --------------------------------------------------------------------------------------------------------


def test_a_lease_says_from_its_first_write_on_where_releases_may_run(connection: Connection, namespace: str) -> None:
    leases = Leases(connection, namespace, "watcher")
    assert leases.read() is None
    leases.create("one", 10.0, NOW, {"shop", "prod"})
    found = leases.read()
    assert found is not None
    assert (found.holder, found.namespaces) == ("one", frozenset({"shop", "prod"}))
    leases.take(found, "two", 10.0, NOW, {"prod"})
    taken = leases.read()
    assert taken is not None
    assert (taken.holder, taken.transitions, taken.namespaces) == ("two", 1, frozenset({"prod"}))
    with pytest.raises(Conflict):
        leases.take(found, "three", 10.0, NOW, {"shop"})
    leases.release(taken)
    free = leases.read()
    assert free is not None
    assert (free.holder, free.namespaces) == ("", frozenset({"prod"}))
