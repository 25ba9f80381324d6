"""The phases after the flip: Verifying and Watching.

What always holds: a person's rollback, a pod that crashes, and a latched verdict lead back whatever else is going on;
blindness never does (S7); and nothing here ends as a pass unless enough was seen.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from watcher.core.effects import Effect, PointPreview, Tell
from watcher.core.evaluation import RuleReport
from watcher.core.lifecycle.before import run_stage, superseded
from watcher.core.lifecycle.turn import RETRY, Step, Turn
from watcher.core.observed import WatchReading
from watcher.core.release import Condition, Phase, RuleRecord
from watcher.core.units import format_duration

HEARTBEAT = timedelta(seconds=60)
"""How often the rules' values are written to the status while no outcome changes."""

LOOK = timedelta(seconds=1)
"""How soon a trouble that only lasts counts is looked at again."""


def _leave(turn: Turn) -> Step | None:
    """What leads out of either phase: a person, a moved selector, trouble with the pods."""
    command = turn.release.spec.rollback or turn.release.spec.abort
    if command:
        return turn.go_back("manual", f"asked for {command.told()}", by=command.by)
    if not turn.observed.service_known:
        return turn.stay(wake=RETRY)
    if turn.observed.service is None:
        message = f"Service {turn.app.spec.service} was deleted: create it again, or nobody is served."
        conditions = turn.condition("NeedsAttention", True, "NoService", message)
        return turn.stay(
            Tell("no-service", "NoService", message, "critical"), message=message, wake=LOOK, conditions=conditions
        )
    if turn.selected != turn.colors.to:
        return superseded(turn)
    return _sick_pods(turn)


def _sick_pods(turn: Turn) -> Step | None:
    """Go back for pods that crash, are killed, or stay unready: seen in the cluster, no Prometheus needed."""
    limits, side, now = turn.watch.pods, turn.color(turn.colors.to), turn.now
    before = turn.pinned.restarts
    crashed = [(pod, max(0, pod.failures - before.get(pod.uid, 0))) for pod in side.pods]
    crashes = sum(count for _, count in crashed)
    if crashes > limits.restarts:
        pod = max(crashed, key=lambda found: found[1])[0]
        ended = max(pod.containers, key=lambda c: c.failures)
        code = "" if ended.exit_code is None else f", exit code {ended.exit_code}"
        cause = f" ({ended.reason}{code})" if ended.reason else ""
        message = (
            f"containers of {turn.colors.to} failed {crashes} times since the flip (limit {limits.restarts}), "
            f"last {ended.name} of pod {pod.name}{cause}"
        )
        return turn.go_back("pods/OutOfMemory" if ended.reason == "OOMKilled" else "pods/Crashed", message)
    since = turn.status.switched_at or now
    for pod in side.pods:
        unready = now - max(pod.ready_changed_at or since, since)
        if not pod.ready and not pod.deleting and pod.created_at < since and unready > limits.not_ready:
            limit = format_duration(limits.not_ready)
            return turn.go_back(
                "pods/NotReady",
                f"pod {pod.name} has not been ready for {unready.total_seconds():.0f} s (limit {limit})",
            )
    if side.ready == 0:
        changes = [pod.ready_changed_at for pod in side.pods if pod.ready_changed_at]
        silent = now - max([since, *changes])
        if silent > limits.no_endpoints:
            return turn.go_back(
                "pods/NoEndpoints", f"{turn.colors.to} has had no ready endpoint for {silent.total_seconds():.0f} s"
            )
    return None


def _watchful(turn: Turn) -> timedelta:
    """When to look again at the latest: sooner while a pod is unready, as its time runs without any event."""
    side = turn.color(turn.colors.to)
    trouble = side.ready == 0 or any(not pod.ready for pod in side.pods)
    return LOOK if trouble else timedelta(seconds=30)


def verifying(turn: Turn) -> Step:
    """Health checks against the live Service and every pod; the preview follows the idle colour."""
    left = _leave(turn)
    if left:
        return left
    spec = turn.app.spec
    deadline = spec.deadlines.verifying
    preview = turn.observed.preview
    effects: list[Effect] = []
    if spec.preview and preview and preview.selector.get(spec.selector_key) == turn.colors.to:
        # From now on the idle colour is the way back: its Service's EndpointSlices tell whether it is warm (S1, S4).
        effects.append(PointPreview(spec.preview.service, turn.colors.from_))
    if not turn.color(turn.colors.to).ready:
        return turn.stay(*effects, wake=RETRY)
    waits = run_stage(turn, "live", spec.tests.health, ["live", "pods"], deadline)
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
    effects: list[Effect] = []
    if reading is not None:
        if reading.verdict == "rollback":
            return _breached(turn, reading)
        changes |= _record(turn, reading)
    conditions, told = _way_back(turn)
    effects += told
    conditions, told = _sight(turn, reading, conditions)
    effects += told
    if conditions != turn.status.conditions:
        changes["conditions"] = conditions
    assert turn.status.watch_until is not None
    if turn.now >= turn.status.watch_until and not turn.paused():
        return _finish(turn, reading, changes, effects)
    message = turn.paused() or _describe(turn, reading)
    if message != turn.status.message and ("rules" in changes or reading is None or turn.paused()):
        changes["message"] = message
    wake = min(_watchful(turn), max(RETRY, turn.status.watch_until - turn.now))
    return turn.stay(*effects, wake=wake, **changes)


