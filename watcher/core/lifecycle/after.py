"""The phases after the flip: Verifying and Watching.

What always holds: a person's rollback, a pod that crashes, and a latched verdict lead back whatever else is going on;
blindness never does (S7); and nothing here ends as a pass unless enough was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from watcher.core.effects import Effect, Tell
from watcher.core.evaluation import RuleReport
from watcher.core.lifecycle import alerted
from watcher.core.lifecycle.before import superseded
from watcher.core.lifecycle.changed import changed
from watcher.core.lifecycle.foreign import give_way, let_be
from watcher.core.lifecycle.sizing import keep_back
from watcher.core.lifecycle.stages import run_stage
from watcher.core.lifecycle.turn import RETRY, Step, Turn, times
from watcher.core.lifecycle.way_back import preview_aside, way_back
from watcher.core.observed import ColorView, WatchReading
from watcher.core.release import Condition, Decision, Phase, RuleRecord
from watcher.core.units import format_duration
from watcher.core.verdict import blindness

HEARTBEAT = timedelta(seconds=60)
"""How often the rules' values are written to the status while no outcome changes."""

ANSWER_PATIENCE = timedelta(seconds=60)
"""How long past its end a watch waits for the answers to its last evaluations."""

WATCHES, HOLDS, HELD = "Watches", "Holds", "held"
"""How the messages of a running watch and of one that holds begin, and what one says that alerts hold."""

SHOWN = 2
"""How many reasons a message names."""

LOOK = timedelta(seconds=1)
"""How soon a trouble that only lasts counts is looked at again."""

EVER = datetime.min.replace(tzinfo=UTC)


def _leave(turn: Turn) -> Step | None:
    """What leads out of either phase: a person, a moved selector, trouble with the pods."""
    command = turn.release.spec.rollback or turn.release.spec.abort
    if command and turn.release.spec.foreign_flip and not turn.release.spec.rollback:
        return let_be(turn, command)
    if command:
        return turn.go_back("manual", f"asked for {command.told()}", by=command.by, evidence=command.evidence())
    given_way = give_way(turn) if turn.observes else None
    if given_way:
        return given_way
    if not turn.observed.service_known:
        return turn.stay(wake=RETRY)
    for pair in turn.gone:
        message = f"Service {pair.app.spec.service} was deleted: create it again, or nobody is served."
        conditions = turn.condition("NeedsAttention", True, "NoService", message)
        return turn.stay(message=message, wake=LOOK, conditions=conditions)
    if turn.moved:
        return superseded(turn)
    if turn.needs("NoService"):
        message = "The Service is there again."
        return turn.stay(message=message, wake=RETRY, conditions=turn.condition("NeedsAttention", False))
    if turn.observes:
        return None
    trouble = _sick_pods(turn)
    if trouble:
        return turn.go_back(*trouble)
    alert = alerted.rollback(turn)
    return turn.go_back(alert[0], alert[1], evidence=alert[2]) if alert else None


