"""Stages of checks and hooks: run in the background, one after the other or several at a time, each result kept in the
status.

What always holds: a result that is in the status is never asked for again, so a restart repeats at most what was
running; and a failure ends what runs beside it, as nobody waits for that any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from watcher.core.checks import Addressed, Check, Hook, Listed
from watcher.core.effects import RunCheck, Target, Tell
from watcher.core.lifecycle.turn import RETRY, Step, Turn, one_line, times
from watcher.core.observed import CheckResult
from watcher.core.release import CheckRecord, Progress, RunningCheck

JOB_PATIENCE = timedelta(minutes=1)
"""What a Job may take beyond its own limit, until the last word about it is heard."""

QUERY_PATIENCE = timedelta(minutes=1)
"""What a metrics server may take for one answer, and more: it has a deadline of its own."""

PROGRESS_EVERY = timedelta(seconds=5)
"""How often the tries of what runs are written down; each try would be a write."""

LONGEST = 200
"""How many characters of a last try's result are kept."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What `run_stage` was asked for: `done` of `of` have ended."""

    name: str
    done: int
    of: int
    deadline: timedelta
    tolerant: bool


def run_stage(
    turn: Turn,
    stage: str,
    listed: Sequence[Listed | Hook],
    targets: Sequence[Target],
    deadline: timedelta,
    *,
    tolerant: bool = False,
) -> Step | None:
    """Run a stage's checks or hooks in order; None once all have passed. A `tolerant` stage goes on after a failure,
    and tells it."""
    ended = {record.id for record in turn.status.checks}
    groups = list(planned(turn, stage, listed, targets))
    every = [run.id for group in groups for run in group]
    for group in groups:
        left = [run for run in group if run.id not in ended]
        if left:
            done = sum(1 for id_ in every if id_ in ended)
            return _together(turn, left, _Stage(stage, done, len(every), deadline, tolerant))
    return None


def planned(
    turn: Turn, stage: str, listed: Sequence[Listed | Hook], targets: Sequence[Target]
) -> Iterator[list[RunCheck]]:
    """What runs at the same time, in the order in which it does."""
    for index, entry in enumerate(listed):
        if isinstance(entry, Hook):
            members: list[tuple[str, Check | Hook]] = [(entry.title(index), entry)]
        else:
            members = [(title, check) for title, _, check in entry.checks(index)]
        runs = [
            RunCheck(f"{stage}/{title}/{target}", check, turn.colors.to, target)
            for title, check in members
            for target in _aims(turn, check, targets)
        ]
        if isinstance(entry, Listed) and entry.parallel is not None:
            yield runs
        else:
            yield from ([run] for run in runs)


def _aims(turn: Turn, check: Check | Hook, targets: Sequence[Target]) -> Sequence[Target]:
    """Where a check is aimed, of what its stage aims at. Pods stand in for a preview Service that there is none of."""
    if isinstance(check, Hook):
        return targets
    if check.promql:
        return ("metrics",)
    spec = check.http or check.tcp or check.grpc
    if spec and spec.each_pod:
        return ("pods",)
    preview = turn.app.aimed_at(check.service).spec.preview
    return [target if preview or target != "preview" else "pods" for target in targets]


def _together(turn: Turn, group: Sequence[RunCheck], stage: _Stage) -> Step:
    """One step of checks that run at the same time (often it is only one)."""
    found = [(run, _record(turn, run, stage.deadline)) for run in group]
    ended = [(run, record) for run, record in found if record]
    going = [run for run, record in found if not record]
    records = [record for _, record in ended]
    failed = [(run, record) for run, record in ended if not record.ok]
    if failed and not stage.tolerant:
        return _failed(turn, records, failed, going)
    # Asked for even after the deadline: a worker that was away must not take that for a failure.
    asked = [run for run in going if run.id not in turn.observed.checks]
    checks = (*turn.status.checks, *records)
    progress = _progress(turn, stage, stage.done + len(ended), going)
    changes = {"checks": checks} if ended else {}
    said = [f"Hook {run.id} failed, which undoes nothing: {_why(record, run)}." for run, record in failed]
    tells = [Tell(f"hook/{r.id}", "HookFailed", text, "warning") for (r, _), text in zip(failed, said, strict=True)]
    passed = ", ".join(record.id for record in records if record.ok)
    said += [f"Passed {passed}."] if passed else []
    if going and (asked or progress != turn.status.progress):
        said.append(_doing(going, progress))
    wake = timedelta(0) if ended and not going else RETRY if asked else timedelta(seconds=1)
    kept = progress if progress.done < progress.of else None
    return turn.stay(*tells, *asked, message=" ".join(said), wake=wake, progress=kept, **changes)


