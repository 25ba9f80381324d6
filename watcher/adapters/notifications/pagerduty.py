"""PagerDuty, by its Events API v2: one incident for each Release. It is opened by what is critical, and closed when the
Release has ended with traffic safe.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from watcher.adapters.notifications.posting import Secret, post
from watcher.core.notices import Notice

LONGEST_SUMMARY = 1024


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """Sends to one service's integration, by its routing key."""

    name: str
    routing_key: Secret
    url: str
    ca_file: str | None = None

    @property
    def threads(self) -> bool:
        return False

    def quoted(self, value: str) -> str:
        return value

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once. Raises Transient or Fatal."""
        event: dict[str, Any] = {
            "routing_key": self.routing_key.read(),
            # The same for all that is told of a Release; what comes twice changes nothing.
            "dedup_key": f"bluegreen-watcher/{notice.thread}"[:255],
            "event_action": "resolve" if notice.resolves else "trigger",
        }
        if not notice.resolves:
            event |= {"client": "bluegreen-watcher", "payload": _payload(notice, text)}
            event["links"] = [{"href": link, "text": label} for label, link in notice.links.items()]
        post(self.url, json.dumps(event).encode(), {}, self.ca_file)
        return ""


def _payload(notice: Notice, text: str) -> dict[str, Any]:
    details: dict[str, Any] = {"message": text or notice.message}
    if not text:
        details |= {"why": list(notice.why), "next": notice.next, "what you can do": list(notice.commands)}
    return {
        "summary": f"{notice.title}: {notice.message}"[:LONGEST_SUMMARY],
        "source": "/".join(part for part in (notice.namespace, notice.release) if part) or "bluegreen-watcher",
        "severity": notice.severity,
        "timestamp": notice.at.isoformat(),
        "component": notice.application or "bluegreen-watcher",
        "group": notice.namespace,
        "class": notice.reason,
        "custom_details": details | {"key": notice.key, "version": notice.version, "evidence": notice.evidence},
    }
