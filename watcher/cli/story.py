"""`watcher release show NAME --evidence`: the story of a Release, for people and for programs.

What always holds: it comes from the cluster alone. What the caller may not read, or what is gone, is named, and the
rest is told without it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.adapters.kubernetes.hands import Hands
    from watcher.core.release import Release
    from watcher.core.story import Entry, Told

STYLES = {
    "command": "bold magenta",
    "decision": "bold red",
    "flip": "bold cyan",
    "end": "bold",
    "rule": "yellow",
    "alert": "yellow",
}


def tell(hands: Hands, release: Release, *, as_json: bool) -> None:
    """Print the story of a Release."""
    from watcher.core import story

    missing: list[str] = []
    events = _events(hands, release, missing)
    entries = story.story(release, events, _marks(hands, release, missing))
    if as_json:
        found = {
            "namespace": release.namespace,
            "name": release.name,
            "uid": release.uid,
            "application": release.spec.application,
            "version": release.spec.version,
            "phase": release.phase.value,
            "reason": release.status.reason,
            "message": release.status.message,
            "story": [story.as_json(entry) for entry in entries],
            "missing": missing,
        }
        print(json.dumps(found, indent=2, default=str))
        return
    _print(_lines(release, entries))
    for what in missing:
        print(f"watcher: {what}", file=sys.stderr)


def _events(hands: Hands, release: Release, missing: list[str]) -> Sequence[Told]:
    from watcher.adapters.errors import AdapterError

    try:
        found = hands.read_told(release)
    except AdapterError as error:
        missing.append(f"the Events cannot be read, so what only they tell is missing: {error}")
        return ()
    if not found and release.status.phase_since:
        missing.append("the cluster keeps no Events of it any more, so what only they told is missing")
    return found


def _marks(hands: Hands, release: Release, missing: list[str]) -> Sequence[str]:
    from watcher.adapters.errors import AdapterError

    pinned = release.status.pinned
    if pinned is None or not release.status.flips:
        return ()
    try:
        found = [hands.read_service(release.namespace, pair.spec.service) for pair in pinned.application.pairs]
    except AdapterError as error:
        missing.append(f"the Service cannot be read, so whether it carries the last flip's mark is not known: {error}")
        return ()
    return [service.view.mark for service in found if service]


Line = tuple[str, str]
"""A style, and text."""


def _lines(release: Release, entries: Sequence[Entry]) -> Iterator[Sequence[Line]]:
    what = " ".join(word for word in (release.spec.application, release.spec.version) if word)
    yield [("bold", f"{release.name}: {what}, {release.phase.value}")]
    wide = max((len(entry.actor) for entry in entries), default=0)
    for entry in entries:
        yield [
            ("dim", f"{_when(entry.at):<23}  "),
            (STYLES.get(entry.kind, ""), f"{entry.kind:<9}  "),
            ("", f"{entry.actor:<{wide}}  {entry.message}"),
        ]
        for name, value in _evidence(entry):
            yield [("dim", f"    {name}: {value}")]


SAID = frozenset({"by", "phase", "from", "to", "at", "flips"})
"""Evidence that the line itself, or another one, says; JSON has it all."""
SAID_OF = {"flip": {"reason"}, "decision": {"rule", "value", "threshold", "query", "since", "breachedAt"}}
SAID_OF["alert"] = {"alert", "summary", "heardAt"}


def _evidence(entry: Entry) -> Iterator[tuple[str, str]]:
    """A line each; a text of several lines keeps them, further in."""
    for name, value in entry.evidence.items():
        if value is None or value == "" or name in SAID | SAID_OF.get(entry.kind, set()):
            continue
        text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
        first, *more = text.strip().splitlines() or [""]
        yield name, first
        for line in more:
            yield "  |", line


def _when(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:23]


def _print(lines: Iterator[Sequence[Line]]) -> None:
    """With colours on a terminal, plain in a pipe, where a line stays one line."""
    if not sys.stdout.isatty():
        for line in lines:
            print("".join(text for _, text in line).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        console.print(Text.assemble(*((text, style) for style, text in line)))