def _sick_pods(turn: Turn) -> tuple[str, str] | None:
    """What sends traffic back, as a code and a sentence: pods that crash, are killed, or stay unready. It is seen in
    the cluster, and needs no Prometheus."""
    if not turn.seen(turn.colors.to):
        return None
    limits, pods, now = turn.watch.pods, turn.pods(turn.colors.to), turn.now
    before = turn.pinned.restarts
    crashed = [(pod, max(0, pod.failures - before.get(pod.uid, 0))) for pod in pods]
    crashes = sum(count for _, count in crashed)
    if crashes > limits.restarts:
        pod = max(crashed, key=lambda found: found[1])[0]
        ended = max(pod.containers, key=lambda c: c.failures)
        code = "" if ended.exit_code is None else f", exit code {ended.exit_code}"
        cause = f" ({ended.reason}{code})" if ended.reason else ""
        message = (
            f"containers of {turn.colors.to} failed {times(crashes)} since the flip (limit {limits.restarts}), "
            f"last {ended.name} of pod {pod.name}{cause}"
        )
        return ("pods/OutOfMemory" if ended.reason == "OOMKilled" else "pods/Crashed"), message
    since = turn.status.switched_at or now
    for pod in pods:
        # A pod that is younger than the flip has no endpoint to lose yet; if all are, the next limit counts.
        unready = now - max(pod.ready_changed_at or since, since)
        if not pod.ready and not pod.deleting and pod.created_at < since and unready > limits.not_ready:
            limit = format_duration(limits.not_ready)
            return "pods/NotReady", (
                f"pod {pod.name} has not been ready for {unready.total_seconds():.0f} s (limit {limit})"
            )
    for pair in turn.pairs:
        side = pair.color(turn.colors.to)
        silent = now - max(since, _silent_since(side) or now)
        if side.ready == 0 and silent > limits.no_endpoints:
            said = f"{turn.colors.to}{pair.whose} has had no ready endpoint for {silent.total_seconds():.0f} s"
            said += "" if side.deployment else f", as Deployment {pair.app.deployment(turn.colors.to)} was deleted"
            return "pods/NoEndpoints", said
    return None


def _silent_since(side: ColorView) -> datetime | None:
    """Since when a colour without ready endpoints has had none: by its pods, unless they seem to be ready."""
    if any(pod.ready and not pod.deleting for pod in side.pods):
        return side.silent_since
    return max((pod.ready_changed_at for pod in side.pods if pod.ready_changed_at), default=EVER)


def _watchful(turn: Turn) -> timedelta:
    """When to look again at the latest: sooner while a pod is unready, as its time runs without any event."""
    trouble = not turn.ready(turn.colors.to) or any(
        not pod.ready and not pod.deleting for pod in turn.pods(turn.colors.to)
    )
    return LOOK if trouble else timedelta(seconds=30)


def _ailing(turn: Turn) -> bool:
    """Whether a limit for the pods runs right now, or nobody can tell."""
    since = turn.status.switched_at or turn.now
    unready = (not pod.ready and not pod.deleting and pod.created_at < since for pod in turn.pods(turn.colors.to))
    return not turn.ready(turn.colors.to) or any(unready)


def verifying(turn: Turn) -> Step:
    """Health checks against the live Service and every pod; the preview follows the idle colour."""
    left = _leave(turn)
    if left:
        return left
    spec = turn.app.spec
    deadline = spec.deadlines.verifying
    kept = keep_back(turn)
    turn = turn.having(kept.changes)
    effects = [*kept.effects, *preview_aside(turn)]
    if not turn.ready(turn.colors.to):
        late = turn.overdue(deadline) if turn.seen(turn.colors.to) else ""
        if late:
            return turn.go_back("VerifyDeadline", f"{turn.colors.to} did not keep a ready endpoint {late}")
        return turn.stay(*effects, wake=RETRY)
    waits = run_stage(turn, "live", spec.tests.health, ["live", "pods"], deadline) or run_stage(
        turn, "postSwitch", spec.hooks.post_switch, ["hook"], deadline, tolerant=True
    )
    if waits:
        return waits[0], (*effects, *waits[1])
    message = f"{turn.version} is healthy on {turn.colors.to}; watched for {format_duration(turn.watch.duration)}."
    return turn.go(Phase.WATCHING, message, *effects)


