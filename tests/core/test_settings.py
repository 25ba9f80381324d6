"""The daemon's settings: every one has a default, and an unknown one is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from watcher.core.documents import read_documents
from watcher.core.settings import Settings

KINDS = {"Settings": Settings}
HEAD = "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: Settings\n"


def test_an_empty_file_of_settings_is_the_defaults() -> None:
    found = read_documents(HEAD, "watcher.yaml", KINDS)
    assert not found.problems
    assert found.items[0].model == Settings()
    assert Settings().http.host == "127.0.0.1", "nothing is reachable from outside unless somebody says so"


def test_settings_are_read_with_units_and_refused_with_a_place() -> None:
    found = read_documents(f"{HEAD}prometheus: {{url: http://prometheus:9090, timeout: 3s}}\n", "watcher.yaml", KINDS)
    model = found.items[0].model
    assert isinstance(model, Settings)
    assert model.prometheus.timeout == timedelta(seconds=3)
    wrong = read_documents(f"{HEAD}prometheus: {{ulr: http://prometheus:9090}}\n", "watcher.yaml", KINDS)
    assert [str(problem) for problem in wrong.problems] == ['watcher.yaml:3:14: unknown key "ulr": did you mean "url"?']


@pytest.mark.parametrize(
    ("changed", "waiting"),
    [
        ({"prometheus": {"url": "http://prometheus:9090"}, "log": {"level": "debug"}}, ["prometheus", "log"]),
        ({"lease": {"name": "other"}, "http": {"port": 9000}}, ["lease", "http"]),
        ({"prometheus": {"graphUrl": "https://prometheus.example"}, "namespaces": ["prod"]}, []),
    ],
)
def test_what_a_daemon_reads_at_its_start_waits_for_the_next_one(changed: dict[str, Any], waiting: list[str]) -> None:
    assert Settings.model_validate_json(json.dumps(changed)).waiting(Settings()) == waiting
