"""What an image stands for: the command that a container of it runs.

A file maps image references to commands, in place of a registry. What always holds: a reference that no entry covers
is unknown (as in a registry: never guessed), an exact entry wins over one with a wildcard tag, and a changed file is
read anew at the next pull.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PYTHON = "{python}"


class UnknownImage(Exception):
    """No entry covers the reference. The text is what the kubelet shows."""


@dataclass(frozen=True, slots=True)
class Image:
    """One pulled image: argv and environment of its containers, before the container's own are laid over it."""

    reference: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A digest reference, as containerStatuses show it."""
        if "@" in self.reference:
            return self.reference
        name, _ = split(self.reference)
        return f"{name}@sha256:{hashlib.sha256(repr((self.reference, self.command)).encode()).hexdigest()}"


def split(reference: str) -> tuple[str, str]:
    """(name, tag or digest). Without either the tag is `latest`; a port in the registry's name is no tag."""
    if "@" in reference:
        name, _, digest = reference.partition("@")
        return name, digest
    slash = reference.rfind("/")
    colon = reference.rfind(":")
    if colon > slash:
        return reference[:colon], reference[colon + 1 :]
    return reference, "latest"


class Images:
    """The images of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._entries: dict[str, Any] = {}
        self._refresh()

    def pull(self, reference: str) -> Image:
        """The image of a reference. Raises UnknownImage."""
        self._refresh()
        name, tag = split(reference)
        separator = "@" if "@" in reference else ":"
        for key in (reference, f"{name}{separator}{tag}", f"{name}{separator}*"):
            if key in self._entries:
                entry = self._entries[key] or {}
                command = tuple(str(part).replace(PYTHON, sys.executable) for part in entry.get("command") or ())
                env = {name: str(value) for name, value in (entry.get("env") or {}).items()}
                return Image(reference, command, {**env, "IMAGE": reference, "IMAGE_TAG": tag})
        raise UnknownImage(
            f'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": '
            f"{reference}: not found"
        )

    def _refresh(self) -> None:
        stat = self._path.stat()
        seen = (stat.st_mtime_ns, stat.st_size)
        if seen == self._seen:
            return
        try:
            entries = YAML(typ="safe", pure=True).load(self._path.read_text())
        except YAMLError as error:
            raise ValueError(f"{self._path}: {error}") from error
        if not isinstance(entries, dict) or not all(isinstance(entry or {}, dict) for entry in entries.values()):
            raise ValueError(f"{self._path}: expected a mapping of image references to {{command, env}}")
        self._entries, self._seen = entries, seen
