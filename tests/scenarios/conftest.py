"""Stages for the scenarios: with the daemon's requests led through a proxy, or a small one without Prometheus."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.acting import ERRORS, application, write
from tests.support.proxy import Proxy
from tests.support.worker import ALSO, worker
from watcher.demo.stage import Stage


@dataclass
class Led:
    """A stage whose daemon reaches the API server through a proxy until it is killed."""

    stage: Stage
    proxy: Proxy
    pid: int

    def kill(self) -> None:
        """SIGKILL, from whatever thread."""
        os.kill(self.pid, signal.SIGKILL)

    def start_again(self) -> None:
        """Collect the dead daemon and start another one, which reaches the API server directly."""
        self.stage.kill_daemon()
        self.stage.start_daemon()


@pytest.fixture
def led(tmp_path: Path) -> Iterator[Callable[..., Led]]:
    """Set a stage with one rule, which BAD versions breach soon, and lead its daemon through a proxy.

    `rules` False leaves out the rule, Prometheus and clients.
    """
    with ExitStack() as stack:

        def begin(*, rules: bool = True, **spec: Any) -> Led:
            watch = {"duration": "60s", "interval": "1s", "rules": ["errors"] if rules else []}
            config = write(tmp_path / "config", application(**{"watch": watch} | spec), ERRORS)
            stage = stack.enter_context(Stage(config=config, daemon=False, prometheus=rules, rate=40.0 if rules else 0))
            proxy = stack.enter_context(Proxy(stage.kubeconfig))
            pid = stage.start_daemon(proxy.kubeconfig(tmp_path / "through-proxy"))
            return Led(stage, proxy, pid)

        yield begin


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Set a stage with neither Prometheus nor clients; `files` are further documents of its configuration."""
    with ExitStack() as stack:

        def begin(*files: dict[str, Any], environment: dict[str, str] | None = None, **spec: Any) -> Stage:
            config = write(tmp_path / "config", application(**spec), *files)
            return stack.enter_context(Stage(config=config, rate=0, prometheus=False, environment=environment))

        yield begin


@pytest.fixture
def two(led: Callable[..., Led]) -> Callable[..., Led]:
    """Set a stage on which the platform has a worker, which moves with it."""

    def begin(**spec: Any) -> Led:
        found = led(rules=False, also=ALSO, **spec)
        found.stage.apply(*worker())
        found.stage.wait_for(lambda: found.stage.ready_pods("blue") == 3, "the worker to be ready")
        return found

    return begin
