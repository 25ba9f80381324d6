"""What a scenario begins with: the example platform in a namespace of its own, and an Application with short times.

What always holds: a scenario says all of it in its marker, so that the daemon that serves several of them can be given
every Application at its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import acting

ERROR_RATE = {
    "ruleSet": "http",
    "rule": "error-rate",
    "override": {"window": "5s", "for": "2s", "traffic": {"atLeast": 20}},
}
"""The rule that is shipped, with times short enough for a test."""

LONG = {"duration": "5m", "interval": "1s"}
"""A watch that only something else ends."""


@dataclass(frozen=True, slots=True)
class Setting:
    """`replicas` is blue's size. With `own_daemon` two replicas of the daemon run beside the platform, by
    deploy/overlays/one-namespace, so that what is done to them hurts nobody else; with `own_prometheus` they ask one
    that nobody else asks; with `alerts` that one has the alerts that are shipped, and an Alertmanager to tell.
    """

    name: str
    replicas: int = 1
    own_daemon: bool = False
    own_prometheus: bool = False
    alerts: bool = False
    spec: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """What lies beside the Application, by name."""

    @property
    def namespace(self) -> str:
        return f"chat-{self.name}"

    def application(self) -> dict[str, Any]:
        found = acting.application(**self.spec)
        found["metadata"]["namespace"] = self.namespace
        return found


def scenario(
    name: str,
    *,
    replicas: int = 1,
    own_daemon: bool = False,
    own_prometheus: bool = False,
    alerts: bool = False,
    files: Mapping[str, str] | None = None,
    **spec: Any,
) -> pytest.MarkDecorator:
    """Mark a test as a scenario; `spec` is what its Application has beside the usual (tests/support/acting.py)."""
    own_prometheus = own_prometheus or alerts
    own_daemon = own_daemon or own_prometheus
    setting = Setting(name, replicas, own_daemon, own_prometheus, alerts, spec, files or {})
    return pytest.mark.scenario(setting)


def setting_of(item: pytest.Item) -> Setting | None:
    mark = item.get_closest_marker("scenario")
    if mark is None:
        return None
    found = mark.args[0]
    assert isinstance(found, Setting)
    return found


def settings_of(items: Iterable[pytest.Item]) -> list[Setting]:
    """Those of all tests that were selected, which differ in their names."""
    found = [setting for item in items if (setting := setting_of(item))]
    names = [setting.name for setting in found]
    assert len(names) == len(set(names)), f"two scenarios have one name: {sorted(names)}"
    return found
