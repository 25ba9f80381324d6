"""The API server under test, and a namespace of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster_api.harness import Api, Json, embedded, outside, unique, until, widget_crd


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """The API server that the environment names, else an embedded one."""
    other = outside()
    if other is not None:
        with other.session:
            yield other
        return
    with embedded() as running:
        found = Api(running.url)
        with found.session:
            yield found


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    name = unique("contract")
    api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    # A real server admits pods only where the default account is there already.
    account = {"metadata": {"name": "default"}}
    assert api.call("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account).status_code in (201, 409)
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def group(api: Api) -> Iterator[str]:
    """The API group of an established Widget CRD."""
    name = f"{unique('g')}.example.test"
    crd: Json = widget_crd(name)
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    until(lambda: api.call("GET", f"/apis/{name}/v1/widgets").ok)
    yield name
    api.call("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{name}")