def watching(turn: Turn) -> Step:
    """Let rules and pods speak until the watch ends."""
    left = _leave(turn)
    if left:
        return left
    reading = turn.observed.watch
    changes: dict[str, Any] = {}
    kept = keep_back(turn)
    turn = turn.having(kept.changes)
    effects: list[Effect] = [*kept.effects]
    effects += () if turn.observes else preview_aside(turn)
    if reading is not None:
        if reading.verdict == "rollback":
            return _breached(turn, reading)
        changes |= _record(turn, reading)
        effects += _noteworthy(turn, reading)
    if turn.observes:
        would = _would_go_back(turn)
        changes |= would[0]
        effects += would[1]
    conditions = way_back(turn)
    conditions = changed(turn, _sight(turn, reading, conditions))
    if "rules" in changes or _truths(conditions) != _truths(turn.status.conditions):
        changes["conditions"] = conditions
    held = alerted.holds(turn)
    if turn.now >= turn.watch_until and not turn.paused():
        return _held(turn, held, changes, effects) if held else _finish(turn, reading, changes, effects)
    if not held and turn.needs(alerted.FIRING):
        base = turn.status.model_copy(update=changes)
        changes["conditions"] = turn.condition("NeedsAttention", False, message="No alert holds any more.", status=base)
    message = turn.paused() or _describe(turn, reading, held)
    old = turn.status.message
    news = "rules" in changes or reading is None or turn.paused() or not old.startswith(WATCHES)
    held_on = bool(held) and turn.needs(alerted.FIRING) and not turn.paused()
    if message != old and not held_on and (news or (f"; {HELD}: " in old) != bool(held)):
        changes["message"] = message
    rest = turn.watch_until - turn.now
    wake = _watchful(turn) if turn.paused() else min(_watchful(turn), max(RETRY, rest))
    return turn.stay(*effects, wake=wake, **changes)


def _would_go_back(turn: Turn) -> tuple[dict[str, Any], list[Effect]]:
    """What a watch that only observes says of its pods and of alerts: told once each, and the first of it kept."""
    trouble = _sick_pods(turn) or alerted.rollback(turn)
    if trouble is None:
        return {}, []
    code, message = trouble[:2]
    told = f"An enforcing watch would go back from {turn.colors.to} ({turn.version_aside}): {message}."
    changes = {} if turn.status.would else {"would": Decision(code=code, message=message, at=turn.now)}
    return changes, [Tell(f"would/{code}", "WouldRollBack", told, "warning")]


def _truths(conditions: tuple[Condition, ...]) -> set[tuple[str, str, str]]:
    """What of the conditions is written at once. Their words change with every number, and wait for the heartbeat."""
    return {(c.type, c.status, c.reason) for c in conditions}


def _noteworthy(turn: Turn, reading: WatchReading) -> list[Effect]:
    """Breaches that move no traffic, and that somebody wants to know of."""
    rules = {rule.id: rule for rule in turn.pinned.rules}
    found: list[Effect] = []
    for report in reading.reports:
        rule = rules.get(report.id)
        if rule is None or not report.breached or rule.enforcing or rule.on_breach == "observe":
            continue
        but = "" if rule.on_breach == "rollback" else "; it only notifies"  # else the report says what it would do
        message = f"Rule {report.id} is breached on {turn.colors.to} ({turn.version}): {report.message}{but}."
        found.append(Tell(f"breach/{report.id}", "RuleBreached", message, "warning"))
    return found


def _breached(turn: Turn, reading: WatchReading) -> Step:
    enforcing = {rule.id for rule in turn.pinned.rules if rule.enforcing}
    breached = [r for r in reading.reports if r.breached and r.id in enforcing]
    if not breached:
        return turn.go_back("rules", _brief(reading.reasons) or "the rules say so")
    report = min(breached, key=lambda r: (r.breached_at or 0.0, r.id))
    late = (
        f" (seen {reading.late:.0f} s late, after a gap)"
        if reading.late > 2 * turn.watch.interval.total_seconds()
        else ""
    )
    evidence: dict[str, object] = {
        "rule": report.id,
        "value": report.value,
        "threshold": report.threshold,
        "query": _query(turn, report.id),
        "breachedAt": str(_time(report.breached_at)),
    }
    release, effects = turn.go_back(f"rule/{report.id}", report.message + late, evidence=evidence)
    rules = tuple(_rule_record(turn, r) for r in reading.reports)
    status = release.status.model_copy(update={"rules": rules, "rules_at": turn.now})
    return release.model_copy(update={"status": status}), effects


