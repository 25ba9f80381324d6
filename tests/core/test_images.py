"""Images and versions as people read them; a digest is the same image whatever it is called."""

from __future__ import annotations

import pytest

from watcher.core.images import called, digest, same, tag, within

HEX = "9f2c81d0a7b3" + "0" * 52
DIGEST = f"sha256:{HEX}"
BY_DIGEST = f"registry.example:5000/chat@{DIGEST}"
BY_BOTH = f"registry.example:5000/chat:2.4.1@{DIGEST}"
BY_TAG = "registry.example:5000/chat:2.4.1"
BARE = "registry.example:5000/chat"


@pytest.mark.parametrize(
    ("image", "its_tag", "its_digest"),
    [(BY_DIGEST, "", DIGEST), (BY_BOTH, "2.4.1", DIGEST), (BY_TAG, "2.4.1", ""), (BARE, "latest", "")],
)
def test_tag_and_digest_of_an_image(image: str, its_tag: str, its_digest: str) -> None:
    assert (tag(image), digest(image)) == (its_tag, its_digest)


@pytest.mark.parametrize(
    ("version", "image", "shown", "aside"),
    [
        ("2.4.1", BY_DIGEST, "2.4.1 (sha256:9f2c81d0a7b3)", "2.4.1, sha256:9f2c81d0a7b3"),
        ("2.4.1", BY_TAG, "2.4.1", "2.4.1"),
        ("", BY_BOTH, "2.4.1 (sha256:9f2c81d0a7b3)", "2.4.1, sha256:9f2c81d0a7b3"),
        ("", BY_DIGEST, "sha256:9f2c81d0a7b3", "sha256:9f2c81d0a7b3"),
        ("", BY_TAG, "2.4.1", "2.4.1"),
    ],
)
def test_a_version_is_called_by_its_name_and_its_digest(version: str, image: str, shown: str, aside: str) -> None:
    assert called(version, {"chat": image}) == shown
    assert called(version, {"chat": image}, aside=True) == aside


def test_each_digest_of_several_images_is_shown_once() -> None:
    other = "sha256:" + "ab" * 32
    images = {"chat": BY_DIGEST, "init": BY_DIGEST, "proxy": f"proxy@{other}", "log": "log:1"}
    assert called("2.4.1", images) == "2.4.1 (sha256:9f2c81d0a7b3, sha256:abababababab)"
    assert called("", {}) == ""


def test_images_are_the_same_by_name_or_by_digest() -> None:
    assert same(BY_TAG, BY_TAG)
    assert same(BY_DIGEST, BY_BOTH)
    assert same(BY_DIGEST, f"mirror.example/other:9@{DIGEST}")
    assert not same(BY_TAG, BARE)
    assert not same(BY_BOTH, BY_TAG)
    assert not same(BY_DIGEST, f"registry.example:5000/chat@sha256:{'00' * 32}")


def test_a_set_of_images_is_within_another() -> None:
    assert within({"chat": BY_DIGEST}, {"chat": BY_BOTH, "proxy": "proxy:1"})
    assert not within({"chat": BY_DIGEST, "proxy": "proxy:1"}, {"chat": BY_BOTH})
