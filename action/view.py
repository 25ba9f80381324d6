"""What of a Release's JSON the action shows, in words.

What always holds: a field that is missing, or that a newer daemon writes otherwise, leaves a gap and never an error.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from action.ends import Json

COLORS = ("blue", "green")
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
    """A rule's number in the unit of its threshold, where that is a share; `-` where there is none."""
    number: Any = rule.get("value")
    if not isinstance(number, int | float):
        return str(number) if number else "-"
    return f"{number * 100:.3g}%" if "%" in word(rule, "threshold") else f"{number:.4g}"


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
