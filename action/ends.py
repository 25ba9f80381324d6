"""How a step ends: the exit statuses, the same as those of the command line, and the errors that lead to them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

Json = dict[str, Any]


class Exit(IntEnum):
    """What a step's exit status means."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    FAILED = 3
    ROLLED_BACK = 4
    REFUSED = 5
    TIMED_OUT = 6
    STOPPED = 7
    CANCELLED = 130


TERMINAL = frozenset({"Completed", "RolledBack", "Failed", "Aborted", "Superseded"})
BEFORE_SWITCH = frozenset({"", "Pending", "Deploying", "Testing", "AwaitingApproval"})
"""The phases in which an abort moves nothing."""

REFUSALS = frozenset(
    {
        "UnknownApplication",
        "NoService",
        "NoActiveColor",
        "ColorsDiffer",
        "AnotherReleaseRunning",
        "NoDeployment",
        "NoImages",
        "UnknownContainer",
        "Quarantined",
        "InvalidRules",
    }
)
"""Reasons of a Release that was never begun."""


class Ended(Exception):
    """The step ends here, with a sentence that says why and what would cure it."""

    def __init__(self, exit_: Exit, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.exit, self.details = exit_, details


class Unreachable(Exception):
    """No answer that could be used, for as long as anybody would wait."""


class Cancelled(BaseException):
    """The runner asks the step to end. No error, so that nothing on the way swallows it."""


def exit_of(release: Json, good: tuple[str, ...]) -> Exit:
    """The exit status of a Release that has ended; `good` are the phases that were wanted."""
    status: Json = release.get("status") or {}
    phase = str(status.get("phase", ""))
    if phase in good:
        return Exit.DONE
    if phase == "Failed":
        refused = "startedAt" not in status and status.get("reason") in REFUSALS
        return Exit.REFUSED if refused else Exit.FAILED
    return Exit.ROLLED_BACK if phase == "RolledBack" else Exit.STOPPED
