"""One TCP check of a version: whether somebody takes connections at an address, and goes on doing so.

What always holds: nothing is sent, and each connection is closed at once.
"""

from __future__ import annotations

import threading

from watcher.adapters.bounded_http import Cancelled, Deadline, connect
from watcher.adapters.errors import AdapterError
from watcher.adapters.repeated import CheckOutcome, Clock, Heard, Pace, Try, repeat, unheard


def run_tcp_check(
    host: str, port: int, pace: Pace, cancel: threading.Event, clock: Clock | None = None, heard: Heard = unheard
) -> CheckOutcome:
    """Run a check to its end, or until `cancel` is set."""

    def attempt(patience: float) -> Try:
        try:
            connect(host, port, Deadline(patience, cancel)).close()
        except Cancelled:
            raise
        except AdapterError as error:
            return Try(f"could not be reached: {error}")
        return Try("", "took a connection")

    return repeat(f"TCP {shown(host, port)}", pace, attempt, cancel, clock, heard)


def shown(host: str, port: int) -> str:
    """An address for people."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
