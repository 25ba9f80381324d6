"""The phases before any traffic moves: Pending, Deploying, Testing, AwaitingApproval.

What always holds: none of them flips anything, and a selector that somebody moved meanwhile ends the Release as
Superseded (S3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from watcher.core.application import COLORS, Application, other
from watcher.core.effects import Deploy, FetchLogs, PointPreview, Target, Wake
from watcher.core.lifecycle.diagnosis import Diagnosis, diagnose
from watcher.core.lifecycle.stages import run_stage
from watcher.core.lifecycle.turn import RETRY, Step, Turn, one_line
from watcher.core.observed import DeploymentView, Other
from watcher.core.release import Colors, Phase, Pinned
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
        return turn.end(Phase.ABORTED, "Aborted", f"Aborted {stop.told()} before anything was done.")
    if app is None:
        known = ", ".join(observed.known_applications) or "none"
        message = f"There is no Application {spec.application!r} in namespace {turn.release.namespace}; known: {known}."
        return turn.fail("UnknownApplication", message)
    if not observed.service_known or not all(turn.seen(color) for color in COLORS):
        return turn.stay(message="Waits for an answer of the API server.", wake=RETRY)
    overtaken = next((o.name for o in observed.others if o.running and _after(o, turn)), "")
    if overtaken:
        message = f"Waits for the end of Release {overtaken}, which was asked for later and could not wait."
        return turn.stay(message=message, wake=LOOK_AGAIN)
    refusal = _refusal(turn, app)
    if refusal:
        return turn.fail(*refusal)
    active = observed.service.selector[app.spec.selector_key] if observed.service else ""
    pinned = _pin(turn, app, active)
    colors = Colors(from_=active, to=other(active))
    started: dict[str, Any] = {"pinned": pinned, "colors": colors, "started_at": turn.now}
    if turn.release.is_rollback_only:
        begun = Turn(
            turn.release.model_copy(update={"status": turn.status.model_copy(update=started)}), observed, turn.now
        )
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


def _refusal(turn: Turn, app: Application) -> tuple[str, str] | None:
    """Why the Release cannot be: a word and a sentence. None when it can."""
    spec, observed = turn.release.spec, turn.observed
    key = app.spec.selector_key
    if observed.service is None:
        return "NoService", f"Service {app.spec.service} does not exist in namespace {app.namespace}."
    active = observed.service.selector.get(key, "")
    if active not in COLORS:
        return (
            "NoActiveColor",
            f"Service {app.spec.service} selects {key}={active or '(nothing)'}: it must select blue or green.",
        )
    running = [o.name for o in observed.others if o.running]
    if running:
        return (
            "AnotherReleaseRunning",
            f"Release {running[0]} of {app.name} is running: wait for its end, or abort it first.",
        )
    if turn.release.is_rollback_only:
        if turn.color(other(active)).deployment is None:
            return "NoDeployment", f"Deployment {app.deployment(other(active))} does not exist: nothing to go back to."
        return _quarantined_target(turn, other(active))
    waiting = [o.name for o in observed.others if o.ended_at is None and not _after(o, turn)]
    if waiting:
        return "AnotherReleaseRunning", f"Release {waiting[0]} of {app.name} was asked for earlier and still waits."
    if not spec.images:
        return "NoImages", "spec.images is empty: say which image each container gets, as container: image."
    return _refused_images(turn, app, active)


def _after(one: Other, turn: Turn) -> bool:
    """Whether another Release was asked for after this one."""
    return (one.created_at, one.name) > (turn.release.created_at, turn.release.name)


def _refused_images(turn: Turn, app: Application, active: str) -> tuple[str, str] | None:
    spec, observed = turn.release.spec, turn.observed
    for color in (active, other(active)):
        if turn.color(color).deployment is None:
            return "NoDeployment", f"Deployment {app.deployment(color)} ({color}) does not exist."
    idle = turn.color(other(active)).deployment
    assert idle is not None
    strangers = sorted(set(spec.images) - set(idle.images))
    if strangers:
        has = ", ".join(sorted(idle.images))
        return "UnknownContainer", f"Deployment {idle.name} has no container {strangers[0]!r}; it has {has}."
    last = _last_life(observed.others, spec.images)
    if last and last.phase == Phase.ROLLED_BACK and not spec.force:
        message = f"{turn.version} was rolled back in Release {last.name}: repair it, or release it with force."
        return "Quarantined", message
    if observed.rules_problem:
        return "InvalidRules", observed.rules_problem
    return None


def _quarantined_target(turn: Turn, target: str) -> tuple[str, str] | None:
    """A second rollback by hand would send traffic to the very version that the first one took it from (S9)."""
    deployment = turn.color(target).deployment
    last = _last_life(turn.observed.others, deployment.images) if deployment else None
    if last is None or last.phase is not Phase.ROLLED_BACK or turn.release.spec.force:
        return None
    message = f"{target} runs what was rolled back in Release {last.name}: traffic stays; go there anyway with force."
    return "Quarantined", message


def _last_life(others: Sequence[Other], images: Mapping[str, str]) -> Other | None:
    """The Release in which these images last came to a good or a bad end; one that was refused proves nothing."""
    lives = [
        (o.ended_at, o)
        for o in others
        if o.ended_at and o.phase in (Phase.COMPLETED, Phase.ROLLED_BACK) and images.items() <= o.images.items()
    ]
    return max(lives, key=lambda life: (life[0], life[1].name))[1] if lives else None


def _pin(turn: Turn, app: Application, active: str) -> Pinned:
    live = turn.color(active).deployment
    return Pinned(
        application=app,
        replicas=max(1, live.replicas) if live else 1,
        previous_version=_version(live) if live else "",
    )


def _version(deployment: DeploymentView) -> str:
    """What the Deployment runs: the version that a Release put there, else its images' tags or digests."""
    if deployment.version:
        return deployment.version
    tags = {
        image.rsplit("@", 1)[-1][:19] if "@" in image else image.rsplit("/", 1)[-1].partition(":")[2] or "latest"
        for image in deployment.images.values()
    }
    return ", ".join(sorted(tags))


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
        return turn.end(Phase.ABORTED, "Aborted", message, idle=turn.colors.to)
    if not turn.observed.service_known:
        return turn.stay(wake=RETRY)
    if turn.observed.service is None:
        return turn.fail("NoService", f"Service {turn.app.spec.service} was deleted; traffic never moved.")
    if turn.selected != turn.colors.from_:
        return superseded(turn)
    return None


