"""What of a Release's JSON the action shows, in words.

What always holds: a field that is missing, or that a newer daemon writes otherwise, leaves a gap and never an error.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from action.ends import Json

COLORS = ("blue", "green")
UNITS = {"%": 0.01, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "B": 1.0} | {
    f"{prefix}{kind}": float(base**power)
    for kind, base, prefixes in (("B", 1000, "kMGTP"), ("iB", 1024, "KMGTP"), ("i", 1024, "KMGTP"))
    for power, prefix in enumerate(prefixes, 1)
}
PER = {"/s": 1.0, "/min": 60.0, "/h": 3600.0}
"""What rules are written in, in seconds, bytes and fractions of one; and what a rate divides by."""
UNIT = re.compile(r"\d\s*(%|[A-Za-z]+)?(/s|/min|/h)?$")
OUTCOMES = ("breach", "error", "noData", "thin", "pending", "pass")


def status(release: Json) -> Json:
    found = release.get("status")
    return found if isinstance(found, dict) else {}


def items(of: Json, name: str) -> list[Json]:
    """A list of objects."""
    found = of.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def word(of: Json, name: str) -> str:
    found = of.get(name)
    return found if isinstance(found, str) else ""


def phase(release: Json) -> str:
    return word(status(release), "phase")


def full_name(release: Json) -> str:
    return f"{word(release, 'namespace')}/{word(release, 'name')}"


def live(release: Json) -> str:
    """The colour that served when the Release last knew; empty when it never did."""
    told = status(release)
    if word(told, "left") in COLORS:
        return word(told, "left")
    flips = items(told, "flips")
    return word(flips[-1], "to") if flips else word(colors(release), "from")


def colors(release: Json) -> Json:
    found = status(release).get("colors")
    return found if isinstance(found, dict) else {}


def other(color: str) -> str:
    return {"blue": "green", "green": "blue"}.get(color, "")


def clock(at: str) -> str:
    """`14:02:11` of a time as the API writes it."""
    return at[11:19]


def value(rule: Json) -> str:
    """A rule's number in the unit of its threshold; `-` where there is none."""
    number: Any = rule.get("value")
    if not isinstance(number, int | float):
        return str(number) if number else "-"
    found = UNIT.search(word(rule, "threshold"))
    unit, per = (found[1] or "", found[2] or "") if found else ("", "")
    shown = number / (UNITS.get(unit, 1.0) / PER.get(per, 1.0))
    digits = f"{shown:.0f}" if 1e4 <= abs(shown) < 1e15 else f"{shown:.4g}"
    return f"{digits}{'' if unit in {'', '%'} else ' '}{unit}{per}"


def rule_line(rule: Json) -> str:
    said = word(rule, "message")
    found = f"{word(rule, 'outcome'):<8} {word(rule, 'name')}: {value(rule)}, breached when {word(rule, 'threshold')}"
    return f"{found} ({said})" if said else found


def tally(rules: list[Json]) -> str:
    """`1 breach, 11 pass`."""
    counted = Counter(word(rule, "outcome") for rule in rules)
    known = [outcome for outcome in OUTCOMES if outcome in counted]
    return ", ".join(f"{counted[outcome]} {outcome}" for outcome in [*known, *sorted(set(counted) - set(known))])


def outputs(release: Json) -> dict[str, str]:
    """The step's outputs, of a Release."""
    told = status(release)
    active = live(release)
    return {
        "release": word(release, "name"),
        "phase": word(told, "phase"),
        "verdict": word(told, "verdict"),
        "reason": word(told, "reason"),
        "message": word(told, "message"),
        "active-color": active,
        "idle-color": other(active),
        "previous-color": word(colors(release), "from"),
        "rolled-back": "true" if word(told, "phase") == "RolledBack" else "false",
    }
