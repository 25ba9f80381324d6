"""Ready endpoints come from EndpointSlices; for the moment in which those lag behind, the pods speak (S1)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from watcher.adapters.kubernetes import views
from watcher.adapters.kubernetes.caches import compose
from watcher.core.application import Application
from watcher.core.observed import PodView, ServiceView

APP = Application.model_validate_json(
    json.dumps(
        {
            "apiVersion": "watcher.bluegreen.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "chat", "namespace": "prod"},
            "spec": {
                "service": "chat",
                "colors": {"blue": {"deployment": "chat-blue"}, "green": {"deployment": "chat-green"}},
                "preview": {"service": "chat-preview"},
            },
        }
    )
)


def service(name: str, color: str) -> views.Service:
    return views.Service(ServiceView(name, "u", "1", {"color": color}), "10.0.0.1", (), annotated=False)


def pod(name: str, color: str, *, ready: bool = True) -> views.Pod:
    view = PodView(name, f"u-{name}", "10.0.0.2", ready, datetime(2026, 11, 23, tzinfo=UTC))
    return views.Pod(view, f"chat-{color}", {}, {})


PODS = {p.view.name: p for p in (pod("b1", "blue"), pod("b2", "blue"), pod("g1", "green"), pod("g2", "green"))}


def endpoints(color: str, *slices: views.Slice, pods: dict[str, views.Pod] = PODS) -> tuple[int | None, int]:
    """With green live and blue previewed: what the slices say of a colour, and what is made of it."""
    world = compose(APP, service("chat", "green"), service("chat-preview", "blue"), {}, pods, slices)
    return world.colors[color].endpoints, world.colors[color].ready


def test_ready_endpoints_are_counted_in_the_slices_of_the_service_that_selects_the_colour() -> None:
    slices = (views.Slice("chat", ("g1", "g2")), views.Slice("chat-preview", ("b1",)))
    assert endpoints("green", *slices) == (2, 2)
    assert endpoints("blue", *slices) == (1, 1), "a pod that calls itself ready is not an endpoint yet"


@pytest.mark.parametrize("stale", [("g1", "g2"), ("b1", "g2")])
def test_slices_that_still_name_the_other_colour_say_nothing_of_this_one(stale: tuple[str, ...]) -> None:
    assert endpoints("blue", views.Slice("chat-preview", stale)) == (None, 2)


def test_empty_slices_are_a_dead_colour() -> None:
    assert endpoints("blue", views.Slice("chat-preview", ())) == (0, 0)


def test_a_colour_that_is_dying_has_no_endpoints_though_its_pods_linger() -> None:
    pods = PODS | {"b1": pod("b1", "blue", ready=False), "b2": pod("b2", "blue", ready=False)}
    assert endpoints("blue", views.Slice("chat-preview", ("g1",)), pods=pods) == (None, 0)
