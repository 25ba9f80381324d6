"""What the custom resource takes and what it refuses, said once: the embedded API server and a real one are both held
to it, so that the demo never allows what a cluster would not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]

GOOD: Spec = {"application": "shop", "version": "2", "images": {"web": "shop:2"}}
BACK: Spec = {"application": "shop", "rollback": {"by": "ada", "reason": "users complain"}}
WITHOUT_VERSION: Spec = {"application": "shop", "images": {"web": "shop:2"}}

FIXED = "cannot be changed once the Release exists"
NEITHER = "can be neither set nor removed once the Release exists"
NO_IMAGES = "only a rollback by hand has no images"


@dataclass(frozen=True)
class Case:
    """A Release that is asked for, and perhaps a merge patch of its spec after that; the last of them is refused."""

    name: str
    spec: Spec
    patch: Spec | None = None
    refused: str = ""
    """A part of the refusal; empty when all is taken."""
    field: str = field(default="spec")
    """The field that the refusal names."""


CREATED = (
    Case("a release", GOOD),
    Case("a release without a version", WITHOUT_VERSION),
    Case("a rollback by hand", BACK),
    Case("a rollback by hand with an empty command", {"application": "shop", "rollback": {}}),
    Case("a release that begins paused", GOOD | {"pause": {"by": "ada"}}),
    Case("a long reason", BACK | {"rollback": {"reason": "because " * 5000}}),
    Case("a version of 128 characters", GOOD | {"version": "v" * 128}),
    Case("no application", {"images": {"web": "shop:2"}}, refused="Required value", field="spec.application"),
    Case("an empty application", GOOD | {"application": ""}, refused="at least 1 chars", field="spec.application"),
    Case("no images", {"application": "shop", "version": "2"}, refused=NO_IMAGES, field="spec.images"),
    Case("no images, and a pause", {"application": "shop", "pause": {}}, refused=NO_IMAGES, field="spec.images"),
    Case("empty images", GOOD | {"images": {}}, refused="at least 1 properties", field="spec.images"),
    Case("empty images in a rollback", BACK | {"images": {}}, refused="at least 1 properties", field="spec.images"),
    Case("an empty image", GOOD | {"images": {"web": ""}}, refused="at least 1 chars", field="spec.images.web"),
    Case("images as a list", GOOD | {"images": ["shop:2"]}, refused="must be of type object", field="spec.images"),
    Case("a version too long", GOOD | {"version": "v" * 129}, refused="Too long", field="spec.version"),
    Case("a command that is a word", GOOD | {"abort": True}, refused="must be of type object", field="spec.abort"),
)

CHANGED = (
    Case("nothing", GOOD, {"application": "shop", "version": "2", "images": {"web": "shop:2"}}),
    *(Case(f"{name} given", GOOD, {name: {"by": "ada"}}) for name in ("approve", "pause", "abort", "rollback")),
    Case("the window overridden", GOOD, {"overrideWindow": {"by": "ada", "reason": "urgent"}}),
    Case("a pause taken back", GOOD | {"pause": {"by": "ada"}}, {"pause": None}),
    Case("a reason added to a rollback", BACK, {"rollback": {"reason": "and more"}}),
    Case("force added", GOOD, {"force": True}),
    Case("another application", GOOD, {"application": "other"}, FIXED, "spec.application"),
    Case("another version", GOOD, {"version": "3"}, FIXED, "spec.version"),
    Case("a version removed", GOOD, {"version": None}, f"version {NEITHER}", "spec.version"),
    Case("a version set later", WITHOUT_VERSION, {"version": "2"}, f"version {NEITHER}", "spec.version"),
    Case("another image", GOOD, {"images": {"web": "shop:3"}}, FIXED, "spec.images"),
    Case("a further image", GOOD, {"images": {"log": "log:1"}}, FIXED, "spec.images"),
    Case("images removed", GOOD, {"images": None}, f"images {NEITHER}", "spec.images"),
    Case("images removed beside a rollback", GOOD, {"images": None, "rollback": {}}, NEITHER, "spec.images"),
    Case("images given to a rollback", BACK, {"images": {"web": "shop:2"}}, f"images {NEITHER}", "spec.images"),
    Case("a rollback taken back that is all there is", BACK, {"rollback": None}, NO_IMAGES, "spec.images"),
)

TIMES = {
    "2026-11-23T14:02:11Z": True,
    "2026-11-23t14:02:11z": True,
    "2026-11-23T14:02:11.123456789Z": True,
    "2026-11-23T14:02:11+01:00": True,
    "2026-11-23T14:02:11-23:59": True,
    "9999-12-31T23:59:59Z": True,
    "yesterday": False,
    "": False,
    "1700000000": False,
    "2026-11-23": False,
    "2026-11-23 14:02:11Z": False,
    "2026-11-23T14:02:11": False,
    "2026-11-23T14:02Z": False,
    "2026-11-23T14:02:11+0100": False,
    "2026-11-23T14:02:60Z": False,
    "2026-11-23T24:00:00Z": False,
    "2026-02-30T14:02:11Z": False,
    "0000-01-01T00:00:00Z": False,
    "2026-11-23T14:02:11+24:00": False,
}
"""A time of a command, and whether it is one. What is taken here, the core has to understand: it cannot read a Release
with any other."""
