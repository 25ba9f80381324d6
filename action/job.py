"""What a job sees: lines and annotations in its log, outputs, and the summary on the run's page.

What always holds: no text that comes from elsewhere (a check's output, a container's last line) is taken by the runner
for a command or by the page for markup; a secret is masked before anything else is printed.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path

LARGEST_SUMMARY = 900_000
"""Bytes; the runner refuses more than a MiB, and then all of it."""
LONGEST_LINE = 2000
TITLE = "Bluegreen Watcher"


def plain(text: str) -> str:
    """One line of text that means nothing to a runner, wherever in a line it stands."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"##\[", "# #[", line)[:LONGEST_LINE]


def say(text: str) -> None:
    """A line with the time (UTC), which keeps what follows from the line's beginning, where commands stand."""
    print(f"{datetime.now(timezone.utc):%H:%M:%S} {plain(text)}", flush=True)


def quote(text: str) -> None:
    """Lines of somebody else's."""
    for line in text.splitlines():
        print(f"  | {plain(line)}", flush=True)


def group(title: str, lines: Iterable[str]) -> None:
    """Lines that are folded away under a title."""
    print(f"::group::{_data(plain(title))}")
    for line in lines:
        print(f"  | {plain(line)}")
    print("::endgroup::", flush=True)


def annotate(level: str, title: str, message: str) -> None:
    """A `notice`, `warning` or `error` on the run's page."""
    print(f"::{level} title={_property(plain(title))}::{_data(plain(message))}", flush=True)


def mask(secret: str) -> None:
    """From now on the runner shows stars for it."""
    if secret:
        print(f"::add-mask::{_data(secret)}", flush=True)


def write_outputs(outputs: Mapping[str, str]) -> None:
    """Set the step's outputs. A delimiter of its own keeps a value from becoming another output."""
    end = f"end-{uuid.uuid4()}"
    _append("GITHUB_OUTPUT", "".join(f"{name}<<{end}\n{value}\n{end}\n" for name, value in outputs.items()))


def write_summary(markdown: str) -> None:
    """Add to the run's page."""
    room = LARGEST_SUMMARY
    data = markdown.encode("utf-8", "replace")
    text = markdown if len(data) <= room else data[:room].decode("utf-8", "ignore") + "\n\n(cut)\n"
    _append("GITHUB_STEP_SUMMARY", text)


def _append(variable: str, text: str) -> None:
    name = os.environ.get(variable)
    if not name:
        return
    try:
        with Path(name).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        print(f"{TITLE}: {variable} cannot be written: {error.strerror}", file=sys.stderr)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
