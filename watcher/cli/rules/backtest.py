"""`watcher rules backtest`: what the rules would have said of past switches, over a real Prometheus's history."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.files import Directories, find_application, read_files

if TYPE_CHECKING:
    from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
    from watcher.core.application import Application, Color
    from watcher.core.backtest import Trial
    from watcher.core.rules import RuleSet
    from watcher.core.settings import Settings
    from watcher.engine.backtest import Bind, Sought

    Numbers = Mapping[str, Sequence[tuple[float, float]]]

WRONG, USAGE = 1, 2
PATIENCE = 30.0
"""Seconds for one request, unless the settings say more."""
TOLD_EVERY = 5.0
"""Seconds between two words about how far it is, where there is no terminal."""

EPILOG = (
    "Example: watcher rules backtest chatbot-platform --config config/ --prometheus http://127.0.0.1:9090 --since 7d "
    "--good-all --plot rules.png. How switches are found and limits are looked for: docs/backtest.md. Exit status: 0 "
    "nothing would have gone wrong, 1 a good release would have been rolled back or a bad one missed, 2 it could not "
    "be done."
)


def add_to(group: typer.Typer) -> None:
    """Register the command."""
    group.command("backtest", epilog=EPILOG)(backtest)


def backtest(
    application: Annotated[str, typer.Argument(help="Name of the Application.")],
    config: Directories = None,
    rules: Annotated[
        list[Path] | None,
        typer.Option("--rules", help="RuleSets to try, instead of those of the same name or besides them."),
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="That of the Application.")] = "",
    prometheus: Annotated[str, typer.Option("--prometheus", help="Address, instead of that in the settings.")] = "",
    since: Annotated[str, typer.Option("--since", help="Begin of the history: a duration, or a time.")] = "7d",
    until: Annotated[str, typer.Option("--until", help="End of the history; without it, now.")] = "",
    switch: Annotated[list[str] | None, typer.Option("--switch", help="The time of one switch; repeatable.")] = None,
    every: Annotated[str, typer.Option("--every", help="Pretend a switch every so often, such as 1h.")] = "",
    releases: Annotated[
        Path | None, typer.Option("--releases", help="Take switches from what kubectl get releases -o json printed.")
    ] = None,
    color: Annotated[str, typer.Option("--color", help="The new colour, where no metric tells it.")] = "",
    color_metric: Annotated[
        str, typer.Option("--color-metric", help="PromQL with one series for each colour; the greatest is active.")
    ] = "",
    version: Annotated[str, typer.Option("--version", help="The version, for queries that name it.")] = "",
    good: Annotated[list[str] | None, typer.Option("--good", help="Time of a good switch; repeatable.")] = None,
    bad: Annotated[list[str] | None, typer.Option("--bad", help="Time of a bad switch; repeatable.")] = None,
    good_all: Annotated[bool, typer.Option("--good-all", help="Every other switch was good.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the rules into this file (.png, .svg).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say which past switches the rules would have rolled back, when, and why.

    Switches are found where the metric of the active colour changes, unless --switch, --every or --releases name them.
    A time is 2026-11-23T14:02:11Z; without an offset it is UTC.
    """
    from watcher.core.units import Invalid
    from watcher.engine.replay import Unanswered

    if plot is not None:
        _check_plot(plot)
    try:
        subject = _subject(application, namespace, config, rules, prometheus)
        sought = _sought(
            since, until, switch or [], every, releases, color, color_metric, good or [], bad or [], good_all
        )
        _run(subject, sought, version, plot, as_json)
    except (Invalid, Unanswered) as error:
        raise _stop(str(error)) from None


# -- what is looked at -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """An Application, its rules, and where their history is."""

    app: Application
    rule_sets: dict[str, RuleSet]
    server: PrometheusSettings


def _subject(
    name: str, namespace: str, config: list[Path] | None, rules: list[Path] | None, prometheus: str
) -> Subject:
    from watcher.core.settings import Settings
    from watcher.engine.config import with_environment

    tried = _rule_sets(rules or [])
    if config is None and tried:
        app = _made_up(name, namespace or "default", list(tried))
        return Subject(app, tried, _server(with_environment(Settings(), os.environ), prometheus))
    found = read_files(config)
    app = find_application(found, name, namespace)
    used = {entry if isinstance(entry, str) else entry.rule_set for entry in app.spec.watch.rules}
    more = [name for name in tried if name not in used]
    watch = app.spec.watch.model_copy(update={"rules": [*app.spec.watch.rules, *more]})
    app = app.model_copy(update={"spec": app.spec.model_copy(update={"watch": watch})})
    return Subject(app, {**found.rule_sets, **tried}, _server(found.settings, prometheus))


