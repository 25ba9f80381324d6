"""The secrets that this process knows: read from the files of a directory when they are sent, and cut out of all texts.

What always holds: a file that changed counts for the next request; and a value that was known once is cut out of what
is said from then on, whoever gives it back and in whichever form, also when it has been replaced since. There is one
list of them for the process: what one part of it knows, no other part may say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from watcher.adapters.errors import Transient
from watcher.core.secrets import LONGEST, NAME, SHORTEST, forms, unusable

CUT = "[cut]"
MOST_FILES = 1000
MOST_VALUES = 5000
"""How many values are cut out at most: those that were learned first are forgotten first."""


class Redactor:
    """Cuts out what it has learned. Safe to use from several threads."""

    def __init__(self) -> None:
        self._values: dict[str, frozenset[str]] = {}
        self._heads: dict[str, list[str]] = {}
        """Each form by how it begins, so that many take no longer than few."""
        self._lock = threading.Lock()

    def learn(self, values: Iterable[str]) -> None:
        """Cut these out of everything from now on."""
        new = [value for value in values if value not in self._values]
        if not new:
            return
        with self._lock:
            self._values |= {value: forms(value) for value in new}
            while len(self._values) > MOST_VALUES:
                del self._values[next(iter(self._values))]
            heads: dict[str, list[str]] = {}
            # The longest first: what is left of it otherwise would not be recognised.
            for form in sorted(set().union(*self._values.values()), key=len, reverse=True):
                heads.setdefault(form[:SHORTEST], []).append(form)
            self._heads = heads

    def cut(self, text: str) -> str:
        """The text without any of them."""
        heads, kept, done, at = self._heads, [], 0, 0
        while heads and at <= len(text) - SHORTEST:
            found = next((f for f in heads.get(text[at : at + SHORTEST], ()) if text.startswith(f, at)), "")
            if found:
                kept += [text[done:at], CUT]
                done = at + len(found)
            at += len(found) or 1
        return "".join([*kept, text[done:]])

    def cut_all(self, thing: Any) -> Any:
        """JSON-like data with each text in it cut; keys stay as they are."""
        if isinstance(thing, str):
            return self.cut(thing)
        if isinstance(thing, Mapping):
            return {key: self.cut_all(value) for key, value in thing.items()}
        if isinstance(thing, list | tuple):
            return type(thing)(map(self.cut_all, thing))
        return thing


REDACTOR = Redactor()
"""The one of this process."""


def no_secret(name: str) -> str:
    """Where nothing can be filled in."""
    raise Transient(f"the secret {name} is not known here")


class SecretFiles:
    """The secrets of a directory by the names of its files. `directory` is asked for anew each time."""

    def __init__(self, directory: Callable[[], str | None]) -> None:
        self._directory = directory

    def value(self, name: str) -> str:
        """What the file holds now. Raises Transient, with the reason and without the value, when it cannot be sent."""
        directory = self._directory()
        if directory is None:
            raise Transient(f"the secret {name} is not known: secrets.directory is not set")
        content, problem = _read(Path(directory) / name)
        if problem:
            raise Transient(f"the secret {name} {problem}")
        return content


def look(directory: str | None) -> Mapping[str, str]:
    """Each secret of a directory, and why it cannot be sent ("" if it can). What it finds is cut out from now on."""
    if directory is None:
        return {}
    try:
        found = sorted(one for one in Path(directory).iterdir() if NAME.fullmatch(one.name) and one.is_file())
    except OSError:
        return {}
    return {one.name: _read(one)[1] for one in found[:MOST_FILES]}


def _read(file: Path) -> tuple[str, str]:
    """The value, and why it cannot be used."""
    try:
        with file.open("rb") as opened:
            content = opened.read(LONGEST + 1)
    except OSError as error:
        return "", f"cannot be read ({error.strerror or type(error).__name__})"
    problem = unusable(content)
    if problem:
        return "", problem
    value = content.decode().strip()
    REDACTOR.learn((value,))
    return value, ""
