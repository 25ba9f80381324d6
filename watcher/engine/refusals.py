"""Tells that files are refused, and that they are right again (S10), with an Event on the Lease.

What always holds: only the replica that leads tells, and what it told it tells again only when it is another matter, or
an hour later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from watcher.core.notices import refused_files
from watcher.engine.clock import Clock
from watcher.engine.teller import Teller

REMINDER = 3600
"""Seconds within which the same refused files are told once, whichever replica leads."""


class Refusals:
    """What was told of the files last. `namespace` and `lease` are where the Lease lies."""

    def __init__(self, teller: Teller, clock: Clock, namespace: str, lease: str) -> None:
        self._teller, self._clock = teller, clock
        self._about = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "name": lease,
            "namespace": namespace,
            "uid": f"{namespace}.{lease}",
        }
        self._told: list[str] = []

    def tell(self, problems: Sequence[str]) -> None:
        """Tell what is wrong with the files; nothing of files that were right before, too."""
        if list(problems) == self._told:
            return
        self._told = list(problems)
        now, uid = self._clock.now(), self._about["uid"]
        said = hashlib.sha256("\n".join(problems).encode()).hexdigest()[:16]
        key = f"{uid}/files/{said}/{int(now.timestamp() // REMINDER)}"
        self._teller.announce(refused_files(problems, now, key, uid, self._about["namespace"]), self._about)
