"""Who waits for something to change in a namespace is woken here, from whichever thread saw the change.

What always holds: a wake-up says only that it is worth looking again; whoever is woken compares for himself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Changes:
    """Wake-ups by namespace."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def tell(self, namespace: str) -> None:
        """Wake whoever waits for the namespace. What it calls must return at once."""
        with self._lock:
            waiting = list(self._waiting.get(namespace, ()))
        for wake in waiting:
            wake()

    def waited_for(self) -> bool:
        """Whether anybody waits."""
        with self._lock:
            return bool(self._waiting)

    @contextmanager
    def heard_by(self, namespace: str, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` at each change until the context is left."""
        with self._lock:
            self._waiting.setdefault(namespace, []).append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._waiting[namespace].remove(wake)
                if not self._waiting[namespace]:
                    del self._waiting[namespace]
