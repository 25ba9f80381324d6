"""The OpenAPI document is the one that is committed, and the API does what it says, whatever comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.api.conftest import PLENTY, RELEASER, Site, entry, opened
from tests.packaging.rendered import ROOT
from watcher.api.openapi import DOCUMENT, document
from watcher.api.v1 import OPERATIONS
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

schema = schemathesis.openapi.from_dict(document(OPERATIONS))
WAITING = {"waitForRelease", "streamRelease", "streamApplication"}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a caller who may everything, and a Release."""
    directory: Path = tmp_path_factory.mktemp("fuzzed")
    caller = entry(directory, "fuzz", RELEASER, "releaser", "approver", "receiver", applications="*/*")
    with opened(directory, {"tokens": [caller]}, replace(PLENTY, refused=100_000)) as site:
        assert site.create(key="first").status_code == 201
        yield site


def test_the_document_is_the_one_that_is_committed_and_served(site: Site) -> None:
    """`python -m watcher.api.openapi > docs/openapi.json` brings it up to date."""
    committed = json.loads((ROOT / "docs/openapi.json").read_text("utf-8"))
    assert committed == document(OPERATIONS)
    assert site.ask("GET", DOCUMENT).json() == committed


def test_nothing_that_is_kept_back_is_described() -> None:
    text = json.dumps(document(OPERATIONS))
    assert '"pinned":' not in text
    assert "$defs" not in text


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_comes_is_answered_as_the_document_says(case: schemathesis.Case[Any], fuzzed: Site) -> None:
    """A part of the requests is led to what exists; the others are as they come."""
    names = {"namespace": NAMESPACE, "application": APPLICATION, "receiver": "other"}
    waits = case.operation.definition.raw.get("operationId") in WAITING
    if case.path_parameters and not waits and len(repr(case.body)) % 2:
        there = fuzzed.daemon.releases()
        names["release"] = there[-1].name
        case.path_parameters.update({name: names[name] for name in case.path_parameters})
    case.call_and_validate(base_url=fuzzed.url, headers={"Authorization": f"Bearer {RELEASER}"}, timeout=20)
