"""The words in which the scenarios are told: an Application with short times, the command line, and what happened to
the selector.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from watcher.adapters.errors import AdapterError
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.repeated import CheckOutcome
from watcher.core.release import Release
from watcher.demo.platform.manifests import APPLICATION, BAD_VERSIONS, CONTAINER, GOOD_VERSION, NAMESPACE, image
from watcher.demo.stage import Stage

GOOD, BAD = GOOD_VERSION, BAD_VERSIONS["errors"]
"""A version that stays, and one of which one answer in five is a 5xx once users come."""

API = "watcher.bluegreen.dev/v1alpha1"

ERRORS = {
    "apiVersion": API,
    "kind": "RuleSet",
    "metadata": {"name": "errors"},
    "spec": {
        "rules": [
            {
                "name": "rate",
                "query": '(sum(rate(http_requests_total{namespace="{{ namespace }}",color="{{ color }}",code=~"5.."}'
                "[{{ window }}])) or vector(0)) / sum(rate(http_requests_total{"
                'namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))',
                "window": "3s",
                "warmUp": "2s",
                "threshold": {"above": "5%"},
            }
        ]
    },
}
"""Breached by BAD about three seconds after the flip."""


class NoJobs:
    """In the place of what runs Jobs, where a test has none."""

    def run(self, order: object, *_: object) -> CheckOutcome:
        raise AssertionError(f"nobody asked for the Job {order}")

    def drop(self, order: object) -> bool:
        raise AssertionError(f"nobody made the Job {order}")


def application(**spec: Any) -> dict[str, Any]:
    """The example platform's Application with short times; any part of its spec can be given instead."""
    return {
        "apiVersion": API,
        "kind": "Application",
        "metadata": {"name": APPLICATION, "namespace": NAMESPACE},
        "spec": {
            "service": APPLICATION,
            "colors": {color: {"deployment": f"{APPLICATION}-{color}"} for color in ("blue", "green")},
            "preview": {"service": f"{APPLICATION}-preview"},
            "tests": {"smoke": [{"name": "healthz", "http": {"path": "/healthz"}}]},
            "watch": {"duration": "2s", "interval": "1s"},
            "previous": {"keep": "10m"},
        }
        | spec,
    }


def write(directory: Path, *documents: Mapping[str, Any]) -> tuple[Path, ...]:
    """Write documents, a file each (JSON is YAML), and return the directories to configure a daemon with."""
    directory.mkdir(exist_ok=True)
    for document in documents:
        file = directory / f"{document['kind']}-{document.get('metadata', {}).get('name', 'settings')}.yaml".lower()
        file.write_text(json.dumps(document, indent=1), "utf-8")
    return (directory,)


class Selector:
    """Sees every change of the live selector by a watch of its own."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._connection = Connection(stage.kubeconfig)
        self._colors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._stage.wait_for(lambda: bool(self._colors), "the first look at the selector")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        # A last event ends the watch's waiting.
        self._stage.hands.point_preview(NAMESPACE, APPLICATION, "seen", "by-the-test")
        self._thread.join(10)
        self._connection.close()

    def was(self, *colors: str) -> None:
        """Assert that the selector had exactly these colours, one after the other."""
        now = self._stage.active()
        with suppress(Exception):
            self._stage.wait_for(lambda: self._colors[-1] == now, "the watch to see the last flip", 5)
        assert self._colors == list(colors)

    def _run(self) -> None:
        version = ""
        while not self._stop.is_set():
            with suppress(AdapterError):
                if not version:
                    found = self._connection.get(paths.services(NAMESPACE))
                    version = found["metadata"]["resourceVersion"]
                    for item in found["items"]:
                        self._see(item)
                query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "60"}
                for event in self._connection.watch(paths.services(NAMESPACE), query, 90):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._see(event["object"])
                    if self._stop.is_set():
                        return

    def _see(self, service: Mapping[str, Any]) -> None:
        color = service["spec"]["selector"].get("color", "")
        if service["metadata"]["name"] == APPLICATION and self._colors[-1:] != [color]:
            self._colors.append(color)


class Told:
    """What a command of the command line said, and its exit status."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def json(self) -> Any:
        return json.loads(self.out)


def watcher(stage: Stage, *words: str, timeout: float = 60) -> Told:
    """Run the command line as a person does."""
    command = [sys.executable, "-m", "watcher", *words, "--kubeconfig", str(stage.kubeconfig)]
    command += ["-n", NAMESPACE]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHER_")}
    return Told(subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False))


def ask(version: str) -> tuple[str, ...]:
    """The words that ask for a release of a version."""
    return ("release", "create", APPLICATION, "--version", version, "--image", f"{CONTAINER}={image(version)}")


def kubectl(stage: Stage, *words: str) -> str:
    """What kubectl says; it must succeed."""
    command = ["kubectl", "--kubeconfig", str(stage.kubeconfig), "-n", NAMESPACE, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def events(stage: Stage, kind: str, name: str) -> list[dict[str, Any]]:
    """The Events about an object."""
    found = stage.connection.get(paths.events(NAMESPACE))
    return [
        item
        for item in found["items"]
        if item["involvedObject"]["kind"] == kind and item["involvedObject"]["name"] == name
    ]


def until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Wait for a condition, looking often."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


def condition(release: Release, kind: str) -> bool:
    """Whether a condition of the Release is true."""
    return any(c.type == kind and c.status == "True" for c in release.status.conditions)
