"""The way back: whether the previous colour could take the traffic again.

What always holds: it is watched from the flip until the keep-time has passed, and losing it is an alert of its own
(S4). A colour that could not be looked at is not taken for a cold one (S7). The preview Service stays on the idle
colour, also when a request to point it there got lost: its endpoints say whether that colour is warm (S1).
"""

from __future__ import annotations

from watcher.core.application import COLORS, other
from watcher.core.effects import PointPreview
from watcher.core.lifecycle.turn import Turn
from watcher.core.release import Condition

KIND = "WayBackLost"


def way_back(turn: Turn) -> tuple[Condition, ...]:
    """The conditions with what is known of the previous colour's warmth."""
    color = turn.colors.from_
    if not turn.seen(color):
        return turn.status.conditions
    cold = [pair for pair in turn.pairs if pair.color(color).ready == 0]
    if not cold:
        return turn.condition(KIND, False, message="The way back is warm.")
    names = " and ".join(
        f"Deployment {pair.app.deployment(color)}{'' if pair.color(color).deployment else ', which does not exist'}"
        for pair in cold
    )
    message = (
        f"The way back is cold: {color}{cold[0].whose} has no ready pods. A rollback would first have to bring up "
    )
    return turn.condition(KIND, True, message=f"{message}{names}.")


def preview_aside(turn: Turn) -> list[PointPreview]:
    """Point each preview at the idle colour that selects the one that serves."""
    found = []
    for pair in turn.pairs:
        wanted, preview, live = pair.app.spec.preview, pair.preview, pair.selected
        if wanted and preview and live in COLORS and preview.selector.get(pair.app.spec.selector_key) == live:
            found.append(PointPreview(wanted.service, other(live)))
    return found