def _rule_sets(paths: list[Path]) -> dict[str, RuleSet]:
    """The RuleSets in some files; anything else in them is left alone."""
    from watcher.core.documents import duplicates, read_documents
    from watcher.core.rules import RuleSet
    from watcher.engine.config import KINDS, read_texts

    texts, problems = read_texts(paths)
    read = [read_documents(text, file, KINDS) for file, text in texts.items()]
    sets = [one for found in read for one in found.items if isinstance(one.model, RuleSet)]
    _end_with([*problems, *(problem for found in read for problem in found.problems), *duplicates(sets)])
    if paths and not sets:
        raise _stop(f"there is no RuleSet in {', '.join(map(str, paths))}")
    return {one.name: one.model for one in sets if isinstance(one.model, RuleSet)}


def _end_with(problems: Iterable[object]) -> None:
    said = [str(problem) for problem in problems]
    for one in said:
        print(one, file=sys.stderr)
    if said:
        raise typer.Exit(USAGE)


def _made_up(name: str, namespace: str, rule_sets: list[str]) -> Application:
    """An Application that only its rules are known of."""
    from pydantic import ValidationError

    from watcher.core.ruletest import Variables

    try:
        whom = Variables(namespace=namespace, application=name)
    except ValidationError as error:
        first = error.errors()[0]
        raise _stop(
            f"{first['loc'][0] if first['loc'] else 'the name'}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    return whom.application_with(rule_sets, timedelta(minutes=15), timedelta(seconds=10))


def _server(settings: Settings, address: str) -> PrometheusSettings:
    """The server to ask. What the settings have for theirs (headers, tokens) goes to no other."""
    from watcher.adapters.prometheus import PrometheusSettings
    from watcher.adapters.secrets import SecretFiles

    ours = settings.prometheus
    url = address or ours.url
    if not url:
        raise _stop("no Prometheus is named: give --prometheus, or prometheus.url in watcher.yaml")
    timeout = max(PATIENCE, ours.timeout.total_seconds())
    try:
        if address and address.rstrip("/") != ours.url.rstrip("/"):
            return PrometheusSettings(address, timeout=timeout)
        value = SecretFiles(lambda: settings.secrets.directory).value
        return replace(PrometheusSettings.of(ours, value), url=url, timeout=timeout)
    except ValueError as error:
        raise _stop(f"--prometheus: {error}") from None


# -- which switches ----------------------------------------------------------------------------------------------------


def _sought(
    since: str,
    until: str,
    switch: Sequence[str],
    every: str,
    releases: Path | None,
    color: str,
    color_metric: str,
    good: Sequence[str],
    bad: Sequence[str],
    good_all: bool,
) -> Sought:
    from watcher.core.units import parse_duration
    from watcher.engine.backtest import Sought

    if sum(map(bool, (switch, every, releases))) > 1:
        raise _stop("--switch, --every and --releases exclude one another: give one, or none to search for switches")
    now = time.time()
    end = _moment(until, now, "--until") if until else now
    if end > now:
        raise _stop(f"--until {until} lies in the future")
    begin = _moment(since, end, "--since")
    if begin >= end:
        raise _stop(
            f"there is no time from --since {since} to the end: write an earlier time, or a duration such as 7d"
        )
    pause = parse_duration(every) if every else None
    if pause is not None and pause < timedelta(seconds=1):
        raise _stop(f"--every {every} is too short: write 1s or more")
    times = [_moment(one, end, "--switch") for one in switch]
    if times and max(times) >= now:
        raise _stop(f"--switch {max(switch)} lies in the future")
    return Sought(
        since=begin,
        until=end,
        times=times,
        every=pause,
        releases=None if releases is None else _read(releases),
        color=_color(color),
        query=color_metric,
        good=[_moment(one, end, "--good") for one in good],
        bad=[_moment(one, end, "--bad") for one in bad],
        rest_is_good=good_all,
    )


def _moment(text: str, end: float, option: str) -> float:
    """A time, or a duration before the end, as Unix seconds."""
    from watcher.core.units import Invalid, parse_duration

    try:
        return end - parse_duration(text).total_seconds()
    except Invalid:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _stop(
            f'{option}: "{text}" is no time: write one such as 2026-11-23T14:02:11Z, or a duration such as 2h'
        ) from None


def _color(text: str) -> Color | None:
    from watcher.core.application import COLORS

    if text and text not in COLORS:
        raise _stop(f"--color {text}: write blue or green")
    return next((color for color in COLORS if color == text), None)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _stop(f"--releases {file} cannot be read ({error})") from None


def _check_plot(file: Path) -> None:
    """Complain now, and not after the work."""
    from importlib.util import find_spec

    if file.suffix.lower() not in (".png", ".svg"):
        raise _stop(f"--plot {file}: write a name that ends with .png or .svg")
    if not file.parent.is_dir():
        raise _stop(f"--plot {file}: there is no directory {file.parent}")
    if find_spec("matplotlib") is None:
        raise _stop("--plot needs matplotlib: pip install 'bluegreen-watcher[plot]'")


# -- the work ----------------------------------------------------------------------------------------------------------


def _run(subject: Subject, sought: Sought, version: str, plot: Path | None, as_json: bool) -> None:
    from watcher.adapters.prometheus import PrometheusMetrics
    from watcher.cli.rules import backtest_report as report
    from watcher.core.backtest import summary
    from watcher.engine.backtest import binder, make_plan, run_trials
    from watcher.engine.replay import Unanswered

    metrics = PrometheusMetrics(subject.server)
    trials: list[Trial] = []
    stopped = ""
    try:
        plan = make_plan(metrics, subject.app, sought)
        bind = binder(subject.app, subject.rule_sets, version)
        found = run_trials(metrics, plan.planned, bind, keep=plot is not None)
        try:
            for trial in _shown(found, len(plan.planned)):
                trials.append(trial)  # noqa: PERF402 - kept when the server goes away in the middle
        except Unanswered as error:
            stopped = f"{error.reason} So only {len(trials)} of {len(plan.planned)} switches were looked at."
            if not trials:
                raise
        before = _earlier(metrics, bind, trials) if plot is not None and len(trials) == 1 else {}
    finally:
        metrics.close()
    whole = report.Whole(subject.app, sought, plan, trials, summary(trials), stopped, before)
    print(report.as_json(whole) if as_json else report.as_text(whole))
    if plot is not None:
        from watcher.cli.rules.plot import draw

        try:
            draw(plot, whole)
        except OSError as error:
            raise _stop(f"--plot {plot} cannot be written ({error.strerror})") from None
        print(f"Drawn into {plot}.", file=sys.stderr)
    if stopped:
        raise _stop(stopped)
    if whole.summary.without_data == len(trials):
        raise _stop("no rule has data at any of these switches: nothing was learnt")
    raise typer.Exit(WRONG if whole.summary.false_alarms or whole.summary.missed else 0)


def _earlier(metrics: PrometheusMetrics, bind: Bind, trials: Sequence[Trial]) -> Numbers:
    """What the rules gave before the one switch: a third of the watch's length, at least five minutes."""
    from watcher.engine.replay import earlier

    (trial,) = trials
    length = max(300.0, (trial.planned.until - trial.switch.at) / 3)
    return earlier(metrics, bind(replace(trial.switch, color=trial.switch.previous)), trial.switch.at, length)


def _shown(trials: Iterator[Trial], count: int) -> Iterator[Trial]:
    """The trials as they come, with how far it is on standard error: a bar on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(trials, "Replaying", total=count, console=Console(stderr=True), transient=True)
        return
    told = time.monotonic()
    for done, trial in enumerate(trials, 1):
        yield trial
        if time.monotonic() - told >= TOLD_EVERY:
            told = time.monotonic()
            print(f"{done} of {count} switches", file=sys.stderr)


def _stop(why: str) -> typer.Exit:
    """Say why it ends, to be raised."""
    print(f"watcher: {why}", file=sys.stderr)
    return typer.Exit(USAGE)
