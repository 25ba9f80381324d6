"""The phases before any traffic moves: Pending, Deploying, Testing, AwaitingApproval.

What always holds: none of them flips anything, and a selector that somebody moved meanwhile ends the Release as
Superseded (S3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from watcher.core.application import COLORS, Application, by_hand, other
from watcher.core.effects import Deploy, FetchLogs, PointPreview, Wake
from watcher.core.images import called, within
from watcher.core.lifecycle import sizing
from watcher.core.lifecycle.changed import difference, tampered, wanted_of
from watcher.core.lifecycle.diagnosis import Diagnosis, diagnose
from watcher.core.lifecycle.foreign import take_up
from watcher.core.lifecycle.stages import run_stage
from watcher.core.lifecycle.turn import RETRY, Step, Turn, one_line
from watcher.core.observed import DeploymentView, Other
from watcher.core.release import Colors, Phase, Pinned
from watcher.core.units import format_duration
from watcher.core.windows import closed_because, next_opening

STAGES = ("smoke", "verification", "health")

LOOK_AGAIN = timedelta(minutes=1)
"""How soon a Release that waits for people, files or a window is looked at again at the latest."""

LOGS_PATIENCE = timedelta(seconds=30)
"""How long past the deadline a failed container's last lines are waited for."""


def pending(turn: Turn) -> Step:
    """Refuse what is impossible, wait for the window, then begin."""
    spec, observed = turn.release.spec, turn.observed
    app = observed.application
    stop = spec.abort or (None if turn.release.is_rollback_only else spec.rollback)
    if stop:
        message = f"Aborted {stop.told()} before anything was done."
        return turn.end(Phase.ABORTED, "Aborted", message, evidence=stop.evidence())
    if app is None:
        known = ", ".join(observed.known_applications) or "none"
        message = f"There is no Application {spec.application!r} in namespace {turn.release.namespace}; known: {known}."
        return turn.fail("UnknownApplication", message)
    if not observed.service_known or not all(turn.seen(color) for color in COLORS):
        return turn.stay(message="Waits for an answer of the API server.", wake=RETRY)
    if spec.foreign_flip:
        return take_up(turn, app, spec.foreign_flip)
    overtaken = next((o.name for o in observed.others if o.running and _after(o, turn)), "")
    if overtaken:
        message = f"Waits for the end of Release {overtaken}, which was asked for later and could not wait."
        return turn.stay(message=message, wake=LOOK_AGAIN)
    ahead = _ahead(turn)
    if ahead and app.spec.while_running == "queue" and not turn.release.is_rollback_only:
        return _queue_up(turn, app, ahead)
    refusal = _refusal(turn, app, ahead)
    if refusal:
        return turn.fail(*refusal)
    active = turn.selected
    pinned = _pin(turn, app, active)
    colors = Colors(from_=active, to=other(active))
    started: dict[str, Any] = {"pinned": pinned, "colors": colors, "started_at": turn.now}
    if turn.release.is_rollback_only:
        begun = turn.having(started)
        command = spec.rollback
        told = command.told() if command else ""
        return begun.go_back("manual", f"asked for {told}", by=command.by if command else "")
    opening = next_opening(app.spec.windows, app.spec.freezes, turn.now)
    waits = turn.paused() or _closed(turn, app, opening)
    if waits:
        later = turn.now + LOOK_AGAIN
        return turn.stay(Wake(min(opening, later) if opening and opening > turn.now else later), message=waits)
    message = f"Deploys {turn.version} to {colors.to}; {colors.from_} serves ({pinned.previous_version or 'unnamed'})."
    return turn.go(Phase.DEPLOYING, message, **started)


def _ahead(turn: Turn) -> list[Other]:
    """The Releases of the Application that go first: those that run, and those that were asked for earlier."""
    others = turn.observed.others
    waiting = [o for o in others if o.ended_at is None and not (o.running or o.gives_way or _after(o, turn))]
    return [o for o in others if o.running] + sorted(waiting, key=lambda o: (o.created_at, o.name))


def _queue_up(turn: Turn, app: Application, ahead: list[Other]) -> Step:
    """Wait for one's turn, in the order in which Releases were asked for. However the one before ends, it goes on: this
    one is looked at by itself then, and refused if what it brings was rolled back meanwhile."""
    first = ahead[0]
    what = f"Release {first.name} ({first.phase or Phase.PENDING})"
    left = app.spec.deadlines.queue - (turn.now - turn.release.created_at)
    if left <= timedelta(0):
        message = (
            f"{turn.version} waited in the queue for {format_duration(app.spec.deadlines.queue)}, last for {what}."
        )
        return turn.fail("QueueDeadline", message)
    more = f", and {len(ahead) - 1} more before it" if len(ahead) > 1 else ""
    message = f"Queued: waits for the end of {what}{more}. Take it out with: {turn.command('abort')}"
    return turn.stay(message=message, wake=min(LOOK_AGAIN, left + RETRY))


