"""The control groups that pods run in. The kernel ends their processes, but keeps the empty groups: they are removed.

containerd makes one group per container, named after it, below one of its own that another containerd may use as well:
so only those are removed whose containers the cluster's containerd knows.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cluster.layout import Layout

MOUNTED = Path("/sys/fs/cgroup")
PARENT = "k8s.io"
WEIGHTS = {"cpu/" + PARENT + "/cpu.shares": 10240, PARENT + "/cpu.weight": 1000}
"""Of all pods together, in either hierarchy: ten times that of one process outside. They compete with every part of the
cluster, every test and whatever else the machine does, one by one, and would have the share of a single process.
"""
EMPTY_WITHIN = 10.0
"""Seconds for the kernel to let go of groups whose processes were just ended."""


def hierarchies() -> Iterator[Path]:
    """Where groups are made: one folder with cgroup v2, several with v1, and both where v2 stands beside v1."""
    for folder in (MOUNTED, *sorted(MOUNTED.glob("*/"))):
        if (folder / "cgroup.procs").exists() and (folder == MOUNTED or not (MOUNTED / "cgroup.procs").exists()):
            yield folder


def make() -> None:
    """Make the group that all containers will be in, and give it its weight. One that is there stays as it is."""
    for name, weight in WEIGHTS.items():
        path = MOUNTED / name
        if (path.parent.parent / "cgroup.procs").exists():
            with suppress(OSError):  # there already, or not to be had on this machine
                path.parent.mkdir()
                path.write_text(f"{weight}\n", "utf-8")


def remove(layout: Layout) -> None:
    """Remove the groups of this cluster's containers. Raises TimeoutError when a process is still in one."""
    deadline = time.monotonic() + EMPTY_WITHIN
    containers = set(_containers(layout))
    for parent in (folder / PARENT for folder in hierarchies()):
        for container in containers:
            for path, _, _ in os.walk(parent / container, topdown=False):
                while not _removed(Path(path)):
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"the control group {path} is still in use")
                    time.sleep(0.02)
        with suppress(OSError):  # not there, or others have theirs in it
            parent.rmdir()


def _containers(layout: Layout) -> Iterator[str]:
    """Names of containers and sandboxes, as containerd's folders of state and data have them."""
    for folder in (
        layout.run / "containerd/io.containerd.runtime.v2.task/k8s.io",
        layout.var_lib / "containerd/io.containerd.runtime.v2.task/k8s.io",
    ):
        with suppress(FileNotFoundError):
            yield from (entry.name for entry in folder.iterdir())


def _removed(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