def superseded(turn: Turn) -> Step:
    """Somebody moved the selector: respect it, and say so (S3)."""
    key = turn.app.spec.selector_key
    flips = turn.status.flips
    expected = flips[-1].to if flips else turn.colors.from_
    message = (
        f"Somebody else moved the selector of Service {turn.app.spec.service}: {key} is "
        f"{turn.selected or '(nothing)'}, {expected} was expected. The Release ends and leaves it there."
    )
    return turn.end(Phase.SUPERSEDED, "SelectorMoved", message, severity="warning")


def deploying(turn: Turn) -> Step:
    """Put the images on the idle colour and wait until all its pods are ready."""
    stopped = interrupted(turn)
    if stopped:
        return stopped
    if not turn.seen(turn.colors.to):
        return turn.stay(wake=RETRY)
    side = turn.color(turn.colors.to)
    name = turn.app.deployment(turn.colors.to)
    late = turn.overdue(turn.app.spec.deadlines.deploying)
    if side.deployment is None:
        return turn.fail("NoDeployment", f"Deployment {name} was deleted while {turn.version} was deployed to it.")
    waits = run_stage(turn, "preDeploy", turn.app.spec.hooks.pre_deploy, ["hook"], turn.app.spec.deadlines.deploying)
    if waits:
        return waits
    wanted = turn.release.spec.images
    have = {container: side.deployment.images.get(container) for container in wanted}
    if (
        have != wanted
        or side.deployment.replicas < turn.pinned.replicas
        or side.deployment.version != turn.release.spec.version
    ):
        if late:
            message = f"The API server did not take the deployment of {turn.version} to {turn.colors.to} {late}."
            return turn.fail("DeployDeadline", f"{message} Traffic never moved.")
        deploy = Deploy(name, wanted, max(turn.pinned.replicas, side.deployment.replicas), turn.release.spec.version)
        return turn.stay(deploy, wake=RETRY)
    if side.deployment.rolled_out and side.ready:
        count = side.deployment.ready
        message = f"Tests {turn.version} on {turn.colors.to} ({count} {'pod' if count == 1 else 'pods'} ready)."
        return turn.go(Phase.TESTING, message)
    found = diagnose(side, turn.status.phase_since or turn.now, turn.now)
    if found and (found.final or late):
        return _failed_deploy(turn, found)
    if late:
        message = f"{turn.colors.to} ({turn.version}) did not get ready {late}: {_progress(turn, side.deployment)}."
        return turn.fail("DeployDeadline", message + " Traffic never moved.")
    message = f"Deploys {turn.version} to {turn.colors.to}: {_progress(turn, side.deployment)}"
    message += f"; {found.message}." if found else "."
    return turn.stay(message=message, wake=timedelta(seconds=2))


def _progress(turn: Turn, deployment: DeploymentView) -> str:
    said = f"{deployment.updated} of {deployment.replicas} pods updated, {deployment.ready} ready"
    if not deployment.rolled_out:
        return said
    # Pods that are ready without being endpoints: nothing else would say why it waits.
    service = turn.app.spec.service
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
    stopped = interrupted(turn)
    if stopped:
        return stopped
    spec = turn.app.spec
    preview = turn.observed.preview
    if spec.preview and (preview is None or preview.selector.get(spec.selector_key) != turn.colors.to):
        if turn.overdue(spec.deadlines.testing):
            return turn.fail(
                "NoPreview", f"Preview Service {spec.preview.service} cannot be pointed at {turn.colors.to}."
            )
        missing = f"Waits: preview Service {spec.preview.service} does not exist." if preview is None else ""
        return turn.stay(PointPreview(spec.preview.service, turn.colors.to), message=missing, wake=RETRY)
    target: Target = "preview" if spec.preview else "pods"
    for stage in STAGES:
        waits = run_stage(turn, stage, getattr(spec.tests, stage), [target], spec.deadlines.testing)
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
    stopped = interrupted(turn)
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
    return turn.stay(wake=left + RETRY)
