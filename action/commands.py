"""What a step does for each of its commands, and how it ends.

What always holds: every way out sets the outputs, says in one sentence why it ends, and has an exit status of its own.
A step that the runner cancels tells the daemon what shall become of its Release, within the seconds that it is left.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

from action import follow, inputs, job, summary, view
from action.client import Client
from action.ends import BEFORE_SWITCH, TERMINAL, Cancelled, Ended, Exit, Json, Unreachable, exit_of
from action.inputs import Inputs
from action.tokens import Given, OfJob, Tokens

LAST_WORDS = 6.0
"""Seconds for what is still to be asked when a job is cancelled: a runner waits 7.5 of them, then insists."""
GOOD = {"abort": ("Aborted", "RolledBack"), "rollback": ("RolledBack", "Aborted")}
"""The ends that a command wants; the others want Completed."""
EMPTY = view.outputs({})


def main() -> int:
    """Run the step; its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the runner's locale
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    job.mask(os.environ.get("INPUT_TOKEN", "").strip())
    signal.signal(signal.SIGINT, _cancel)
    signal.signal(signal.SIGTERM, _cancel)
    step: Step | None = None
    try:
        wanted = inputs.read(os.environ)
        step = Step(wanted)
        return step.run()
    except Ended as end:
        return _trouble(end.exit, str(end), end.details, step)
    except Unreachable as error:
        goes_on = f" {step.release_goes_on()}" if step else ""
        return _trouble(Exit.ERROR, f"{error}.{goes_on}", (), step)
    except Cancelled:
        return _cancelled(step)


def _cancel(_: int, __: FrameType | None) -> NoReturn:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise Cancelled