def _refusal(turn: Turn, app: Application, ahead: list[Other]) -> tuple[str, str] | None:
    """Why the Release cannot be: a word and a sentence. None when it can."""
    spec = turn.release.spec
    for pair in turn.pairs:
        if pair.service is None:
            return "NoService", f"Service {pair.app.spec.service} does not exist in namespace {app.namespace}."
        if pair.selected not in COLORS:
            selects = f"{app.spec.selector_key}={pair.selected or '(nothing)'}"
            return "NoActiveColor", f"Service {pair.app.spec.service} selects {selects}: it must select blue or green."
    if turn.mixed:
        return "ColorsDiffer", turn.mixed
    active = turn.selected
    running = [o.name for o in ahead if o.running]
    if running:
        return (
            "AnotherReleaseRunning",
            f"Release {running[0]} of {app.name} is running: wait for its end, or abort it first.",
        )
    if turn.release.is_rollback_only:
        for pair in turn.pairs:
            if pair.color(other(active)).deployment is None:
                name = pair.app.deployment(other(active))
                return "NoDeployment", f"Deployment {name} does not exist: nothing to go back to."
        return next(filter(None, (_quarantined_target(pair, other(active)) for pair in turn.pairs)), None)
    if ahead:
        return "AnotherReleaseRunning", f"Release {ahead[0].name} of {app.name} was asked for earlier and still waits."
    if not spec.images:
        return "NoImages", "spec.images is empty: say which image each container gets, as container: image."
    return _refused_images(turn, active)


def _after(one: Other, turn: Turn) -> bool:
    """Whether another Release was asked for after this one."""
    return (one.created_at, one.name) > (turn.release.created_at, turn.release.name)


def _refused_images(turn: Turn, active: str) -> tuple[str, str] | None:
    spec, observed = turn.release.spec, turn.observed
    idle: list[DeploymentView] = []
    for pair in turn.pairs:
        for color in (active, other(active)):
            if pair.color(color).deployment is None:
                return "NoDeployment", f"Deployment {pair.app.deployment(color)} ({color}) does not exist."
        idle += filter(None, [pair.color(other(active)).deployment])
    misfit = unknown_container(spec.images, idle)
    if misfit:
        return "UnknownContainer", misfit
    for found in idle:
        if not spec.images.keys() & found.images.keys():
            has = ", ".join(sorted(found.images))
            return "NoImages", f"spec.images has none for Deployment {found.name}: say which its container {has} gets."
    last = _last_life(observed.others, spec.images)
    if last and last.phase == Phase.ROLLED_BACK and not spec.force:
        message = f"{turn.version} was rolled back in Release {last.name}: repair it, or release it with force."
        return "Quarantined", message
    if observed.rules_problem:
        return "InvalidRules", observed.rules_problem
    return None


def unknown_container(images: Mapping[str, str], deployments: Sequence[DeploymentView]) -> str:
    """A sentence about a container that no Deployment has; empty when each is in one of them."""
    strangers = sorted(set(images).difference(*(found.images for found in deployments)))
    if not strangers:
        return ""
    if len(deployments) == 1:
        has = ", ".join(sorted(deployments[0].images))
        return f"Deployment {deployments[0].name} has no container {strangers[0]!r}; it has {has}."
    has = "; ".join(f"{found.name} has {', '.join(sorted(found.images))}" for found in deployments)
    return f"No Deployment has a container {strangers[0]!r}: {has}."


def _quarantined_target(turn: Turn, target: str) -> tuple[str, str] | None:
    """A second rollback by hand would send traffic to the very version that the first one took it from (S9)."""
    deployment = turn.color(target).deployment
    last = _last_life(turn.observed.others, deployment.images) if deployment else None
    if last is None or last.phase is not Phase.ROLLED_BACK or turn.release.spec.force:
        return None
    message = f"{target} runs what was rolled back in Release {last.name}: traffic stays; go there anyway with force."
    return "Quarantined", message


def _last_life(others: Sequence[Other], images: Mapping[str, str]) -> Other | None:
    """The Release in which these images last came to a good or a bad end."""
    lives = [(o.ended_at, o) for o in others if o.ended_at and o.proves and within(images, o.images)]
    return max(lives, key=lambda life: (life[0], life[1].name))[1] if lives else None


def _pin(turn: Turn, app: Application, active: str) -> Pinned:
    live = turn.color(active).deployment
    return Pinned(
        application=app,
        watcher=turn.observed.watcher,
        replicas=sizing.size_now(turn, active),
        sizes={pair.app.spec.service: sizing.size_now(pair, active) for pair in turn.pairs[1:]},
        previous_version=called(live.version, live.images, aside=True) if live else "",
    )


