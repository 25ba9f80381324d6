"""A real API server takes the example of deploy/overlays/example, and gives its Prometheus the rights that it needs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.waiting import apply, kubectl, make_namespace
from tests.packaging.rendered import Manifest, render

EXAMPLE = "deploy/overlays/example"
RIGHTS = ("ServiceAccount", "Role", "RoleBinding")


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    name = f"chat-example-{uuid.uuid4().hex[:8]}"
    make_namespace(name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def moved(namespace: str) -> list[Manifest]:
    """The example's objects, in this namespace instead of their own."""
    text = json.dumps([one for one in render(EXAMPLE) if one["kind"] != "Namespace"])
    found: list[Manifest] = json.loads(
        text.replace('"namespace": "chatbot-platform-prod"', f'"namespace": "{namespace}"')
    )
    return found


def test_an_api_server_takes_every_object_as_it_is(namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "List", "items": moved(namespace)}
    told = kubectl("apply", "--dry-run=server", "--filename=-", stdin=json.dumps(body)).splitlines()

    assert len(told) == len(moved(namespace))
    assert all(line.endswith("created (server dry run)") for line in told), told


def test_its_prometheus_may_look_at_pods_there_and_at_nothing_else(namespace: str) -> None:
    apply(*(one for one in moved(namespace) if one["kind"] in RIGHTS))

    def may(verb: str, what: str, *where: str) -> str:
        account = f"--as=system:serviceaccount:{namespace}:prometheus"
        return kubectl("auth", "can-i", verb, what, account, *where, check=False).strip()

    assert [may(verb, "pods", "-n", namespace) for verb in ("list", "watch")] == ["yes", "yes"]
    for verb, what in (("get", "secrets"), ("create", "pods"), ("list", "services"), ("get", "pods/log")):
        assert may(verb, what, "-n", namespace) == "no", f"{verb} {what}"
    assert may("list", "pods", "-n", "default") == "no"
