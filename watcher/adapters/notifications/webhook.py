"""Any receiver of JSON: one document by POST, signed where a key is given.

The signature is that of Standard Webhooks (standardwebhooks.com), for which receivers find libraries: HMAC-SHA256 over
`id.timestamp.body`, where the id is the message's key, so that neither can be changed or sent again later.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from watcher.adapters.errors import Fatal
from watcher.adapters.notifications.posting import Secret, post
from watcher.core.notices import Notice

PREFIX = "whsec_"
"""Before a key that is written in base64, as Standard Webhooks does."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """`signing_key` holds one key on a line; while it is changed two, and each signs."""

    name: str
    url: Secret
    signing_key: Secret | None = None
    ca_file: str | None = None

    @property
    def threads(self) -> bool:
        return False

    def quoted(self, value: str) -> str:
        return value

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once. Raises Transient when trying again may help, else Fatal; neither names the URL."""
        body = json.dumps(document(notice, text), ensure_ascii=False).encode()
        key = quote(notice.key)  # nearly always the same: but a header can hold no more than ASCII
        headers = {"Idempotency-Key": f'"{key}"'}
        if self.signing_key is not None:
            headers |= signed(self.signing_key.read().split(), key, int(time.time()), body)
        post(self.url.read(), body, headers, self.ca_file)
        return ""


def document(notice: Notice, text: str) -> dict[str, Any]:
    """What a receiver gets: enough to say what happened, why, and where to look. `text` is the channel's own words."""
    found: dict[str, Any] = notice.model_dump(mode="json", exclude={"thread"})
    found |= {"at": notice.at.isoformat(), "look": notice.look}
    return found | ({"text": text} if text else {})


def signed(keys: list[str], key: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a body, and when."""
    content = f"{key}.{at}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(_raw(one), content, hashlib.sha256)).decode() for one in keys]
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _raw(key: str) -> bytes:
    if not key.startswith(PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise Fatal(f"the signing key begins with {PREFIX} and is no base64 after it") from None
