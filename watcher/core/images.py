"""Images as people read them, and as what they are: a tag may move, a digest never does."""

from __future__ import annotations

from collections.abc import Mapping

SHOWN = len("sha256:") + 12
"""How much of a digest people are shown."""


def digest(image: str) -> str:
    """The digest that an image is named by; empty when it is named by a tag alone."""
    return image.partition("@")[2]


def tag(image: str) -> str:
    """The tag that an image is named by; the default one when it has neither tag nor digest."""
    name = image.partition("@")[0].rsplit("/", 1)[-1]
    return name.partition(":")[2] or ("" if "@" in image else "latest")


def called(version: str, images: Mapping[str, str], *, aside: bool = False) -> str:
    """What people call a version: its name, with the digests of its images where they are given:
    `2.4.1 (sha256:9f2c81d0a7b3)`, or `aside`, for a place between brackets, `2.4.1, sha256:9f2c81d0a7b3`.
    Without a name the images' tags stand for it.
    """
    digests = sorted({digest(image)[:SHOWN] for image in images.values() if digest(image)})
    name = version or ", ".join(sorted({tag(image) for image in images.values()} - {""}))
    if not (name and digests):
        return name or ", ".join(digests)
    return ", ".join([name, *digests]) if aside else f"{name} ({', '.join(digests)})"


def same(image: str, other: str) -> bool:
    """Whether two names surely mean the same image, whatever they are called."""
    return image == other or (bool(digest(image)) and digest(image) == digest(other))


def within(images: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether every container's image is the same as among the others."""
    return all(container in others and same(image, others[container]) for container, image in images.items())
