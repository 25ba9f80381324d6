"""Whether a colour is ready is asked of the live Service's whole selector, not of its colour alone (S1, S2)."""

from __future__ import annotations

from dataclasses import replace

from tests.adapters.kubernetes.test_compose import APP, pod, service
from watcher.adapters.kubernetes import views
from watcher.adapters.kubernetes.caches import compose

WEB = {"tier": "web"}


def asking(found: views.Service, **labels: str) -> views.Service:
    """The Service with more in its selector."""
    return replace(found, view=replace(found.view, selector={**found.view.selector, **labels}))


def labelled(name: str, color: str, **labels: str) -> views.Pod:
    return replace(pod(name, color), labels={"color": color, **labels})


def ready(color: str, live: views.Service, preview: views.Service | None, *slices: views.Slice) -> int:
    """With the blue pods labelled as `tier: web`, and the green ones not."""
    own = [
        labelled("b1", "blue", **WEB),
        labelled("b2", "blue", **WEB),
        labelled("g1", "green"),
        labelled("g2", "green"),
    ]
    return compose(APP, live, preview, {}, {p.view.name: p for p in own}, slices).colors[color].ready


def test_pods_that_the_live_service_would_not_find_are_a_dead_colour_though_the_preview_finds_them() -> None:
    live, preview = asking(service("chat", "blue"), **WEB), service("chat-preview", "green")
    slices = (views.Slice("chat", ("b1", "b2")), views.Slice("chat-preview", ("g1", "g2")))
    assert ready("green", live, preview, *slices) == 0
    assert ready("blue", live, preview, *slices) == 2


def test_pods_that_the_live_service_would_not_find_are_a_dead_colour_without_a_preview_too() -> None:
    assert ready("green", asking(service("chat", "blue"), **WEB), None, views.Slice("chat", ("b1", "b2"))) == 0


def test_a_preview_that_asks_for_more_than_the_live_service_does_not_make_the_way_back_look_cold() -> None:
    live, preview = service("chat", "green"), asking(service("chat-preview", "blue"), release="2")
    slices = (views.Slice("chat", ("g1", "g2")), views.Slice("chat-preview", ()))
    assert ready("blue", live, preview, *slices) == 2


def test_a_pod_keeps_its_labels() -> None:
    labels = {"color": "blue", "tier": "web"}
    raw = {
        "metadata": {"name": "b1", "uid": "u", "creationTimestamp": "2026-11-23T00:00:00Z", "labels": labels},
        "spec": {"containers": []},
    }
    assert views.pod(raw).labels == labels
