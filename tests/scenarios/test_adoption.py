"""A pair that runs already is looked at and its Application written, by command, with the caller's own rights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.acting import application, watcher, write
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import MERGE_PATCH
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE
from watcher.demo.stage import Stage
from watcher.engine.config import read_config


def test_a_running_pair_is_found_in_order_and_the_application_written_for_it_is_one_the_daemon_takes(
    small: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = small()
    file = tmp_path / "files" / "app.yaml"
    file.parent.mkdir()

    looked = watcher(stage, "doctor", APPLICATION)
    assert (looked.status, "0 to mend" in looked.out) == (0, True), looked
    written = watcher(stage, "init", APPLICATION, "--output", str(file))
    assert written.status == 0, written
    again = watcher(stage, "init", APPLICATION, "--output", str(file))
    assert (again.status, "File exists" in again.err) == (2, True), "what somebody wrote is not overwritten"

    config, problems = read_config([file.parent], {})
    assert (problems, config is not None) == ([], True)
    with_file = watcher(stage, "doctor", APPLICATION, "--config", str(file.parent), "--json")
    assert with_file.status == 0
    assert {finding["level"] for finding in json.loads(with_file.out)} == {"ok", "warning"}


def test_what_would_fail_a_release_is_named_with_its_cure(small: Callable[..., Stage]) -> None:
    stage = small()
    stage.connection.patch(
        paths.services(NAMESPACE, APPLICATION),
        {"metadata": {"labels": {"argocd.argoproj.io/instance": "chat"}}, "spec": {"publishNotReadyAddresses": True}},
        MERGE_PATCH,
    )

    found = watcher(stage, "doctor", APPLICATION)

    assert found.status == 1
    assert "Argo CD keeps Service chatbot-platform" in found.out
    assert "PROBLEM  Service chatbot-platform publishes addresses that are not ready" in found.out
    assert "-> take publishNotReadyAddresses away" in found.out


def test_an_application_that_is_nowhere_is_answered_with_what_there_is(
    small: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = small()

    misspelt = watcher(stage, "doctor", "chatbot-platfrm")
    assert (misspelt.status, 'did you mean "chatbot-platform"?' in misspelt.out) == (1, True)
    unknown = watcher(stage, "init", "chatbot-platfrm")
    assert (unknown.status, unknown.out) == (1, "")
    other = application() | {"metadata": {"name": "shop", "namespace": "shops"}}
    (files,) = write(tmp_path / "others", other)
    unwritten = watcher(stage, "doctor", APPLICATION, "--config", str(files))
    assert (unwritten.status, "the files have: shop in shops" in unwritten.out) == (1, True), unwritten.out
