"""Deployments that somebody else changes while a Release rests on them.

What always holds: what goes live is what was tested, so a change before the switch ends the Release; after it a change
is told and left alone, as whoever made it may mend something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from watcher.core.application import COLORS
from watcher.core.lifecycle.turn import Step, Turn
from watcher.core.observed import DeploymentView
from watcher.core.release import Condition

KIND = "Changed"


def tampered(turn: Turn) -> Step | None:
    """End before the switch when the idle colour is not what was deployed to it."""
    color = turn.colors.to
    if not turn.seen(color):
        return turn.stay(wake=timedelta(milliseconds=500))
    for pair in turn.pairs:
        name, found = pair.app.deployment(color), pair.color(color).deployment
        if found is None:
            message = f"Deployment {name} was deleted after {turn.version} was deployed to it. Traffic never moved."
            return turn.fail("NoDeployment", f"{message} Create it again, and ask for a new Release.")
        other = difference(wanted_of(pair, found), found.images)
        if other:
            message = f"Somebody else changed Deployment {name} after {turn.version} was deployed to it: {other}."
            cure = "Traffic never moved. Find out who keeps it (GitOps, a person), and ask for a new Release."
            return turn.fail("DeploymentChanged", f"{message} {cure}", evidence={"deployment": name, "changed": other})
    return None


def wanted_of(pair: Turn, found: DeploymentView) -> Mapping[str, str]:
    """The images that a pair's Deployment should have: of several Deployments each gets those of its containers."""
    wanted = pair.release.spec.images
    return wanted if len(pair.pairs) == 1 else {c: image for c, image in wanted.items() if c in found.images}


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Which containers have another image than they should, as a part of a sentence; empty when none has."""
    return ", ".join(
        f"container {container} has {found.get(container) or 'no image'} in the place of {image}"
        for container, image in sorted(wanted.items())
        if found.get(container) != image
    )


def images_of(turn: Turn) -> dict[str, dict[str, str]]:
    """What both colours run, by Deployment: what the watch rests on."""
    sides = [pair.color(color).deployment for pair in turn.pairs for color in COLORS]
    return {found.name: dict(found.images) for found in sides if found}


def changed(turn: Turn, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """The conditions with what somebody changed since the switch."""
    status = turn.status.model_copy(update={"conditions": conditions})
    found = list(_changes(turn))
    if not found:
        return turn.condition(KIND, False, message="Both colours run what they ran at the switch.", status=status)
    reason = found[0][0]
    return turn.condition(KIND, True, reason, " ".join(said for _, said in found), status=status)


def _changes(turn: Turn) -> Iterator[tuple[str, str]]:
    for color, reason in ((turn.colors.to, "DeploymentChanged"), (turn.colors.from_, "WayBackChanged")):
        for pair in turn.pairs if turn.seen(color) else ():
            name, found = pair.app.deployment(color), pair.color(color).deployment
            had = turn.pinned.images.get(name)
            if had is None:
                continue
            if found is None:
                yield reason, f"Somebody deleted Deployment {name} ({color}): create it again."
            elif other := difference(had, found.images):
                so = (
                    "The watch goes on with what runs now." if color == turn.colors.to else "A rollback would go there."
                )
                yield reason, f"Somebody changed Deployment {name} ({color}): {other}. {so}"
