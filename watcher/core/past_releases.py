"""Past switches as the Releases remember them: to the second, with the version, and with what came of each.

It reads what `kubectl get releases -o json` and `watcher release list --json` print. Always holds: Releases of other
Applications, and those that never moved traffic, are passed over; a text that is something else raises Invalid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from watcher.core.application import COLORS
from watcher.core.switches import Change, Mark, Switch
from watcher.core.units import Invalid

_MARKS: dict[str, Mark] = {"Completed": "good", "RolledBack": "bad"}
_CURE = "give it what `kubectl get releases -o json` prints"


def switches_of(text: str, namespace: str, application: str) -> tuple[list[Switch], list[Change]]:
    """The switches of one Application, the oldest first, and every flip of its selector that they tell of."""
    switches: list[Switch] = []
    flips: list[Change] = []
    try:
        for one in _releases(json.loads(text)):
            metadata = one.get("metadata") or one
            spec, status = one["spec"], one.get("status") or {}
            if spec["application"] != application or metadata.get("namespace", namespace) != namespace:
                continue
            at, to = status.get("switchedAt"), (status.get("colors") or {}).get("to")
            if at is None or to not in COLORS:
                continue
            phase = str(status.get("phase", ""))
            mark = _MARKS.get(phase, "")
            why = f"Release {metadata['name']}: {phase}"
            switches.append(Switch(_time(at), to, str(spec.get("version", "")), mark, why))
            flips.append(Change(_time(at), to, _time(at)))
            flips += [Change(_time(f["at"]), f["to"], _time(f["at"])) for f in (status.get("flips") or [])[1:]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid(f"these are no Releases ({type(error).__name__}: {error})", _CURE) from error
    return sorted(switches, key=lambda one: one.at), sorted(flips, key=lambda one: one.at)


def _releases(raw: Any) -> Iterator[dict[str, Any]]:
    if isinstance(raw, dict) and "items" not in raw:
        raw = [raw]
    yield from raw["items"] if isinstance(raw, dict) else raw


def _time(text: str) -> float:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found.timestamp()
