"""What is read from a HorizontalPodAutoscaler, and what is noted on it."""

from __future__ import annotations

from typing import Any

import pytest

from watcher.adapters.kubernetes.views import MINIMUM_ANNOTATION, held, scaler
from watcher.core.observed import Held


def autoscaler(note: str | None = None, target: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    meta = {"name": "chat", "resourceVersion": "7", **metadata}
    if note is not None:
        meta["annotations"] = {MINIMUM_ANNOTATION: note}
    wanted = target or {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat-blue"}
    return {"metadata": meta, "spec": {"scaleTargetRef": wanted, "minReplicas": 3, "maxReplicas": 5}}


def test_its_bounds_and_the_deployment_that_it_sizes_are_read() -> None:
    found = scaler(autoscaler())
    assert (found.deployment, found.view.name) == ("chat-blue", "chat")
    assert (found.view.minimum, found.view.maximum, found.view.held) == (3, 5, None)


def test_what_was_noted_on_it_is_read_back() -> None:
    found = scaler(autoscaler(held(Held(1, 3)))).view
    assert found.held == Held(1, 3)
    assert found.ours
    assert held(None) is None


@pytest.mark.parametrize("note", ["", "1", "1, held at", "one, held at 3", "1, held at 3 or so", "1, held at -3"])
def test_a_note_that_somebody_spoiled_is_none(note: str) -> None:
    assert scaler(autoscaler(note)).view.held is None


@pytest.mark.parametrize(
    "target",
    [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "chat-blue"},
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Deployment", "name": "chat-blue"},
    ],
)
def test_what_sizes_something_else_belongs_to_no_colour(target: dict[str, Any]) -> None:
    assert scaler(autoscaler(target=target)).deployment == ""


def test_one_that_another_controller_owns_says_so() -> None:
    keda = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "chat", "uid": "u", "controller": True}
    assert scaler(autoscaler(ownerReferences=[keda])).view.owner == "ScaledObject chat"
    assert scaler(autoscaler(ownerReferences=[keda | {"controller": False}])).view.owner == ""
    assert scaler(autoscaler()).view.owner == ""


def test_its_own_reports_are_no_change() -> None:
    assert scaler(autoscaler()) == scaler(autoscaler(resourceVersion="8"))
