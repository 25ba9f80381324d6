"""Everything that Apprise can speak to, where it is installed: `pip install "bluegreen-watcher[apprise]"`.

It brings some 130 services; what it does not bring is a deadline for all of them, or words for why something failed.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from itertools import chain

from watcher.adapters.errors import Fatal, Transient
from watcher.adapters.notifications.posting import Secret
from watcher.core.notices import Notice

KINDS = {"info": "info", "warning": "warning", "critical": "failure"}
"""Apprise's words for how bad it is."""


def installed() -> bool:
    """Whether the extra is there, without importing it."""
    return importlib.util.find_spec("apprise") is not None


@dataclass(frozen=True, slots=True)
class EverythingElse:
    """Sends by an address of Apprise's, which says to what service and holds its secrets."""

    name: str
    url: Secret

    @property
    def threads(self) -> bool:
        return False

    def quoted(self, value: str) -> str:
        return value

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once. Raises Transient or Fatal."""
        try:
            import apprise  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise Fatal('apprise is not installed: pip install "bluegreen-watcher[apprise]"') from None
        # It writes addresses, tokens included, into its log.
        logging.getLogger("apprise").disabled = True
        place = apprise.Apprise()
        if not place.add(self.url.read()):
            raise Fatal("apprise does not know such an address")
        if not place.notify(body=text or _body(notice), title=notice.title, notify_type=KINDS[notice.severity]):
            raise Transient("apprise could not deliver it, and does not say why")
        return ""


def _body(notice: Notice) -> str:
    said = chain([notice.message], notice.why, [notice.next], notice.commands, notice.links.values())
    return "\n".join(line for line in said if line)
