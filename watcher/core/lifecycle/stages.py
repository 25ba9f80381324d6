"""Stages of checks and hooks: run one after the other in the background, each result kept in the status.

What always holds: a result that is in the status is never asked for again, so a restart repeats at most the one that
was running.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from watcher.core.checks import Check, Hook, HookHttp
from watcher.core.effects import RunCheck, Target, Tell
from watcher.core.lifecycle.turn import RETRY, Step, Turn, one_line
from watcher.core.release import CheckRecord

JOB_PATIENCE = timedelta(minutes=1)
"""What a Job may take beyond its own limit, until the last word about it is heard."""


def run_stage(
    turn: Turn,
    stage: str,
    checks: Sequence[Check | Hook],
    targets: Sequence[Target],
    deadline: timedelta,
    *,
    tolerant: bool = False,
) -> Step | None:
    """Run a stage's checks or hooks one after the other; None once all have passed. A `tolerant` stage goes on after a
    failure, and tells it."""
    done = {record.id for record in turn.status.checks}
    for index, check in enumerate(checks):
        for target in targets:
            id_ = f"{stage}/{check.title(index)}/{target}"
            if id_ not in done:
                return _run(turn, RunCheck(id_, check, turn.colors.to, target), deadline, tolerant=tolerant)
    return None


def _run(turn: Turn, run: RunCheck, deadline: timedelta, *, tolerant: bool) -> Step:
    result = turn.observed.checks.get(run.id)
    if result is None:
        # Asked for even after the deadline: a worker that was away must not take that for a failure.
        what = "Calls hook" if run.target == "hook" else "Runs check"
        job = " as a Job" if run.check.job else ""
        return turn.stay(run, message=f"{what} {run.id} on {run.color}{job}.", wake=RETRY)
    if result.running:
        late = turn.overdue(deadline)
        if not late or turn.now - (result.since or turn.status.phase_since or turn.now) <= _patience(run.check):
            return turn.stay(wake=timedelta(seconds=1))
        record = CheckRecord(id=run.id, ok=False, message=f"it did not end {late}")
    else:
        record = CheckRecord(id=run.id, ok=result.ok, message=result.message, output=result.output)
    if not record.ok and not tolerant:
        return _failed_check(turn, record, run)
    checks = (*turn.status.checks, record)
    if record.ok:
        return turn.stay(message=f"Passed {run.id}.", checks=checks, wake=timedelta(0))
    message = f"Hook {run.id} failed, which undoes nothing: {_why(record, run)}."
    tell = Tell(f"hook/{run.id}", "HookFailed", message, "warning")
    return turn.stay(tell, message=message, checks=checks, wake=timedelta(0))


def _patience(check: Check | Hook) -> timedelta:
    """The time that a check may take by its own settings, with what it takes to begin and to say how it went."""
    if check.job:
        return check.job.timeout + JOB_PATIENCE
    if isinstance(check.http, HookHttp):
        return 2 * check.http.timeout
    assert check.http is not None
    return check.http.within + check.http.for_ + 2 * check.http.timeout


def _why(record: CheckRecord, run: RunCheck) -> str:
    what = "its last lines" if run.check.job else "it answered"
    said = f" ({what}: {one_line(record.output)})" if record.output else ""
    return f"{record.message.removesuffix('.')}{said}"


def _failed_check(turn: Turn, record: CheckRecord, run: RunCheck) -> Step:
    checks = (*turn.status.checks, record)
    evidence: dict[str, object] = {"check": record.id, "output": record.output}
    if turn.status.switched_at:
        kept = Turn(
            turn.release.model_copy(update={"status": turn.status.model_copy(update={"checks": checks})}),
            turn.observed,
            turn.now,
        )
        return kept.go_back(f"check/{record.id}", f"check {record.id} failed: {_why(record, run)}", evidence=evidence)
    kind, reason = ("Hook", "HookFailed") if record.id.endswith("/hook") else ("Check", "TestsFailed")
    message = (
        f"{kind} {record.id} of {turn.version} failed: {_why(record, run)}. "
        f"Traffic never moved and stays on {turn.colors.from_}."
    )
    return turn.fail(reason, message, checks=checks, evidence=evidence)
