"""Slack: blocks by chat.postMessage, with a thread for each Release; or by an incoming webhook, without threads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from watcher.adapters.errors import Fatal, Transient
from watcher.adapters.notifications.posting import Secret, post, retry_after
from watcher.core.notices import Notice

LONGEST_HEADER, LONGEST_SECTION = 150, 3000
MARKS = {"info": ":large_green_circle:", "warning": ":large_yellow_circle:", "critical": ":red_circle:"}

PASSING = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "message_limit_exceeded",
    }
)
"""Slack's words for what a later try can outlive."""
THREAD_GONE = "thread_not_found"


@dataclass(frozen=True, slots=True)
class SlackBot:
    """Posts by a bot's token. What it returns is the message's `ts`, and so the thread of what follows."""

    name: str
    token: Secret
    channel: str
    api: str
    ca_file: str | None = None

    @property
    def threads(self) -> bool:
        return True

    def quoted(self, value: str) -> str:
        return escaped(value)

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once; returns the thread in which the Release is told. Raises Transient or Fatal."""
        try:
            return self._post(notice, text, thread)
        except Fatal as error:
            if not thread or THREAD_GONE not in str(error):
                raise
        return self._post(notice, text, "")  # somebody deleted the message that it began with

    def _post(self, notice: Notice, text: str, thread: str) -> str:
        message: dict[str, Any] = {
            "channel": self.channel,
            **said(notice, text),
            "unfurl_links": False,
            # For those who read by program: the same key twice is the same message.
            "metadata": {"event_type": "bluegreen_watcher", "event_payload": {"key": notice.key}},
        }
        if thread:
            # What cannot wait is shown in the channel, too: a thread is followed by few.
            message |= {"thread_ts": thread, "reply_broadcast": notice.severity == "critical"}
        headers = {"Authorization": f"Bearer {self.token.read()}", "Content-Type": "application/json; charset=utf-8"}
        url = f"{self.api.rstrip('/')}/chat.postMessage"
        reply = post(url, json.dumps(message).encode(), headers, self.ca_file)
        try:
            answer = json.loads(reply.body)
            ok, error, ts = answer["ok"], str(answer.get("error", "")), str(answer.get("ts", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Transient("its answer is not Slack's") from None
        if ok is True:
            return thread or ts
        word = error if re.fullmatch(r"[a-z_]{1,60}", error) else "an error"
        if word in PASSING:
            raise Transient(f"Slack says {word}", retry_after(reply.headers.get("Retry-After", "")))
        raise Fatal(f"Slack says {word}")


@dataclass(frozen=True, slots=True)
class SlackWebhook:
    """Posts to an incoming webhook; its address says to which channel."""

    name: str
    url: Secret
    ca_file: str | None = None

    @property
    def threads(self) -> bool:
        return False

    def quoted(self, value: str) -> str:
        return escaped(value)

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once. Raises Transient or Fatal."""
        post(self.url.read(), json.dumps(said(notice, text)).encode(), {}, self.ca_file)
        return ""


def said(notice: Notice, text: str) -> dict[str, Any]:
    """The message as blocks, and its first line for notifications on a telephone."""
    title = f"{MARKS[notice.severity]} {notice.title}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title[:LONGEST_HEADER], "emoji": True}}
    ]
    blocks += [
        {"type": "section", "text": {"type": "mrkdwn", "text": section[:LONGEST_SECTION]}}
        for section in ([text] if text else _sections(notice))
    ]
    where = " · ".join(part for part in (notice.namespace, notice.release, notice.actor) if part)
    seconds = int(notice.at.timestamp())
    when = f"<!date^{seconds}^{{date_num}} {{time_secs}}|{notice.at:%Y-%m-%d %H:%M:%S} UTC>"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"{escaped(where)} · {when}"}]})
    return {"text": escaped(f"{notice.title}: {notice.message}")[:LONGEST_SECTION], "blocks": blocks}


def _sections(notice: Notice) -> Iterator[str]:
    yield escaped(notice.message)
    if notice.why:
        yield "*Why*\n" + "\n".join(f"• {escaped(one)}" for one in notice.why)
    if notice.links:
        yield " · ".join(f"<{escaped(link)}|{escaped(label)}>" for label, link in notice.links.items())
    if notice.next:
        yield f"*Next*\n{escaped(notice.next)}"
    if notice.commands:
        yield "*What you can do*\n```" + "\n".join(map(escaped, notice.commands)) + "```"


def escaped(text: str) -> str:
    """Slack's three control characters, so that nothing in a message becomes a link or calls everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
