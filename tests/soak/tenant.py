"""The process that is measured: a daemon and its HTTP side, with a clock that its parent moves.

It reads commands, one a line, and answers each with a line of JSON: `move SECONDS`, `figures`, `end`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import re
import sys
import threading
from pathlib import Path

from tests.support.clock import HandClock
from watcher.api.app import api_routes, create_app
from watcher.api.server import Server
from watcher.engine.daemon import Daemon
from watcher.engine.logging import configure_logging

POOLED = re.compile(r"_\d+$")
"""Threads of pools, which grow to their bounds as they are needed, and stay."""


def figures() -> dict[str, int]:
    """What the process holds right now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    tasks = [found for found in gc.get_objects() if isinstance(found, asyncio.Task) and not found.done()]
    pooled = [thread for thread in threading.enumerate() if POOLED.search(thread.name)]
    return {
        "kilobytes": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "objects": len(gc.get_objects()),
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - the directory is no Path worth walking
        "threads": threading.active_count() - len(pooled),
        "pooled": len(pooled),
        "tasks": len(tasks),
    }


def main() -> None:
    """Run until told to end."""
    directory, seconds = Path(sys.argv[1]), float(sys.argv[2])
    configure_logging("json", "info")
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    with (directory / "daemon.log").open("w", encoding="utf-8") as log:
        handler.setStream(log)
        clock = HandClock(seconds)
        daemon = Daemon([directory / "files"], {}, directory / "cluster.json", clock)
        server = Server(create_app(daemon, api_routes(daemon)), "127.0.0.1", 0)
        daemon.start()
        server.start()
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            answer: dict[str, int] = {}
            if word == "move":
                clock.seconds += float(rest)
                daemon.tick()
            elif word == "figures":
                answer = figures() | {"port": server.port}
            else:
                break
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        server.stop()
        daemon.stop()


if __name__ == "__main__":
    main()
