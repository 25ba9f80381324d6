"""How all channels that speak HTTP post: within a deadline, to the one address that was given, and without its secrets
in anything that is raised.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests

from watcher.adapters.bounded_http import BoundedSession, Reply
from watcher.adapters.errors import Fatal, Transient
from watcher.adapters.secrets import REDACTOR

WITHIN = 10.0
"""Seconds for one whole message, from the look-up of a name to the last byte of the answer."""
LARGEST_ANSWER = 64 * 1024
LONGEST_RETRY_AFTER = 3600.0
LEAST = 8
"""Characters from which on a secret, or the path of a secret address, is cut out of what is said."""
PASSING = frozenset({408, 425, 429})
"""Refusals that a later try can outlive; with all of 5xx."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Something secret, from a file or the environment: read for each message, so that it can be rotated."""

    what: str
    file: str | None = None
    variable: str | None = None
    literal: str | None = None

    def read(self) -> str:
        """Raises Transient, without the secret: a mount may come later, and a file may be just being written."""
        if self.file is not None:
            try:
                found = Path(self.file).read_text("utf-8").strip()
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or type(error).__name__
                raise Transient(f"{self.what} cannot be read from {self.file} ({why})") from None
            if not found:
                raise Transient(f"{self.what} is empty in {self.file}")
        elif self.variable is not None:
            found = os.environ.get(self.variable, "").strip()
            if not found:
                raise Transient(f"{self.what} is not set in the environment ({self.variable})")
        else:
            return self.literal or ""
        # From here on no log, status or Event of this process says it, whoever gives it back.
        REDACTOR.learn(one for one in (found, *found.split(), urlsplit(found).path) if len(one) >= LEAST)
        return found


def post(url: str, body: bytes, headers: Mapping[str, str], ca_file: str | None = None) -> Reply:
    """Send JSON once. Returns any 2xx answer; raises Transient where a later try may help, else Fatal."""
    session = BoundedSession(verify=ca_file or True)
    try:
        request = requests.Request("POST", url, data=body, headers={"Content-Type": "application/json", **headers})
        reply = session.exchange(request, within=WITHIN, limit=LARGEST_ANSWER)
    finally:
        session.close()
    status = reply.status
    if 200 <= status < 300:
        return reply
    if 300 <= status < 400:
        # Whoever answers could send the secret in the address, or the message, anywhere.
        raise Fatal(f"it answered {status}: a redirect, which is not followed; give the address itself")
    if status in PASSING or status >= 500:
        raise Transient(f"it answered {status}", retry_after(reply.headers.get("Retry-After", "")))
    raise Fatal(f"it answered {status}")


def retry_after(asked: str) -> float:
    """The header Retry-After in seconds (RFC 9110: a number or a date); 0 where there is none."""
    asked = asked.strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked[:9]), LONGEST_RETRY_AFTER)
    with suppress(ValueError):
        at = parsedate_to_datetime(asked)
        left = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
        return min(max(left.total_seconds(), 0.0), LONGEST_RETRY_AFTER)
    return 0.0