class Step:
    """One run of the action."""

    def __init__(self, wanted: Inputs) -> None:
        self.wanted = wanted
        self._ends = time.monotonic() + wanted.timeout
        tokens: Tokens = Given(wanted.token) if wanted.token else OfJob(wanted.audience)
        self.client = Client(wanted.server, tokens, wanted.ca_certificate, self._ends)
        self.asked = False
        """Whether a Release may have been asked for, answered or not."""
        self.latest: list[Json] = []
        """The Release as it is known, if one is."""

    # -- commands -----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        command = self.wanted.command
        if command == "status":
            return self._status()
        release = getattr(self, f"_{command}")()
        self.latest[:] = [release]
        return self._follow(release)

    def _release(self) -> Json:
        wanted = self.wanted
        application = self.client.application(wanted.namespace, wanted.application)
        active = view.word(application, "activeColor")
        job.say(f"{wanted.namespace}/{wanted.application}: {active or 'neither colour'} serves.")
        if wanted.until == "approval" and application.get("approval") == "none":
            cure = "say approval: beforeSwitch in it, or another until"
            raise Ended(Exit.USAGE, f"The Application {wanted.application} asks for no approval: {cure}.")
        release = self.create()
        where = f"{view.full_name(release)} releases {wanted.application} {wanted.version}"
        job.annotate("notice", job.TITLE, f"{where}; until it switches, {active or 'nothing'} serves.")
        return release

    def create(self) -> Json:
        """Ask for the Release; however often, there is one."""
        wanted = self.wanted
        body: dict[str, Any] = {
            "namespace": wanted.namespace,
            "application": wanted.application,
            "version": wanted.version,
            "images": dict(wanted.images),
            "force": wanted.force,
        }
        if wanted.override_window:
            body["overrideWindow"] = {"reason": wanted.override_window}
        self.asked = True
        told = [wanted.namespace, wanted.application, wanted.version, *map("=".join, sorted(wanted.images.items()))]
        return self.client.create(body, wanted.key("create", *told, str(wanted.force), wanted.override_window))

    def _wait(self) -> Json:
        return self.client.release(self.wanted.namespace, self.wanted.release)

    def _approve(self) -> Json:
        return self.steer("approve", self.wanted.release)

    def _abort(self) -> Json:
        return self.steer("abort", self.wanted.release)

    def _rollback(self) -> Json:
        wanted = self.wanted
        if wanted.release:
            return self.steer("rollback", wanted.release)
        body: dict[str, Any] = {"reason": wanted.reason, "force": wanted.force}
        key = wanted.key("rollback", wanted.namespace, wanted.application)
        release = self.client.rollback_application(wanted.namespace, wanted.application, body, key)
        job.annotate("notice", job.TITLE, f"{view.full_name(release)} sends traffic back.")
        return release

    def steer(self, verb: str, name: str, reason: str = "") -> Json:
        wanted = self.wanted
        key = wanted.key(verb, wanted.namespace, name)
        release = self.client.steer(wanted.namespace, name, verb, reason or wanted.reason, key)
        job.say(f"{verb} was asked for: {view.full_name(release)}")
        return release

    def _status(self) -> int:
        """What serves and what runs; it is no failure, whatever it is."""
        wanted, outputs = self.wanted, dict(EMPTY)
        names = [wanted.release] if wanted.release else []
        if wanted.application:
            application = self.client.application(wanted.namespace, wanted.application)
            active = view.word(application, "activeColor")
            outputs |= {"active-color": active, "idle-color": view.other(active)}
            running = application.get("releases")
            names = names or ([str(one) for one in running] if isinstance(running, list) else [])
            job.say(f"{wanted.namespace}/{wanted.application}: {active or 'neither colour'} serves.")
        if names:
            release = self.client.release(wanted.namespace, names[0])
            outputs = view.outputs(release) | {k: v for k, v in outputs.items() if v and k.endswith("-color")}
            follow.Teller().tell(release)
        elif not wanted.release:
            job.say("No Release runs.")
        job.write_outputs(outputs)
        return Exit.DONE

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _follow(self, release: Json) -> int:
        until = self.wanted.until
        try:
            release = follow.follow(self.client, release, until, self._ends, follow.Teller(), self.latest)
        except follow.TimeOver:
            return self._time_over()
        except Unreachable:
            if time.monotonic() >= self._ends:
                return self._time_over()
            raise
        if view.phase(release) in TERMINAL:
            return self._ended(release)
        job.write_outputs(view.outputs(release))
        if until != "asked":
            job.write_summary(summary.of(release, view.phase(release)))
        return Exit.DONE

    def _ended(self, release: Json) -> int:
        phase = view.phase(release)
        exit_ = exit_of(release, GOOD.get(self.wanted.command, ("Completed",)))
        level = "notice" if exit_ is Exit.DONE else "error"
        job.annotate(level, f"{phase}: {view.full_name(release)}", view.word(view.status(release), "message"))
        self.finish(release, "refused" if exit_ is Exit.REFUSED else phase)
        return exit_

    def _time_over(self) -> int:
        release = self.latest[0]
        message = f"{view.full_name(release)} did not end within {self.wanted.timeout:g} s, and goes on"
        job.annotate("error", "Timed out", f"{message}: {view.word(view.status(release), 'message')}")
        self.finish(release, f"{view.phase(release)}, not waited for any longer")
        return Exit.TIMED_OUT

    def finish(self, release: Json, headline: str) -> None:
        job.write_outputs(view.outputs(release))
        job.write_summary(summary.of(release, headline))

    def release_goes_on(self) -> str:
        """What has to be known of the Release by whoever does not follow it any more."""
        if self.latest and view.phase(self.latest[0]) not in TERMINAL:
            return f"{view.full_name(self.latest[0])} goes on without this job."
        return "Whether a Release was made is not known; the command status tells." if self.asked else ""

    def withdraw(self) -> str:
        """Do with the Release what on-cancel says; a sentence of what was done."""
        wanted = self.wanted
        self.client.hurry(LAST_WORDS)
        if wanted.command not in {"release", "wait", "approve"} or wanted.on_cancel == "leave":
            return self.release_goes_on()
        if self.latest:
            release = self.client.release(wanted.namespace, view.word(self.latest[0], "name"))
        elif self.asked:
            release = self.create()
        elif wanted.release:
            release = self.client.release(wanted.namespace, wanted.release)
        else:
            return "Nothing had been asked for."
        self.latest[:] = [release]
        phase, name = view.phase(release), view.full_name(release)
        if phase in TERMINAL:
            return f"{name} has ended: {phase}."
        if phase in BEFORE_SWITCH or wanted.on_cancel == "rollback":
            self.latest[:] = [self.steer("abort", view.word(release, "name"), "the workflow was cancelled")]
            return f"{name} is aborted." if phase in BEFORE_SWITCH else f"{name} sends traffic back."
        return f"{name} is in {phase}, and goes on being watched: the daemon sends traffic back by itself if need be."


def _cancelled(step: Step | None) -> int:
    if step is None:
        return Exit.CANCELLED
    try:
        told = step.withdraw()
    except (Ended, Unreachable) as error:
        told = f"The daemon could not be told: {error}. {step.release_goes_on()}".strip()
    job.annotate("warning", "Cancelled", told)
    if step.latest:
        step.finish(step.latest[0], f"cancelled in {view.phase(step.latest[0]) or 'Pending'}")
    else:
        job.write_outputs(EMPTY)
        job.write_summary(summary.trouble("Cancelled", told, ()))
    return Exit.CANCELLED


def _trouble(exit_: Exit, message: str, details: tuple[str, ...], step: Step | None) -> int:
    job.annotate("error", job.TITLE, message)
    for line in details:
        job.quote(line)
    release = step.latest[0] if step and step.latest else {}
    job.write_outputs(view.outputs(release))
    job.write_summary(summary.trouble("Refused" if exit_ is Exit.REFUSED else "Not done", message, details))
    sys.stdout.flush()
    return exit_
