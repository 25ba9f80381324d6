"""A version that was rolled back stays out until somebody says force, also when it is the way back (S9)."""

from __future__ import annotations

from tests.core.lifecycle.stages import by_hand, other_release
from tests.core.lifecycle.story import given
from watcher.core.effects import SwapSelector
from watcher.core.release import Command, Phase

LEFT = other_release(Phase.ROLLED_BACK, images={"chat": "registry.example/chat:2.3.9"})
"""The Release that took traffic from what the idle colour still runs."""


def test_a_second_rollback_by_hand_does_not_go_to_the_version_that_was_rolled_back() -> None:
    story = by_hand(others=(LEFT,)).settle().phase_is(Phase.FAILED, "Quarantined").traffic_is_on("blue")
    story.says("green runs what was rolled back in Release earlier", "traffic stays", "force").never_did(SwapSelector)


def test_with_force_it_goes_there() -> None:
    asked = {"images": {}, "version": "", "rollback": Command(by="dana"), "force": True}
    given(asked=asked, others=(LEFT,)).to_the_end().phase_is(Phase.ROLLED_BACK).traffic_is_on("green")
