"""A place that is told what happened: one JSON document by HTTP POST, with a deadline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from watcher.adapters.errors import Fatal, Transient

DEADLINE = (2.0, 5.0)
"""Seconds to connect, and between two bytes of the answer."""


@dataclass(frozen=True, slots=True, repr=False)
class Channel:
    """`url_file` is read for each message, so that a secret URL can be rotated and stands in no settings file."""

    name: str
    url: str | None = None
    url_file: Path | None = None

    def send(self, document: Mapping[str, Any]) -> None:
        """Deliver once. Raises Transient when trying again may help, else Fatal; neither names the URL."""
        try:
            url = self.url_file.read_text("utf-8").strip() if self.url_file else self.url or ""
            answer = requests.post(url, json=dict(document), timeout=DEADLINE, allow_redirects=False, stream=True)
        except (OSError, ValueError) as error:
            raise Transient(f"{self.name} did not answer ({type(error).__name__})") from None
        with answer:
            if 200 <= answer.status_code < 300:
                return
            refused = f"{self.name} answered {answer.status_code}"
            raise Transient(refused) if answer.status_code == 429 or answer.status_code >= 500 else Fatal(refused)