def _closed(turn: Turn, app: Application, opening: datetime | None) -> str:
    if turn.release.spec.override_window:
        return ""
    why = closed_because(app.spec.windows, app.spec.freezes, turn.now)
    if not why:
        return ""
    when = f"; the next one opens at {opening:%Y-%m-%d %H:%M %Z}" if opening else "; none opens within a year"
    return f"Waits for a deployment window: now is {why}{when}."


def interrupted(turn: Turn) -> Step | None:
    """What ends any phase before the flip: an abort, a rollback, a moved selector, a Service that went."""
    stop = turn.release.spec.abort or turn.release.spec.rollback
    if stop:
        message = f"Aborted {stop.told()}; traffic never moved and stays on {turn.colors.from_}."
        return turn.end(Phase.ABORTED, "Aborted", message, idle=turn.colors.to, evidence=stop.evidence())
    if not turn.observed.service_known:
        return turn.stay(wake=RETRY)
    for pair in turn.gone:
        return turn.fail("NoService", f"Service {pair.app.spec.service} was deleted; traffic never moved.")
    return superseded(turn) if turn.moved else None


def superseded(turn: Turn) -> Step:
    """Somebody moved the selector: respect it, and say so (S3)."""
    pair = turn.moved[0]
    spec = pair.app.spec
    message = (
        f"Somebody else moved the selector of Service {spec.service}: {spec.selector_key} is "
        f"{pair.selected or '(nothing)'}, {pair.expected} was expected. The Release ends and leaves it there."
    )
    if pair.selected not in COLORS:
        cure = by_hand(turn.release.namespace, spec.service, spec.selector_key, pair.expected)
        message += f" That is neither colour alone; put it right with: {cure}"
    evidence: dict[str, object] = {"service": spec.service, "selected": pair.selected, "expected": pair.expected}
    return turn.end(
        Phase.SUPERSEDED, "SelectorMoved", message, severity="warning", evidence=evidence, left=turn.selected
    )


def deploying(turn: Turn) -> Step:
    """Put the images on the idle colour and wait until all its pods are ready."""
    stopped = interrupted(turn)
    if stopped:
        return stopped
    if not turn.seen(turn.colors.to):
        return turn.stay(wake=RETRY)
    late = turn.overdue(turn.app.spec.deadlines.deploying)
    for pair in turn.pairs:
        if pair.color(turn.colors.to).deployment is None:
            name = pair.app.deployment(turn.colors.to)
            return turn.fail("NoDeployment", f"Deployment {name} was deleted while {turn.version} was deployed to it.")
    idle = [found for pair in turn.pairs if (found := pair.color(turn.colors.to).deployment)]
    misfit = unknown_container(turn.release.spec.images, idle) if len(idle) > 1 else ""
    if misfit:
        return turn.fail("UnknownContainer", misfit)
    waits = run_stage(turn, "preDeploy", turn.app.spec.hooks.pre_deploy, ["hook"], turn.app.spec.deadlines.deploying)
    if waits:
        return waits
    deploys, held = [deploy for pair in turn.pairs for deploy in _deploys(pair)], sizing.hold(turn, turn.colors.to)
    if deploys:
        if late:
            changes = "; ".join(_kept_back(pair) for pair in turn.pairs)
            message = f"{turn.version} could not be deployed to {turn.colors.to} {late}: {changes}"
            return turn.fail("DeployDeadline", f"{message}. Traffic never moved.")
        return turn.stay(*deploys, *held.effects, wake=RETRY, **held.changes)
    return _rolls_out(turn.having(held.changes), held, late)


def _deploys(pair: Turn) -> Iterator[Deploy]:
    """What is still to be done to the pair's idle Deployment: each gets the images of the containers that it has."""
    found, spec = pair.color(pair.colors.to).deployment, pair.release.spec
    assert found is not None
    wanted = wanted_of(pair, found)
    have = {container: found.images.get(container) for container in wanted}
    size, insisted = sizing.size(pair, pair.colors.to), sizing.insisted(pair, pair.colors.to)
    if have != wanted or found.replicas < insisted or found.version != spec.version:
        yield Deploy(found.name, wanted, max(size, found.replicas), spec.version)


def _kept_back(pair: Turn) -> str:
    """Why a Deployment is not as it was asked to be: nothing but its own words tell the two causes apart."""
    found = pair.color(pair.colors.to).deployment
    other = difference(wanted_of(pair, found), found.images) if found else ""
    return (
        f"{other or 'its size or version is not as asked for'}; "
        f"the API server refuses the change, or somebody else (GitOps, a person) keeps taking it back"
    )


