"""What the chat service is about: conversations, answers, and the subscriptions they lead to.

It exists apart from HTTP so that the self check can use it without being counted. What always holds: memory is bounded
(the oldest conversations are forgotten, long messages cut); a request repeated under the same idempotency key is
answered again but not counted again; and a conversation that another pod began is continued here, not refused.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field

REMEMBERED = 2000
"""Conversations and idempotency keys kept."""

MESSAGES = 20
"""Messages kept per conversation."""

TEXT = 500
"""Characters kept of a message."""

ACTIVE_FOR = 30.0
"""Seconds after its last message for which a conversation's user counts as active."""

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_ANSWERS = (
    "Let me look that up for you.",
    "You can change that in your account settings.",
    "Our team answers within one working day.",
    "Here is what I found.",
)


@dataclass(slots=True)
class Conversation:
    """Messages of one user, oldest first, and when the last one came (monotonic seconds)."""

    messages: list[dict[str, str]] = field(default_factory=list)
    last: float = 0.0


class Conversations:
    """The pod's memory of conversations. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: OrderedDict[str, Conversation] = OrderedDict()
        self._answered: OrderedDict[str, dict[str, object]] = OrderedDict()

    def replayed(self, key: str | None) -> dict[str, object] | None:
        """The answer already given under this idempotency key, if it is remembered."""
        with self._lock:
            return self._answered.get(key) if key else None

    def remember(self, key: str | None, answer: dict[str, object]) -> None:
        """Keeps the answer given under an idempotency key."""
        if key:
            with self._lock:
                self._answered[key] = answer
                while len(self._answered) > REMEMBERED:
                    self._answered.popitem(last=False)

    def say(self, conversation: str | None, text: str) -> tuple[str, str, bool]:
        """Adds a message and answers it: (conversation, answer, whether the conversation began with it)."""
        began = conversation is None
        name = conversation or f"c-{uuid.uuid4().hex[:12]}"
        answer = _ANSWERS[len(text) % len(_ANSWERS)]
        with self._lock:
            entry = self._by_id.setdefault(name, Conversation())
            entry.messages += [{"from": "user", "text": text[:TEXT]}, {"from": "bot", "text": answer}]
            del entry.messages[:-MESSAGES]
            entry.last = time.monotonic()
            self._by_id.move_to_end(name)
            while len(self._by_id) > REMEMBERED:
                self._by_id.popitem(last=False)
        return name, answer, began

    def history(self, conversation: str) -> list[dict[str, str]]:
        """What was said, as far as this pod heard it."""
        with self._lock:
            entry = self._by_id.get(conversation)
            return list(entry.messages) if entry else []

    def active(self) -> int:
        """How many conversations had a message in the last 30 s."""
        since = time.monotonic() - ACTIVE_FOR
        with self._lock:
            count = 0
            for entry in reversed(self._by_id.values()):
                if entry.last < since:
                    break
                count += 1
            return count
