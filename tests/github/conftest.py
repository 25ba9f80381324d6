"""Jobs on a runner, and daemons to ask: whole ones on the embedded cluster, with tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.adapters.conftest import serve
from tests.api.conftest import entry, site
from tests.github.runner import Done, Job, Running
from tests.support.acting import application, write
from watcher.demo.platform.manifests import APPLICATION, CONTAINER, NAMESPACE, image
from watcher.demo.stage import Stage

__all__ = ["serve", "site"]

PIPELINE, BOSS = "pipeline-0123456789abcdef", "boss-0123456789abcdef"
"""Tokens that may release, and that may approve too."""
HEAD = {"apiVersion": "watcher.bluegreen.dev/v1alpha1", "kind": "Settings"}


class Pipeline:
    """The example platform and its daemon, and jobs that ask it."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self.stage, self._directory, self._jobs = stage, directory, 0

    def job(self, **environment: str) -> Job:
        """A job on a fresh runner, of a run of its own unless the environment names one."""
        self._jobs += 1
        return Job(self._directory / f"job-{self._jobs}", **{"GITHUB_RUN_ID": str(self._jobs)} | environment)

    @property
    def where(self) -> dict[str, str]:
        return {"server": self.stage.page, "namespace": NAMESPACE, "token": PIPELINE}

    def release(self, version: str, **inputs: str) -> dict[str, str]:
        """The inputs that release a version."""
        images = f"\n{CONTAINER} = {image(version)}\n"
        return self.where | {"application": APPLICATION, "version": version, "images": images} | inputs

    def run(self, version: str, **inputs: str) -> Done:
        return self.job().run(**self.release(version, **inputs))

    def start(self, version: str, **inputs: str) -> Running:
        return self.job().start(**self.release(version, **inputs))

    def steer(self, command: str, name: str, **inputs: str) -> Done:
        return self.job().run(**self.where | {"command": command, "release": name} | inputs)

    def ended(self) -> dict[str, Any]:
        """The newest Release."""
        newest = max(self.stage.hands.read_releases(NAMESPACE), key=lambda one: one.created_at)
        found: dict[str, Any] = json.loads(newest.model_dump_json(by_alias=True))
        return found


def _ready(stage: Stage) -> bool:
    try:
        return requests.get(f"{stage.page}readyz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """Set a stage whose daemon lets the pipeline's tokens in; with rules in `files` Prometheus and clients too."""
    with ExitStack() as stack:

        def begin(*files: dict[str, Any], api: dict[str, Any] | None = None, **spec: Any) -> Pipeline:
            tokens = [
                entry(tmp_path, "pipeline", PIPELINE, "releaser"),
                entry(tmp_path, "boss", BOSS, "releaser", "approver"),
            ]
            settings = HEAD | {"api": {"tokens": tokens} | (api or {})}
            config = write(tmp_path / "config", application(**spec), settings, *files)
            stage = stack.enter_context(Stage(config=config, rate=40.0 if files else 0, prometheus=bool(files)))
            stage.wait_for(lambda: _ready(stage), "the daemon to be ready")
            return Pipeline(stage, tmp_path)

        yield begin
