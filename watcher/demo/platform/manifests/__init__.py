"""The example platform as Kubernetes objects, and the images that the embedded cluster runs for it.

It exists so that the demo, the tests and the documents speak of the same objects. What always holds: the files beside
this module are plain manifests that `kubectl apply -f` takes as they are (all but images.yaml, which stands in for a
registry, and alerting.yaml, which is for Prometheus), and every version named here behaves as images.yaml says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML

NAMESPACE = "chatbot-platform-prod"
APPLICATION = "chatbot-platform"
PREVIEW = "chatbot-platform-preview"
CONTAINER = "chat"
PORT = 8080
DEPLOYMENTS: Mapping[str, str] = MappingProxyType({color: f"{APPLICATION}-{color}" for color in ("blue", "green")})

LIVE_VERSION = "2.3.0"
GOOD_VERSION = "2.4.0"
BAD_VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        fault: f"2.4.1-{fault}"
        for fault in (
            "smoke",
            "verification",
            "never-ready",
            "crash-at-start",
            "errors",
            "latency",
            "memory",
            "cpu",
            "network",
            "conversions",
            "crash-loop",
            "unhealthy",
        )
    }
)
"""What goes wrong -> the version in which it does."""

VERIFIER = "verify-chat:1"
"""The image of a Job that verifies the version behind TARGET_URL (watcher/demo/platform/verify.py)."""

DIRECTORY = Path(__file__).parent
IMAGES = DIRECTORY / "images.yaml"
ALERTING = DIRECTORY / "alerting.yaml"
"""Alerting rules for Prometheus."""
_ORDER = ("namespace.yaml", "services.yaml", "deployment-blue.yaml", "deployment-green.yaml")


def paths() -> tuple[Path, ...]:
    """The manifest files, in the order in which to apply them."""
    return tuple(DIRECTORY / name for name in _ORDER)


def objects() -> list[dict[str, Any]]:
    """The objects of all manifest files, in the order in which to create them; fresh copies at each call."""
    yaml = YAML(typ="safe", pure=True)
    return [document for path in paths() for document in yaml.load_all(path.read_text(encoding="utf-8"))]


def image(version: str) -> str:
    """The image reference of a version."""
    return f"{CONTAINER}:{version}"
