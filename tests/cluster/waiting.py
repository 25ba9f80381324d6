"""Waiting for something to be so, with a deadline, and kubectl with one."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from watcher.adapters.errors import AdapterError

POLL = 0.2


def until(reached: Callable[[], bool], what: str, seconds: float = 60.0, last: Callable[[], str] = lambda: "") -> None:
    """Look again and again. Fails with what it last was."""
    ends = time.monotonic() + seconds
    while True:
        with suppress(AdapterError):
            if reached():
                return
        if time.monotonic() > ends:
            raise AssertionError(f"waited {seconds:g} s for {what}; {last()}")
        time.sleep(POLL)


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> str | None:
    """What a server answers there, asked without any proxy that the environment may name; None when it does not."""
    try:
        with _direct.open(url, timeout=2) as answer:
            found: bytes = answer.read()
            return found.decode("utf-8", "replace")
    except OSError:
        return None


def kubectl(*arguments: str, stdin: str | None = None, seconds: float = 60.0, check: bool = True) -> str:
    """What kubectl prints. With `check`, fails with what it says when it does not succeed."""
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    if check:
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
    return done.stdout


def run(*command: str) -> None:
    """Run a command to its end; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"


def apply(*objects: dict[str, Any]) -> None:
    """Create or change objects."""
    body = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    kubectl("apply", "--filename=-", stdin=json.dumps(body))


def read(*arguments: str) -> dict[str, Any]:
    """An object, or a list."""
    found: dict[str, Any] = json.loads(kubectl("get", "--output=json", *arguments))
    return found


def make_namespace(name: str) -> None:
    """A fresh one, with its service account. One of that name that is being deleted is waited for; another is not
    touched: the tests change only what is theirs.
    """
    asked = ("get", f"namespace/{name}", "--ignore-not-found", "--output=jsonpath={.status.phase}")
    until(lambda: kubectl(*asked) != "Terminating", f"the namespace {name} of an earlier run to be gone", 120)
    assert not kubectl(*asked), f"the cluster has a namespace {name} already: these tests change only what is theirs"
    kubectl("create", "namespace", name)
    account = ("get", "serviceaccount/default", "--namespace", name, "--ignore-not-found")
    until(lambda: bool(kubectl(*account)), f"the service account of namespace {name}")
