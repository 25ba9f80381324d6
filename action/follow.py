"""Follows a Release in the job's log: each phase, flip, check and condition once, the rules whenever they are new.

What always holds: it is told what is new against what was told before, so a repeated answer, or one after the daemon
was away, says nothing twice.
"""

from __future__ import annotations

import time

from action import job, view
from action.client import Client
from action.ends import BEFORE_SWITCH, TERMINAL, Json

QUIET = 120.0
"""Seconds without anything new after which a line says that it goes on."""
HINT = 15.0
"""Seconds after which whoever follows is told that no daemon has taken the Release up."""
ALARMING = frozenset({"NeedsAttention", "Blind", "WayBackLost", "Changed"})


def reached(release: Json, until: str) -> bool:
    """Whether there is nothing more to wait for."""
    phase = view.phase(release)
    if phase in TERMINAL or until == "asked":
        return True
    if until == "approval":
        # It may have been approved before anybody looked.
        return phase == "AwaitingApproval" or phase not in BEFORE_SWITCH | {"RollingBack"}
    return until == "watching" and phase == "Watching"


class Teller:
    """Tells the job what is new about one Release."""

    def __init__(self) -> None:
        self._said = ""
        self._flips = 0
        self._checks: set[str] = set()
        self._progress = ""
        self._rules_at = ""
        self._conditions: set[str] = set()
        self._last = time.monotonic()
        self._hinted = False

    def tell(self, release: Json) -> None:
        told = view.status(release)
        self._of_checks(told)
        self._of_rules(told)
        message = view.word(told, "message")
        line = f"{view.phase(release)}: {message}"
        if message and line != self._said:
            self._said = line
            self._say(line)
        self._of_flips(told)
        self._of_conditions(told)
        self._of_silence(release, message)

    def _of_checks(self, told: Json) -> None:
        for check in view.items(told, "checks"):
            id_, ok = view.word(check, "id"), bool(check.get("ok"))
            if f"{id_} {ok}" in self._checks:
                continue
            self._checks.add(f"{id_} {ok}")
            message = view.word(check, "message")
            self._say(f"check {id_}: {'passed' if ok else 'FAILED'}: {message}")
            if not ok:
                job.annotate("error", f"Check {id_} failed", message)
                if view.word(check, "output"):
                    job.group(f"What {id_} said", view.word(check, "output").splitlines())
        progress = told.get("progress")
        if isinstance(progress, dict):
            line = f"{view.word(progress, 'stage')}: {progress.get('done')} of {progress.get('of')} done"
            for one in view.items(progress, "running"):
                last = view.word(one, "last")
                line += f"; {view.word(one, 'id')} runs" + (f" (tried {one.get('tries')} x: {last})" if last else "")
            if line != self._progress:
                self._progress = line
                self._say(line)

    def _of_rules(self, told: Json) -> None:
        rules, at = view.items(told, "rules"), view.word(told, "rulesAt")
        if rules and at != self._rules_at:
            self._rules_at = at
            self._last = time.monotonic()
            job.group(f"Rules at {view.clock(at)}: {view.tally(rules)}", map(view.rule_line, rules))

    def _of_flips(self, told: Json) -> None:
        flips = view.items(told, "flips")
        for flip in flips[self._flips :]:
            back = view.word(flip, "reason") not in {"switch", "foreign"}
            words = (view.word(flip, name) for name in ("service", "from", "to", "reason"))
            line = f"{view.clock(view.word(flip, 'at'))} UTC: " + "{} moved from {} to {} ({}).".format(*words)
            job.annotate("warning" if back else "notice", "Traffic went back" if back else "Traffic moved", line)
        self._flips = len(flips)

    def _of_conditions(self, told: Json) -> None:
        now = {
            view.word(one, "type"): view.word(one, "message")
            for one in view.items(told, "conditions")
            if one.get("status") == "True" and one.get("type") in ALARMING
        }
        for kind in sorted(now.keys() - self._conditions):
            job.annotate("warning", kind, now[kind])
        for kind in sorted(self._conditions - now.keys()):
            self._say(f"{kind} is over.")
        self._conditions = set(now)

    def _of_silence(self, release: Json, message: str) -> None:
        silent = time.monotonic() - self._last
        if not message and silent > HINT and not self._hinted:
            self._hinted = True
            job.annotate("warning", job.TITLE, f"No daemon has taken {view.full_name(release)} up yet; does one lead?")
        elif silent > QUIET:
            self._say(f"Still {self._said or 'nothing new'}")

    def _say(self, line: str) -> None:
        self._last = time.monotonic()
        job.say(line)


class TimeOver(Exception):
    """The step's time is over, and the Release goes on."""


def follow(client: Client, release: Json, until: str, ends: float, teller: Teller, keep: list[Json]) -> Json:
    """Tell what happens until it is reached, or TimeOver. `keep` holds the latest that is known, throughout."""
    while True:
        keep[:] = [release]
        teller.tell(release)
        if reached(release, until):
            return release
        if time.monotonic() >= ends:
            raise TimeOver
        release = client.changed(release)
