"""Namespaces that no file names any more while Releases of this watcher still run in them.

What always holds: a Release that has begun is seen to its end, also after a restart, wherever the files have gone: the
Lease carries the namespaces, so that the next process finds them. There it acts on nothing but what its own watcher
began.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from watcher.adapters.kubernetes.caches import Caches
from watcher.core.release import Release
from watcher.engine.lease import Notes

log = structlog.get_logger(__name__)


class Elsewhere(Notes):
    """`named` says which namespaces the files name; `follow` begins to follow further ones."""

    def __init__(
        self,
        watcher: str,
        caches: Caches,
        named: Callable[[], set[str]],
        follow: Callable[[], None],
        leads: Callable[[], bool],
    ) -> None:
        self.watcher = watcher
        """This watcher's name: its Lease's namespace and name, the same for all of its replicas."""
        self.leads = leads
        """Whether this process may act at all."""
        self._caches, self._named, self._follow = caches, named, follow
        self._lock = threading.Lock()
        self._noted: frozenset[str] = frozenset()

    def namespaces(self) -> set[str]:
        """Those that are followed besides the named ones."""
        return set(self._noted - self._named())

    def read(self, namespaces: frozenset[str]) -> None:
        """Follow what an earlier process, or an earlier state of the files, has left unfinished."""
        with self._lock:
            new = namespaces - self._noted
            self._noted |= new
        further = sorted(new - self._named())
        if further:
            log.info("follows namespaces that no file names, as Releases may still run there", namespaces=further)
            self._follow()

    def write(self) -> frozenset[str]:
        """All that the files name, and those others in which something is unfinished or not known yet."""
        with self._lock:
            self._noted |= self._named()
            noted = self._noted
        return frozenset(n for n in noted if n in self._named() or not self._caches.listed(n) or self._unfinished(n))

    def acts_on(self, release: Release) -> bool:
        """Whether a Release is this watcher's to act on."""
        return release.namespace in self._named() or self._began(release)

    def _unfinished(self, namespace: str) -> bool:
        return any(
            self._began(found) and (not found.phase.terminal or bool(found.status.keep and not found.status.keep.done))
            for found in self._caches.releases(namespace)
        )

    def _began(self, release: Release) -> bool:
        return release.status.pinned is not None and release.status.pinned.watcher == self.watcher
