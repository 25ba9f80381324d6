"""Microsoft Teams: an Adaptive Card to the address of a workflow ("when a Teams webhook request is received")."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from watcher.adapters.notifications.posting import Secret, post
from watcher.core.notices import Notice

COLORS = {"info": "Good", "warning": "Warning", "critical": "Attention"}
LONGEST = 5000
"""Characters of one text: a card may have 28 KB in all."""
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\*_[]()~`#>"})


@dataclass(frozen=True, slots=True)
class Teams:
    """Posts to a workflow; its address says to which channel or chat."""

    name: str
    url: Secret
    ca_file: str | None = None

    @property
    def threads(self) -> bool:
        return False

    def quoted(self, value: str) -> str:
        return value.translate(_MARKUP)

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once. Raises Transient or Fatal."""
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "msteams": {"width": "Full"},
            "body": [*self._body(notice, text)],
            "actions": [
                {"type": "Action.OpenUrl", "title": label, "url": link} for label, link in notice.links.items()
            ],
        }
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        post(self.url.read(), json.dumps({"type": "message", "attachments": [attachment]}).encode(), {}, self.ca_file)
        return ""

    def _body(self, notice: Notice, text: str) -> Iterator[dict[str, Any]]:
        title = {"size": "Large", "weight": "Bolder", "color": COLORS[notice.severity]}
        yield _text(self.quoted(notice.title), **title)
        if text:
            yield _text(text)
        else:
            yield _text(self.quoted(notice.message))
            if notice.why:
                yield _text("Why", weight="Bolder", spacing="Medium")
                yield _text("\n".join(f"- {self.quoted(one)}" for one in notice.why), spacing="Small")
            if notice.next:
                yield _text("Next", weight="Bolder", spacing="Medium")
                yield _text(self.quoted(notice.next), spacing="Small")
            if notice.commands:
                yield _text("What you can do", weight="Bolder", spacing="Medium")
                for command in notice.commands:
                    yield _text(self.quoted(command), fontType="Monospace", spacing="Small")
        where = " / ".join(part for part in (notice.namespace, notice.release, notice.actor) if part)
        when = f"{notice.at:%Y-%m-%d %H:%M:%S} UTC"
        yield _text(self.quoted(f"{where} / {when}"), isSubtle=True, size="Small", spacing="Medium")


def _text(text: str, **style: object) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text[:LONGEST], "wrap": True, **style}
