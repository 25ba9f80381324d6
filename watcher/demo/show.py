"""What a person sees of a scenario: a line per news, on a terminal a live picture below, and a summary in words.

What always holds: news stays. It is printed, not drawn: a small terminal hides none of it, and it can be scrolled back
to and copied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from watcher.core.release import Release
from watcher.demo.platform.ledger import Traffic
from watcher.demo.scenarios import Scenario
from watcher.demo.stage import Stage

REFRESH = 4
"""Pictures a second."""

_STYLES = {
    "pass": "green",
    "breach": "bold red",
    "thin": "yellow",
    "noData": "yellow",
    "error": "yellow",
    "pending": "dim",
    "blue": "bold blue",
    "green": "bold green",
}


class Show:
    """The audience's view of one scenario."""

    def __init__(self, scenario: Scenario, console: Console) -> None:
        self._scenario, self._console = scenario, console
        self._began = time.monotonic()
        self._release: Release | None = None
        self._stage: Stage | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._console.print(f"[bold]{self._scenario.name}[/]: {self._scenario.story}", highlight=False, soft_wrap=True)
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=REFRESH)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, news: str) -> None:
        """One sentence."""
        when = f"{time.monotonic() - self._began:6.1f} s"
        if not self._live:
            self._console.print(f"{when}  {news}", highlight=False, markup=False, soft_wrap=True)
            return
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(Text(when, "dim", no_wrap=True), Text(news))
        self._console.print(line)

    def on_stage(self, stage: Stage) -> None:
        """The stage is set: from now on it can be looked at."""
        self._stage = stage
        for what, where in (
            (
                "look in",
                f"kubectl --kubeconfig {stage.kubeconfig} -n chatbot-platform-prod get releases,deploy,pods,svc",
            ),
            ("the page", stage.page),
            ("Prometheus", stage.prometheus.url),
            ("the daemon's log", str(stage.daemon_log)),
        ):
            # Not wrapped: whoever copies it gets it in one piece.
            self._console.print(f"    {what}: {where}", highlight=False, markup=False, soft_wrap=True)

    def watch(self, release: Release) -> None:
        """The Release as it is now."""
        before = self._release
        self._release = release
        for flip in release.status.flips[len(before.status.flips) if before else 0 :]:
            self.say(f"the selector moved from {flip.from_} to {flip.to}: {flip.reason}")
        if before is None:
            self.say(f"asked for Release {release.name} of version {release.spec.version}")
        message = release.status.message
        if message and (before is None or (release.phase, message) != (before.phase, before.status.message)):
            phase = release.phase.value
            self.say(message if message.startswith(f"{phase}:") else f"{phase}: {message}")

    # -- the picture --------------------------------------------------------------------------------------------------

    def _picture(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._stage is not None and hasattr(self._stage, "load"):
            parts.append(self._clients(self._stage.load.snapshot()))
        if self._release is not None and self._release.status.rules:
            parts.append(self._rules(self._release))
        return Group(*parts)

    def _clients(self, traffic: Traffic) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        # The second that runs is not over: the one before it is the last that can be judged.
        last = traffic.seconds[-2] if len(traffic.seconds) > 1 else None
        who = Text("nobody", "dim")
        if last and last.colors:
            total = sum(last.colors.values())
            who = Text()
            for color, count in sorted(last.colors.items()):
                who.append(f"{color} {100 * count / total:.0f}%  ", _STYLES.get(color, ""))
        table.add_row("serves", who)
        if last:
            failed = Text(f"{last.failed} of {last.requests} failed", "bold red" if last.failed else "green")
            median = f"{1000 * last.p50:.0f} ms" if last.p50 is not None else "-"
            slow = f"{1000 * last.p99:.0f} ms" if last.p99 is not None else "-"
            table.add_row("clients, last second", Text.assemble(failed, f"; p50 {median}, p99 {slow}"))
        table.add_row("clients, last minute", _bars(traffic))
        return table

    @staticmethod
    def _rules(release: Release) -> RenderableType:
        table = Table("rule", "outcome", "says", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for rule in release.status.rules:
            says = Text(rule.message, no_wrap=True, overflow="ellipsis")
            table.add_row(rule.name, Text(rule.outcome, _STYLES.get(rule.outcome, "")), says)
        return table


def _bars(traffic: Traffic) -> Text:
    """A minute of traffic, a character a second: the colour that served, red where requests failed."""
    bars = Text()
    for second in traffic.seconds[-61:-1]:
        color = max(second.colors, key=lambda c: second.colors[c], default="")
        share = second.failed / second.requests if second.requests else 0.0
        style = "bold red" if share > 0.005 else _STYLES.get(color, "dim")
        bars.append("▁▂▃▄▅▆▇█"[min(7, int(share * 16))] if share > 0.005 else "▄", style)
    return bars


def summary(outcome: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """The end in words. `outcome` is the object that `--json` prints."""
    good = "as expected" if outcome["asExpected"] else "NOT AS EXPECTED"
    say(f"{outcome['scenario']}: {good}. {outcome.get('message', '')}")
    for complaint in outcome["complaints"]:
        say(f"  {complaint}")
    if "clientRequests" not in outcome:
        return
    lost = {cause: count for cause, count in outcome["clientFailures"].items() if count}
    told = ", ".join(f"{count} {cause}" for cause, count in lost.items()) or "no failure"
    say(f"  clients made {outcome['clientRequests']} requests and saw {told}")
    for key, label in (
        ("secondsFromFaultToBreach", "from the fault to the verdict"),
        ("secondsFromBreachToFlip", "from the verdict to the flip back"),
        ("secondsFromFlipToFirstHealthySecond", "from the flip back to the first healthy second"),
    ):
        if outcome[key] is not None:
            say(f"  {outcome[key]:7.2f} s {label}")
