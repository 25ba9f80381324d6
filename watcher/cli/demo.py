"""`watcher demo`: see a release, and a rollback, on an embedded cluster with a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from watcher.demo.scenarios import Scenario

NAMES = (
    "success, failed-smoke, failed-verification, unhealthy-after-switch, errors, latency, memory, cpu, conversions, "
    "crash-loop, alert, prometheus-down, manual-rollback, all"
)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("demo")(demo)


def demo(
    scenario: Annotated[str, typer.Option("--scenario", "-s", help=f"One of: {NAMES}.")] = "errors",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per scenario, and nothing else.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up at the end, to look in; Ctrl-C ends it.")] = False,
) -> None:
    """Release a version of an example platform on an embedded cluster, and see what the daemon does about it.

    Everything runs on loopback: the cluster (pods are local processes), clients, a real Prometheus, the daemon. Nothing
    is left running. Exit status 0 only if every scenario ended as it should.
    """
    from rich.console import Console

    from watcher.demo.cluster.launcher import ClusterFailed
    from watcher.demo.platform.alertmanager import AlertmanagerUnavailable
    from watcher.demo.platform.prometheus import PrometheusUnavailable
    from watcher.demo.scenarios import SCENARIOS
    from watcher.demo.stage import StageFailed

    if scenario != "all" and scenario not in SCENARIOS:
        raise typer.BadParameter(f"{scenario!r} is none; write one of: {NAMES}", param_hint="--scenario")
    if keep and scenario == "all":
        raise typer.BadParameter("goes with one scenario, not with all", param_hint="--keep")
    # SIGTERM ends a demo as Ctrl-C does: everything that it started goes with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=True, quiet=as_json)
    good = True
    try:
        outcomes = _all(console) if scenario == "all" else [_play(SCENARIOS[scenario], console, keep=keep)]
        for outcome in outcomes:
            good = good and outcome["asExpected"]
            if as_json:
                print(json.dumps(outcome), flush=True)
    except (PrometheusUnavailable, AlertmanagerUnavailable, ClusterFailed, StageFailed) as error:
        print(f"watcher demo: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("watcher demo: ended early; nothing is left running", file=sys.stderr)
        raise typer.Exit(130) from None
    raise typer.Exit(0 if good else 1)


def _all(console: Console) -> Iterator[dict[str, Any]]:
    from watcher.demo.scenarios import SCENARIOS
    from watcher.demo.show import summary
    from watcher.demo.together import play_together

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)

    good = 0
    for outcome in play_together(list(SCENARIOS), say):
        summary(outcome, say)
        good += outcome["asExpected"]
        yield outcome
    say(f"{good} of {len(SCENARIOS)} scenarios as expected")


def _play(scenario: Scenario, console: Console, *, keep: bool) -> dict[str, Any]:
    from watcher.demo.play import play
    from watcher.demo.show import Show, summary
    from watcher.demo.stage import Stage

    with Show(scenario, console) as show, Stage(show.say, alerts=scenario.alerts) as stage:
        show.on_stage(stage)
        outcome = play(scenario, stage, show.watch).json()
        summary(outcome, show.say)
        if keep:
            show.say("stays up; Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
            show.say("ends everything that it started")
    return outcome