def _record(turn: Turn, run: RunCheck, deadline: timedelta) -> CheckRecord | None:
    """How it ended; None while it runs, or was not begun."""
    result = turn.observed.checks.get(run.id)
    if result is None:
        return None
    if not result.running:
        return CheckRecord(id=run.id, ok=result.ok, message=result.message, output=result.output)
    late = turn.overdue(deadline)
    if late and turn.now - (result.since or turn.status.phase_since or turn.now) > _patience(run.check):
        return CheckRecord(id=run.id, ok=False, message=f"it did not end {late}")
    return None


def _patience(check: Check | Hook) -> timedelta:
    """The time that a check may take by its own settings, with what it takes to begin and to say how it went."""
    if check.job:
        return check.job.timeout + JOB_PATIENCE
    if isinstance(check, Hook):
        assert check.http is not None
        return 2 * check.http.timeout
    if check.promql:
        return check.promql.within + check.promql.for_ + QUERY_PATIENCE
    spec: Addressed | None = check.http or check.tcp or check.grpc
    assert spec is not None
    return spec.within + spec.for_ + 2 * spec.timeout


def _progress(turn: Turn, stage: _Stage, done: int, going: Sequence[RunCheck]) -> Progress:
    """How far it is: what the status says already, unless that is no longer so or was written a while ago."""
    old = turn.status.progress
    before = {one.id: one for one in old.running} if old else {}
    running = []
    for run in going:
        result = turn.observed.checks.get(run.id) or CheckResult()
        known = before.get(run.id)
        since = result.since or (known.since if known else turn.now)
        last = one_line(result.last)
        last = last if len(last) <= LONGEST else f"{last[:LONGEST]}..."
        running.append(RunningCheck(id=run.id, since=since, tries=result.tries, last=last))
    new = Progress(stage=stage.name, done=done, of=stage.of, running=tuple(running), at=turn.now)
    if old is None or (old.stage, old.done, list(before)) != (new.stage, new.done, [one.id for one in running]):
        return new
    return new if old.running != new.running and turn.now - old.at >= PROGRESS_EVERY else old


def _doing(runs: Sequence[RunCheck], progress: Progress) -> str:
    """What runs, in words: which of how many, and how the tries went so far."""
    run, first = runs[0], progress.done + 1
    what = "Calls hook" if run.target == "hook" else "Runs check" if len(runs) == 1 else "Runs checks"
    job = " as a Job" if len(runs) == 1 and run.check.job else ""
    place = f"{first} of {progress.of}" if len(runs) == 1 else f"{first} to {first + len(runs) - 1} of {progress.of}"
    said = f"{what} {', '.join(run.id for run in runs)} on {run.color}{job} ({place})"
    for one in progress.running:
        if one.last:
            whose = "it was" if len(runs) == 1 else f"{one.id} was"
            said += f"; {whose} tried {times(one.tries)}, and the last time: {one.last.removesuffix('.')}"
    return f"{said}."


def _why(record: CheckRecord, run: RunCheck) -> str:
    check = run.check
    asked = isinstance(check, Check) and check.promql
    what = "its last lines" if check.job else "the query" if asked else "it answered"
    said = f" ({what}: {one_line(record.output)})" if record.output else ""
    return f"{record.message.removesuffix('.')}{said}"


def _failed(
    turn: Turn,
    records: Sequence[CheckRecord],
    failed: Sequence[tuple[RunCheck, CheckRecord]],
    going: Sequence[RunCheck],
) -> Step:
    """The end of a stage: every failure is told, and what still runs is cancelled by the end of the phase."""
    checks = (*turn.status.checks, *records)
    first = failed[0][1]
    whys = [_why(record, run) for run, record in failed]
    cancelled = f"; cancelled: {', '.join(run.id for run in going)}" if going else ""
    evidence: dict[str, object] = {"check": first.id, "output": first.output}
    if len(failed) > 1:
        evidence["alsoFailed"] = {record.id: why for (_, record), why in zip(failed[1:], whys[1:], strict=True)}
    also = "".join(f"; {record.id}: {why}" for (_, record), why in zip(failed[1:], whys[1:], strict=True))
    if turn.status.switched_at:
        told = f"check {first.id} failed: {whys[0]}{also}{cancelled}"
        return turn.having({"checks": checks}).go_back(f"check/{first.id}", told, evidence=evidence)
    kind, reason = ("Hook", "HookFailed") if failed[0][0].target == "hook" else ("Check", "TestsFailed")
    message = (
        f"{kind} {first.id} of {turn.version} failed: {whys[0]}{also}{cancelled}. "
        f"Traffic never moved and stays on {turn.colors.from_}."
    )
    return turn.fail(reason, message, checks=checks, evidence=evidence)
