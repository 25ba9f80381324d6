"""Many alerts at once, as one notice or as many, sent as an Alertmanager does: again until they are acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

HOOK = "/webhooks/alertmanager"
USES = [
    {"match": {"severity": "critical", "app": "chatbot-platform"}, "action": "rollback"},
    {"match": {"severity": "warning", "app": "chatbot-platform"}, "action": "notify"},
]
AGAIN = 0.1
"""Seconds until something is sent again."""


def settings(directory: Path, token: str) -> dict[str, Any]:
    """Settings that let the token post alerts."""
    file = directory / "alerts.token"
    file.write_text(token, "utf-8")
    entry = {"name": "alerts", "file": str(file), "roles": ["receiver"], "applications": ["*/*"]}
    return {"apiVersion": "watcher.bluegreen.dev/v1alpha1", "kind": "Settings", "api": {"tokens": [entry]}}


def alert(index: int, severity: str = "none") -> dict[str, Any]:
    """One of many that began now."""
    labels = {"alertname": f"Broken{index}", "severity": severity, "app": "chatbot-platform", "pod": f"pod-{index}"}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"Number {index} is broken", "description": "x" * 200},
        "startsAt": datetime.now(UTC).isoformat(),
        "fingerprint": f"{index:016x}",
    }


def notice(*alerts: dict[str, Any], group: str = "all") -> dict[str, Any]:
    return {"version": "4", "receiver": "watcher", "groupKey": group, "truncatedAlerts": 0, "alerts": list(alerts)}


@dataclass
class Sender:
    """Sends notices from many threads, each again until it is acknowledged."""

    url: str
    token: str
    seconds: list[float] = field(default_factory=list)
    """How long each answer took, those that asked to send again too."""
    refused: int = 0
    """How often it had to be sent again."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _local: threading.local = field(default_factory=threading.local)

    def send(self, body: dict[str, Any], patience: float = 90.0) -> dict[str, Any]:
        """Its answer once it is acknowledged. Raises TimeoutError when it never is."""
        ends = time.monotonic() + patience
        while time.monotonic() < ends:
            found = self._once(body)
            if found is not None:
                return found
            with self._lock:
                self.refused += 1
            time.sleep(AGAIN)
        raise TimeoutError(f"never acknowledged within {patience:g} s")

    def all(self, bodies: Sequence[dict[str, Any]], at_once: int) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(self.send, bodies))

    def _once(self, body: dict[str, Any]) -> dict[str, Any] | None:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        began = time.monotonic()
        try:
            answer = session.post(
                self.url + HOOK, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=30
            )
        except requests.RequestException:
            return None
        with self._lock:
            self.seconds.append(time.monotonic() - began)
        if answer.status_code >= 500:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} says nothing of its memory")
