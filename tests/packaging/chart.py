"""The chart's values as values.yaml has them: each with its default, and with the comment above it as its meaning."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.packaging.rendered import ROOT, parse

CHART = ROOT / "deploy/chart"


@dataclass(frozen=True)
class Value:
    """One documented value: `image.tag`."""

    path: tuple[str, ...]
    default: Any
    meaning: str

    @property
    def row(self) -> str:
        """Its row in the table of the chart's README."""
        return f"| `{'.'.join(self.path)}` | `{json.dumps(self.default)}` | {self.meaning} |"


def defaults() -> dict[str, Any]:
    (found,) = parse((CHART / "values.yaml").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def documented() -> list[Value]:
    """Every value with a comment, in the order of the file. What lies below one of them is documented by it."""
    found: list[Value] = []
    comment: list[str] = []
    path: tuple[str, ...] = ()
    values = defaults()
    for line in (CHART / "values.yaml").read_text("utf-8").splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
        elif key := re.match(r"( *)(\w+):", line):
            path = (*path[: len(key[1]) // 2], key[2])
            if comment:
                found.append(Value(path, at(values, path), " ".join(comment)))
            comment = []
    return found