def _rolls_out(turn: Turn, held: sizing.Holding, late: str) -> Step:
    """Wait for the pods of every pair, and give up for a trouble that time cannot cure."""
    color = turn.colors.to
    idle = [(pair, found) for pair in turn.pairs if (found := pair.color(color).deployment)]
    waited = [(pair, found) for pair, found in idle if not (found.rolled_out and pair.color(color).ready)]
    if not waited and held.waits:
        return turn.stay(*held.effects, message=held.waits, wake=RETRY)
    if not waited:
        count = sum(found.ready for _, found in idle)
        message = f"Tests {turn.version} on {color} ({count} {'pod' if count == 1 else 'pods'} ready)."
        return turn.go(Phase.TESTING, message, *held.effects)
    since = turn.status.phase_since or turn.now
    troubles = filter(None, [diagnose(pair.color(color), since, turn.now) for pair, _ in waited])
    trouble = max(troubles, key=lambda one: one.final, default=None)
    if trouble and (trouble.final or late):
        return _failed_deploy(turn, trouble)
    progress = "; ".join(_progress(pair, found) for pair, found in waited)
    if late:
        message = f"{color} ({turn.version_aside}) did not get ready {late}: {progress}."
        return turn.fail("DeployDeadline", message + " Traffic never moved.")
    message = f"Deploys {turn.version} to {color}: {progress}"
    message += f"; {trouble.message}." if trouble else "."
    return turn.stay(*held.effects, message=message, wake=timedelta(seconds=2))


def _progress(pair: Turn, deployment: DeploymentView) -> str:
    said = f"{deployment.updated} of {deployment.replicas} pods updated, {deployment.ready} ready"
    said = said if len(pair.pairs) == 1 else f"{deployment.name}: {said}"
    if not deployment.rolled_out:
        return said
    # Pods that are ready without being endpoints: nothing else would say why it waits.
    service = pair.app.spec.service
    return f"{said}, but none is an endpoint yet; Service {service} must select the labels that they have"


def _failed_deploy(turn: Turn, found: Diagnosis) -> Step:
    logs = ""
    if found.pod:
        key = f"{found.pod}/{found.container}"
        if key not in turn.observed.logs and not turn.overdue(turn.app.spec.deadlines.deploying + LOGS_PATIENCE):
            return turn.stay(FetchLogs(found.pod, found.container, previous=True), wake=RETRY)
        logs = turn.observed.logs.get(key, "")
    last = f" Its last lines: {one_line(logs).removesuffix('.')}." if logs else ""
    message = f"Deploying {turn.version} to {turn.colors.to} failed: {found.message}.{last} Traffic never moved."
    return turn.fail(found.reason, message, evidence={"diagnosis": found.message, "logs": logs})


def testing(turn: Turn) -> Step:
    """Point the preview at the new version, then smoke, verification and health checks, in this order."""
    stopped = interrupted(turn) or tampered(turn)
    if stopped:
        return stopped
    spec = turn.app.spec
    for pair in turn.pairs:
        wanted, preview = pair.app.spec.preview, pair.preview
        if wanted is None or (preview and preview.selector.get(spec.selector_key) == turn.colors.to):
            continue
        if turn.overdue(spec.deadlines.testing):
            return turn.fail("NoPreview", f"Preview Service {wanted.service} cannot be pointed at {turn.colors.to}.")
        missing = f"Waits: preview Service {wanted.service} does not exist." if preview is None else ""
        return turn.stay(PointPreview(wanted.service, turn.colors.to), message=missing, wake=RETRY)
    for stage in STAGES:
        waits = run_stage(turn, stage, getattr(spec.tests, stage), ["preview"], spec.deadlines.testing)
        if waits:
            return waits
    waits = run_stage(turn, "preSwitch", spec.hooks.pre_switch, ["hook"], spec.deadlines.testing)
    if waits:
        return waits
    if spec.approval == "beforeSwitch" and not turn.release.spec.approve:
        message = f"{turn.version} passed its tests; waits for approval: {turn.command('approve')}"
        return turn.go(Phase.AWAITING_APPROVAL, message)
    return turn.go(Phase.SWITCHING, f"{turn.version} passed its tests; switches to {turn.colors.to}.")


def awaiting_approval(turn: Turn) -> Step:
    """Wait for a person, with a deadline."""
    stopped = interrupted(turn) or tampered(turn)
    if stopped:
        return stopped
    approve = turn.release.spec.approve
    if approve:
        return turn.go(Phase.SWITCHING, f"Approved {approve.told()}; switches to {turn.colors.to}.")
    late = turn.overdue(turn.app.spec.deadlines.approval)
    if late:
        message = f"Nobody approved {turn.version} {late}; traffic never moved and stays on {turn.colors.from_}."
        return turn.end(Phase.ABORTED, "NotApproved", message, idle=turn.colors.to)
    left = turn.app.spec.deadlines.approval - turn.in_phase
    grown = sizing.grow(turn)
    return turn.stay(*grown.effects, wake=RETRY if grown.waits else left + RETRY, **grown.changes)
