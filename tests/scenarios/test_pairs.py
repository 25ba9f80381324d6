"""Two Services of one Application, killed half-way: they are flipped in order and go back in reverse, all or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from tests.scenarios.conftest import Led
from tests.support.acting import GOOD, Selector
from tests.support.proxy import after, before, refuse
from tests.support.worker import WORKER
from watcher.core.release import Phase, Release
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE
from watcher.demo.stage import Stage

FORTH = ((APPLICATION, "green"), (WORKER, "green"))
BACK = ((WORKER, "blue"), (APPLICATION, "blue"))

STATUS = r"/releases/[^/]+/status$"


def service(name: str) -> str:
    return rf"/services/{name}$"


# Each point of a flip: the request at which the daemon dies, and whether the server still hears of it. An empty path
# stands for that of the Service.
POINTS = {
    "before-the-intent-is-written": (STATUS, '"intent": {', before),
    "after-the-intent-is-written-before-the-swap": ("", '"replace"', before),
    "after-the-swap-before-its-answer": ("", '"replace"', after),
    "before-the-confirmation-is-written": (STATUS, '"flips"', before),
}


class Selectors(Selector):
    """Sees the changes of both live selectors, in one order."""

    def _see(self, service: Mapping[str, Any]) -> None:
        name, color = service["metadata"]["name"], service["spec"]["selector"].get("color", "")
        if name in (APPLICATION, WORKER) and f"{name} {color}" not in self._last():
            self._colors.append(f"{name} {color}")

    def _last(self) -> set[str]:
        """What each of the two was last seen to select."""
        return set({seen.split()[0]: seen for seen in self._colors}.values())

    def went(self, *flips: tuple[str, str]) -> None:
        """Assert that the selectors moved exactly so, one after the other, from blue on."""
        wanted = [f"{name} {color}" for name, color in flips]
        with suppress(Exception):
            self._stage.wait_for(lambda: self._colors[2:] == wanted, "the watch to see the last flip", 5)
        assert self._colors[2:] == wanted
        assert sorted(self._colors[:2]) == [f"{APPLICATION} blue", f"{WORKER} blue"]


def ended(stage: Stage, release: Release, phase: Phase, *flips: tuple[str, str]) -> Release:
    """Wait for the one right end, and assert what must be true of it."""
    found = stage.follow(release, lambda r: r.phase.terminal, 90, "the Release to end")
    assert found.phase is phase, found.status.message
    assert [(flip.service, flip.to) for flip in found.status.flips] == list(flips)
    assert [flip.index for flip in found.status.flips] == list(range(1, len(flips) + 1))
    return found


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_the_flips_it_goes_on_with_the_second(point: str, two: Callable[..., Led]) -> None:
    found = two(watch={"duration": "2s", "interval": "1s"})
    path, body, when = POINTS[point]
    nth = 2 if path else 1
    rule = found.proxy.on("PATCH", path or service(WORKER), when(found.kill), body=body, first=nth)
    with Selectors(found.stage) as selectors:
        release = found.stage.release(GOOD)
        assert rule.struck.wait(60), found.stage.read(release).status.message
        found.start_again()
        ended(found.stage, release, Phase.COMPLETED, *FORTH)
        selectors.went(*FORTH)


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_the_flips_back_it_goes_on_with_the_second(point: str, two: Callable[..., Led]) -> None:
    found = two()
    path, body, when = POINTS[point]
    nth = 4 if path else 2
    rule = found.proxy.on("PATCH", path or service(APPLICATION), when(found.kill), body=body, first=nth)
    with Selectors(found.stage) as selectors:
        release = found.stage.release(GOOD)
        found.stage.follow(release, lambda r: r.phase is Phase.WATCHING, 60, "the watch")
        command = {"by": "a test", "reason": "enough seen"}
        found.stage.hands.command(release.namespace, release.name, "rollback", command)
        assert rule.struck.wait(60), found.stage.read(release).status.message
        found.start_again()
        ended(found.stage, release, Phase.ROLLED_BACK, *FORTH, *BACK)
        selectors.went(*FORTH, *BACK)


def test_a_second_flip_that_the_api_server_refuses_brings_the_first_one_back(two: Callable[..., Led]) -> None:
    found = two(deadlines={"switching": "2s"})
    found.proxy.on("PATCH", service(WORKER), refuse(500), times=0)
    with Selectors(found.stage) as selectors:
        release = ended(found.stage, found.stage.release(GOOD), Phase.ROLLED_BACK, FORTH[0], BACK[1])
        assert release.status.reason == "SwitchDeadline"
        assert f"The flip of Service {WORKER} to green did not happen within 2s" in release.status.message
        selectors.went(FORTH[0], BACK[1])


def test_a_person_who_moves_the_second_service_is_respected_and_the_first_one_goes_back(
    two: Callable[..., Led],
) -> None:
    found = two()
    stage = found.stage
    rule = found.proxy.on(
        "PATCH", service(WORKER), before(lambda: stage.hands.point_preview(NAMESPACE, WORKER, "color", "none"))
    )
    with Selectors(stage) as selectors:
        release = ended(stage, stage.release(GOOD), Phase.SUPERSEDED, FORTH[0], BACK[1])
        assert rule.struck.is_set()
        assert f"{APPLICATION} blue, {WORKER} none" in release.status.message
        assert [c.reason for c in release.status.conditions if c.status == "True"] == ["MixedColors"]
        selectors.went(FORTH[0], (WORKER, "none"), BACK[1])


def test_a_check_of_the_second_pair_is_sent_there(two: Callable[..., Led]) -> None:
    ready = {"name": "ready", "service": WORKER, "http": {"path": "/readyz"}}
    absent = {"name": "absent", "service": WORKER, "tcp": {"port": 9}}
    found = two(tests={"smoke": [ready, absent]})
    release = ended(found.stage, found.stage.release(GOOD), Phase.FAILED)
    assert [(check.id, check.ok) for check in release.status.checks] == [
        ("smoke/ready/pods", True),
        ("smoke/absent/pods", False),
    ]
    assert f"Service {WORKER} has no port 9; it has 8080" in release.status.message