def _record(turn: Turn, reading: WatchReading) -> dict[str, Any]:
    """The rules' part of the status, when an outcome changed or the last writing is a heartbeat ago."""
    outcomes = [(r.name, r.outcome) for r in turn.status.rules]
    now = [(r.id, r.outcome) for r in reading.reports]
    stale = turn.status.rules_at is None or turn.now - turn.status.rules_at >= HEARTBEAT
    if outcomes == now and turn.status.verdict == reading.verdict and not stale:
        return {}
    return {
        "rules": tuple(_rule_record(turn, r) for r in reading.reports),
        "rules_at": turn.now,
        "verdict": reading.verdict,
    }


def _rule_record(turn: Turn, report: RuleReport) -> RuleRecord:
    return RuleRecord(
        name=report.id,
        outcome=report.outcome,
        message=report.message,
        value=report.value,
        threshold=report.threshold,
        since=_time(report.since),
        query=_query(turn, report.id),
        before=report.before,
        low=report.low,
        high=report.high,
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _query(turn: Turn, id_: str) -> str:
    return next((rule.query for rule in turn.pinned.rules if rule.id == id_), "")


def _blind(turn: Turn, reading: WatchReading) -> list[str]:
    enforcing = {rule.id for rule in turn.pinned.rules if rule.enforcing}
    return list(blindness([r for r in reading.reports if r.id in enforcing]))


def _would(turn: Turn, id_: str) -> bool:
    """Whether a breach of the rule is only observed, because the whole watch only observes."""
    return any(r.id == id_ and r.mode == "observe" and r.on_breach == "rollback" for r in turn.pinned.rules)


def _sight(turn: Turn, reading: WatchReading | None, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Say when the rules cannot see (S7)."""
    if reading is None:
        return conditions
    blind = _blind(turn, reading)
    status = turn.status.model_copy(update={"conditions": conditions})
    message = f"The watch is blind: {_brief(blind)}." if blind else "Every rule sees."
    return turn.condition("Blind", bool(blind), message=message, status=status)


def _describe(turn: Turn, reading: WatchReading | None, held: Sequence[str]) -> str:
    begin = f"{WATCHES} {turn.version} on {turn.colors.to} until {turn.watch_until:%H:%M:%S} UTC"
    end = f"; {HELD}: {_brief(held, 'alerts')}." if held else "."
    if reading is None:
        return begin + end
    blind = _blind(turn, reading)
    if blind:
        return f"{begin}; blind, so it holds: {_brief(blind)}{end}"
    counts = Counter(r.outcome for r in reading.reports)
    said = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
    return f"{begin}{f': {said}' if said else ''}{end}"


def _finish(turn: Turn, reading: WatchReading | None, changes: dict[str, Any], effects: list[Effect]) -> Step:
    """The watch's time is over: complete it, extend it once, or hold (docs/rules.md)."""
    ended = reading is not None and reading.ended
    if turn.pinned.rules and not ended and turn.now < turn.watch_until + ANSWER_PATIENCE:
        return turn.stay(*effects, wake=LOOK, **changes)
    if _ailing(turn) and not turn.observes:
        # It recovers or goes back within its limits; neither unready pods nor unseen ones are a pass.
        return turn.stay(*effects, wake=LOOK, **changes)
    passed = not turn.pinned.rules or (ended and reading is not None and reading.verdict == "pass")
    if passed and reading is not None and not turn.observes and (unseen := _blind(turn, reading)):
        return _look_again(turn, unseen, changes, effects)
    if passed or turn.observes:
        but = _but(turn, reading, changes) if passed else "; its rules got no answer"
        how = "was only observed, as somebody else moved traffic there" if turn.observes else "passed its watch"
        message = f"Completed: {turn.version} serves on {turn.colors.to} and {how}{but}."
        changes |= {"verdict": "pass"} if passed else {"verdict": "inconclusive"}
        idle = "" if turn.observes else turn.colors.from_
        return turn.end(Phase.COMPLETED, "Completed", message, *effects, idle=idle, **changes)
    reasons = reading.reasons if ended and reading is not None else ("the last evaluations got no answer",)
    why = _brief(reasons) or "too little was seen"
    if not turn.status.extended:
        until = turn.now + turn.watch.duration
        message = f"The watch saw too little and is extended until {until:%H:%M:%S} UTC: {why}."
        tell = Tell("extended", "WatchExtended", message, "warning")
        changes |= {"extended": True, "watch_until": until, "verdict": "inconclusive"}
        return turn.stay(*effects, tell, message=message, wake=turn.watch.interval, **changes)
    if turn.watch.on_inconclusive == "rollback":
        return turn.go_back("inconclusive", f"the watch stayed inconclusive: {why}")
    return _hold(turn, why, changes, effects)


def _look_again(turn: Turn, unseen: Sequence[str], changes: dict[str, Any], effects: list[Effect]) -> Step:
    """The last look saw nothing, and a breach may hide there: that is no reason to pass, and not yet one to extend."""
    wake = min(turn.watch.interval, _watchful(turn))
    if turn.needs("Inconclusive"):
        return turn.stay(*effects, wake=wake, **changes)
    message = (
        f"{WATCHES} {turn.version} on {turn.colors.to}: its time is over, and it completes at the next look that sees; "
        f"blind: {_brief(unseen)}."
    )
    return turn.stay(*effects, message=message, wake=wake, **changes)


def _but(turn: Turn, reading: WatchReading | None, changes: dict[str, Any]) -> str:
    """What a watch that may not go back would have gone back for, as a sentence's end."""
    would = [r.id for r in reading.reports if r.breached and _would(turn, r.id)] if reading is not None else []
    pods = changes.get("would") or turn.status.would
    would += [pods.code] if pods else []
    return f"; an enforcing watch would have gone back for {', '.join(would)}" if would else ""


def _hold(turn: Turn, why: str, changes: dict[str, Any], effects: list[Effect]) -> Step:
    """Keep both colours and ask for a person. Its words are written with the rules, not at every new number."""
    if turn.needs("Inconclusive") and turn.status.message.startswith(HOLDS) and "rules" not in changes:
        return turn.stay(*effects, wake=min(turn.watch.interval, _watchful(turn)), **changes)
    message = (
        f"{HOLDS}: {why}. Both colours stay up. Go back with: {turn.command('abort')}; "
        f"or wait: it completes as soon as enough was seen."
    )
    base = turn.status.model_copy(update=changes)
    changes["conditions"] = turn.condition("NeedsAttention", True, "Inconclusive", message, status=base)
    return turn.stay(*effects, message=message, wake=min(turn.watch.interval, _watchful(turn)), **changes)


def _held(turn: Turn, held: Sequence[str], changes: dict[str, Any], effects: list[Effect]) -> Step:
    """Alerts hold a watch whose time is over: it goes on, rules and all, until they end or a person says so."""
    until = turn.now + min(turn.watch.duration, HEARTBEAT)
    message = (
        f"{HOLDS}: {_brief(held, 'alerts')}. Both colours stay up, and the watch goes on. Go back with: "
        f"{turn.command('abort')}; or let it pass all the same: {turn.command('resume')}"
    )
    base = turn.status.model_copy(update=changes)
    changes["conditions"] = turn.condition("NeedsAttention", True, alerted.FIRING, message, status=base)
    changes["watch_until"] = until
    return turn.stay(*effects, message=message, wake=_watchful(turn), **changes)


def _brief(reasons: Sequence[str], where: str = "rules") -> str:
    """The first reasons, and how many more there are: a sentence that somebody reads at three in the morning."""
    rest = len(reasons) - SHOWN
    return "; ".join(reasons[:SHOWN]) + (f"; and {rest} more, see status.{where}" if rest > 0 else "")
