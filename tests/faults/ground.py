"""The ground of the fault cells: one embedded cluster, seen by watches, and what starts daemons.

What always holds: all that a cell starts ends with it, and with the ground whatever is left.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.daemons import Nursery
from tests.faults.view import Space, View
from tests.support.api import teach
from watcher.adapters.errors import AdapterError
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.hands import Hands
from watcher.demo.cluster.launcher import running_cluster


class Ground:
    """`directory` is for whoever needs files."""

    def __init__(self, directory: Path, images: Path, backoff_scale: float) -> None:
        self.directory = directory
        self._images, self._backoff_scale = images, backoff_scale
        self._stack = ExitStack()
        self._numbers = iter(range(1_000_000))
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def _begin(self) -> None:
        self.nursery = self._stack.enter_context(Nursery())
        self.kubeconfig = self.directory / "kubeconfig"
        self.cluster = self._stack.enter_context(
            running_cluster(
                self._images,
                kubeconfig=self.kubeconfig,
                state_dir=self.directory / "cluster",
                log_file=self.directory / "cluster.log",
                backoff_scale=self._backoff_scale,
                node={"cpu": "256", "memory": "256Gi", "pods": "1000"},
            )
        )
        self.connection = Connection(self.kubeconfig, deadline=60.0, pool=64)
        self._stack.callback(self.connection.close)
        self.hands = Hands(self.connection)
        teach(self.connection)
        self._view = View(self.connection)
        self._view.start()
        self._stack.callback(self._view.stop)

    def space(self, namespace: str) -> Space:
        """What is seen of a namespace."""
        return self._view.space(namespace)

    def namespace(self) -> str:
        """A fresh namespace."""
        with self._counting:
            name = f"cell-{next(self._numbers)}"
        self.connection.create("/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def remove(self, namespace: str) -> None:
        with suppress(AdapterError):
            self.connection.delete(f"/api/v1/namespaces/{namespace}")
