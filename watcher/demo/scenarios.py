"""The scenarios of `watcher demo`: what is released, what is done to it, and how it should end.

What always holds: a scenario that does not end as named fails, with the reason in a sentence; nothing is scripted but
the version that is released and what the surroundings do to it. All decisions are the daemon's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from watcher.core.release import Phase, Release
from watcher.demo.platform import manifests
from watcher.demo.stage import Stage

Act = Callable[[Stage, Release], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story. `reason` is the beginning of the code that the Release must end with; of one of the codes, where it
    is a matter of milliseconds which of two watchers sees the trouble first.
    """

    name: str
    story: str
    version: str
    phase: Phase
    active: str
    flips: int
    reason: str | tuple[str, ...] = ""
    before: Callable[[Stage], None] | None = None
    """What is done before the release is asked for."""
    at: Phase | None = None
    act: Act | None = None
    """What is done once the Release is in phase `at`."""
    ends: Callable[[Release], bool] = field(default=lambda release: release.phase.terminal)
    refusals: bool = False
    """Whether the version itself lets clients down with refused or reset connections. Flips never may."""
    alerts: bool = False
    """Whether it needs an Alertmanager."""
    also: Callable[[Release], str] = field(default=lambda _: "")
    """What else must hold at the end: a complaint, or nothing."""


def _without_prometheus(stage: Stage) -> None:
    stage.prometheus.kill()


def _lose_prometheus(stage: Stage, _: Release) -> None:
    stage.prometheus.kill()


def _by_hand(stage: Stage, release: Release) -> None:
    command = {"by": "the demo", "reason": "users complain"}
    stage.hands.command(release.namespace, release.name, "rollback", command)


def _says(words: str) -> Callable[[Release], str]:
    def check(release: Release) -> str:
        told = release.status.message + "".join(c.output + c.message for c in release.status.checks)
        return "" if words in told else f"its status does not say {words!r}"

    return check


def _blind_and_holding(release: Release) -> bool:
    return release.phase is Phase.WATCHING and _true(release, "NeedsAttention") and _true(release, "Blind")


def _true(release: Release, kind: str) -> bool:
    return any(c.type == kind and c.status == "True" for c in release.status.conditions)


def _breach(name: str, story: str, rule: str) -> Scenario:
    version = manifests.BAD_VERSIONS[name]
    return Scenario(name, story, version, Phase.ROLLED_BACK, "blue", 2, f"rule/{rule}")


_ALL = (
    Scenario(
        "success",
        "A good version passes its tests, takes the traffic, passes its watch, and stays.",
        manifests.GOOD_VERSION,
        Phase.COMPLETED,
        "green",
        1,
        "Completed",
    ),
    Scenario(
        "failed-smoke",
        "The smoke test fails on the idle colour: traffic never moves.",
        manifests.BAD_VERSIONS["smoke"],
        Phase.FAILED,
        "blue",
        0,
        "TestsFailed",
        also=_says("smoke/healthz"),
    ),
    Scenario(
        "failed-verification",
        "The verification test fails on the idle colour: traffic never moves.",
        manifests.BAD_VERSIONS["verification"],
        Phase.FAILED,
        "blue",
        0,
        "TestsFailed",
        also=_says("verification/critical-paths"),
    ),
    Scenario(
        "unhealthy-after-switch",
        "The version stops being healthy a second after users come: the health check, or its pods, take it back.",
        manifests.BAD_VERSIONS["unhealthy"],
        Phase.ROLLED_BACK,
        "blue",
        2,
        refusals=True,
    ),
    _breach("errors", "One answer in five is a 5xx once users come.", "http/error-rate"),
    _breach("latency", "Answers take 600 ms longer once users come.", "http/latency-"),
    _breach("memory", "Memory grows by 20 MiB a second.", "resources/memory"),
    _breach("cpu", "Every pod burns nine tenths of a core.", "resources/cpu"),
    _breach("conversions", "Everything works, but hardly anybody subscribes any more.", "business/conversion-rate"),
    Scenario(
        "crash-loop",
        "The pods crash a second after users come, and Prometheus is down: the cluster itself tells.",
        manifests.BAD_VERSIONS["crash-loop"],
        Phase.ROLLED_BACK,
        "blue",
        2,
        ("pods/", "check/live/"),
        before=_without_prometheus,
        refusals=True,
    ),
    Scenario(
        "alert",
        "Answers are huge once users come: an alert of Prometheus fires, and its Alertmanager tells the daemon.",
        manifests.BAD_VERSIONS["network"],
        Phase.ROLLED_BACK,
        "blue",
        2,
        "alert/AnswersTooLarge",
        alerts=True,
        also=_says("alert AnswersTooLarge (severity critical) fired"),
    ),
    Scenario(
        "prometheus-down",
        "Prometheus dies while a good version is watched: the watch is blind, holds, and says so; nothing flips.",
        manifests.GOOD_VERSION,
        Phase.WATCHING,
        "green",
        1,
        at=Phase.WATCHING,
        act=_lose_prometheus,
        ends=_blind_and_holding,
    ),
    Scenario(
        "manual-rollback",
        "A person sends traffic back while the version is watched.",
        manifests.GOOD_VERSION,
        Phase.ROLLED_BACK,
        "blue",
        2,
        "manual",
        at=Phase.WATCHING,
        act=_by_hand,
        also=_says("users complain"),
    ),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})


def verdict_on(scenario: Scenario, release: Release, active: str) -> list[str]:
    """What did not end as the scenario names it; nothing when all did."""
    status = release.status
    wrong = []
    if release.phase is not scenario.phase:
        wrong.append(f"it ended {release.phase.value}, not {scenario.phase.value}: {status.message}")
    if active != scenario.active:
        wrong.append(f"{active or 'no colour'} serves, not {scenario.active}")
    if len(status.flips) != scenario.flips:
        wrong.append(f"there were {len(status.flips)} flips, not {scenario.flips}")
    if not status.reason.startswith(scenario.reason):
        wrong.append(f"the reason is {status.reason!r}, not {scenario.reason!r}")
    also = scenario.also(release)
    return [*wrong, also] if also else wrong
