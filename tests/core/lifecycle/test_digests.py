"""Versions whose images are named by digest: shown by both, and kept out by what they are, whatever they are called."""

from __future__ import annotations

import pytest

from tests.core.lifecycle.stages import other_release
from tests.core.lifecycle.story import given
from watcher.core.release import Phase

GOOD, BAD = "sha256:" + "9f2c81d0a7b3" + "0" * 52, "sha256:" + "ab" * 32


def test_messages_name_the_version_and_its_digest() -> None:
    asked = {"images": {"chat": f"registry.example/chat@{GOOD}"}}
    story = given(asked=asked).until(Phase.DEPLOYING).says("Deploys 2.4.1 (sha256:9f2c81d0a7b3) to green")
    story.until(Phase.WATCHING).telling("flip", "from blue (2.4.0) to green (2.4.1, sha256:9f2c81d0a7b3)")
    story.person("rollback").to_the_end().says("Rolled back from green (2.4.1, sha256:9f2c81d0a7b3) to blue (2.4.0)")


def test_the_previous_version_is_named_by_its_digest_too() -> None:
    story = given().color("blue", image=f"registry.example/chat@{BAD}").to_the_end()
    story.telling("flip", "from blue (2.4.0, sha256:abababababab) to green (2.4.1)")


@pytest.mark.parametrize(
    "image",
    [
        f"registry.example/chat@{BAD}",
        f"registry.example/chat:2.4.1@{BAD}",
        f"registry.example/chat:2.5.0@{BAD}",
        f"mirror.example/chat:2.5.0@{BAD}",
    ],
    ids=["bare", "same-tag", "another-tag", "another-registry"],
)
def test_a_digest_that_was_rolled_back_stays_out_under_any_name(image: str) -> None:
    earlier = other_release(Phase.ROLLED_BACK, images={"chat": f"registry.example/chat:2.4.1@{BAD}"})
    asked = {"images": {"chat": image}, "version": "2.5.0"}
    story = given(asked=asked, others=(earlier,)).settle().phase_is(Phase.FAILED, "Quarantined")
    story.says("2.5.0 (sha256:abababababab) was rolled back in Release earlier")
    given(asked=asked | {"force": True}, others=(earlier,)).settle().phase_is(Phase.DEPLOYING)


def test_another_digest_behind_the_same_tag_is_another_image() -> None:
    earlier = other_release(Phase.ROLLED_BACK, images={"chat": f"registry.example/chat:2.4.1@{BAD}"})
    asked = {"images": {"chat": f"registry.example/chat:2.4.1@{GOOD}"}}
    given(asked=asked, others=(earlier,)).settle().phase_is(Phase.DEPLOYING)


def test_a_tag_that_was_rolled_back_stays_out() -> None:
    earlier = other_release(Phase.ROLLED_BACK, images={"chat": "registry.example/chat:2.4.1"})
    given(others=(earlier,)).settle().phase_is(Phase.FAILED, "Quarantined")