def _breached(turn: Turn, reading: WatchReading) -> Step:
    enforcing = {rule.id for rule in turn.pinned.rules if rule.enforcing}
    report = next(r for r in reading.reports if r.breached and r.id in enforcing)
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
    value = report.value
    return RuleRecord(
        name=report.id,
        outcome=report.outcome,
        message=report.message,
        value=str(value) if value is not None and math.isinf(value) else value,
        threshold=report.threshold,
        since=_time(report.since),
        query=_query(turn, report.id),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _query(turn: Turn, id_: str) -> str:
    return next((rule.query for rule in turn.pinned.rules if rule.id == id_), "")


def _way_back(turn: Turn) -> tuple[tuple[Condition, ...], list[Effect]]:
    """Watch the previous colour's warmth: losing it is an alert of its own (S4)."""
    side = turn.color(turn.colors.from_)
    lost = side.ready == 0
    message = (
        f"The way back is cold: {turn.colors.from_} has no ready pods. A rollback would first have to scale up "
        f"Deployment {turn.app.deployment(turn.colors.from_)}."
    )
    conditions = turn.condition("WayBackLost", lost, message=message if lost else "The way back is warm.")
    if lost and not turn.has("WayBackLost"):
        return conditions, [Tell("way-back-lost", "WayBackLost", message, "critical")]
    return conditions, []


def _blind(turn: Turn, reading: WatchReading) -> list[str]:
    enforcing = {rule.id for rule in turn.pinned.rules if rule.enforcing}
    return [
        f"{r.id}: {r.message or r.outcome}"
        for r in reading.reports
        if r.id in enforcing and r.outcome in ("noData", "thin", "error")
    ]


def _sight(
    turn: Turn, reading: WatchReading | None, conditions: tuple[Condition, ...]
) -> tuple[tuple[Condition, ...], list[Effect]]:
    """Say when the rules cannot see (S7)."""
    if reading is None:
        return conditions, []
    blind = _blind(turn, reading)
    status = turn.status.model_copy(update={"conditions": conditions})
    message = f"The watch is blind: {'; '.join(blind)}" if blind else "Every rule sees."
    after = turn.condition("Blind", bool(blind), message=message, status=status)
    if blind and not turn.has("Blind"):
        return after, [Tell("blind", "Blind", message, "warning")]
    return after, []


def _describe(turn: Turn, reading: WatchReading | None) -> str:
    until = turn.status.watch_until
    begin = f"Watches {turn.version} on {turn.colors.to} until {until:%H:%M:%S} UTC"
    if reading is None:
        return f"{begin}."
    blind = _blind(turn, reading)
    if blind:
        return f"{begin}; blind, so it holds: {'; '.join(blind)}"
    counts = Counter(r.outcome for r in reading.reports)
    said = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
    return f"{begin}{f': {said}' if said else ''}."


def _finish(turn: Turn, reading: WatchReading | None, changes: dict[str, Any], effects: list[Effect]) -> Step:
    """The watch's time is over: complete it, extend it once, or hold (DESIGN.md 5)."""
    if turn.pinned.rules and (reading is None or not reading.ended):
        return turn.stay(*effects, wake=LOOK, **changes)
    if reading is None or reading.verdict == "pass":
        message = f"Completed: {turn.version} serves on {turn.colors.to} and passed its watch."
        base = turn.status.model_copy(update=changes)
        changes |= {"verdict": "pass", "conditions": turn.condition("NeedsAttention", False, status=base)}
        return turn.end(Phase.COMPLETED, "Completed", message, *effects, idle=turn.colors.from_, **changes)
    why = "; ".join(reading.reasons) or "too little was seen"
    if not turn.status.extended:
        until = turn.now + turn.watch.duration
        message = f"The watch saw too little and is extended until {until:%H:%M:%S} UTC: {why}"
        tell = Tell("extended", "WatchExtended", message, "warning")
        changes |= {"extended": True, "watch_until": until, "verdict": "inconclusive"}
        return turn.stay(*effects, tell, message=message, wake=turn.watch.interval, **changes)
    if turn.watch.on_inconclusive == "rollback":
        return turn.go_back("inconclusive", f"the watch stayed inconclusive: {why}")
    message = (
        f"Holds: {why}. Both colours stay up. Decide with: watcher release abort {turn.release.name} (goes back), "
        f"or let it see; it completes as soon as enough was seen."
    )
    base = turn.status.model_copy(update=changes)
    conditions = turn.condition("NeedsAttention", True, "Inconclusive", why, status=base)
    changes |= {"verdict": "hold", "conditions": conditions}
    tell = Tell("hold", "NeedsAttention", message, "critical")
    return turn.stay(*effects, tell, message=message, wake=turn.watch.interval, **changes)
