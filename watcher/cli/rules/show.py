"""`watcher rules show`: the rules that a Release would be watched by, as Prometheus would be asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcher.cli.files import INVALID, Directories, find_application, read_files

if TYPE_CHECKING:
    from watcher.core.application import Application
    from watcher.core.rules import BoundRule

EPILOG = (
    "Example: watcher rules show chatbot-platform --config config/ --config rules/ --color green. "
    "Exit status: 0 shown, 2 the files are not valid, or no such Application."
)


def add_to(group: typer.Typer) -> None:
    """Register the command."""
    group.command("show", epilog=EPILOG)(show)


def show(
    application: Annotated[str, typer.Argument(help="Name of the Application.")],
    config: Directories = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where two have the same name.")] = "",
    color: Annotated[str, typer.Option("--color", help="The new colour: blue or green.")] = "green",
    version: Annotated[str, typer.Option("--version", help="The new version.")] = "VERSION",
    merged: Annotated[bool, typer.Option("--merged", help="Print the requests that the queries travel in.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show the rules in force for an Application.

    That is: what it overrides, placeholders filled in, the queries as they will be sent, when each rule is evaluated
    first and last. --merged prints the queries as they travel together.
    """
    from watcher.core.application import COLORS, other
    from watcher.core.binding import bind_rules
    from watcher.core.units import near_miss

    if color not in COLORS:
        meant = near_miss(color, COLORS)
        cure = f'did you mean "{meant}"?' if meant else "write blue or green"
        print(f"watcher: {color} is no colour: {cure}", file=sys.stderr)
        raise typer.Exit(INVALID)
    files = read_files(config)
    app = find_application(files, application, namespace)
    rules = bind_rules(app, files.rule_sets, color, other(color), version)
    if merged:
        for line in _requests(rules):
            print(line)
    elif as_json:
        print(json.dumps(_json(app, rules, color), indent=2))
    else:
        print("\n".join(_text(app, rules, color)))


def _times(app: Application, rule: BoundRule) -> list[timedelta]:
    """The evaluations of a rule, counted from the switch."""
    from watcher.core.evaluation import evaluation_times

    until = app.spec.watch.duration.total_seconds()
    return [timedelta(seconds=at) for at in evaluation_times(0.0, rule.interval, rule.warm_up, None, until)]


def _text(app: Application, rules: Sequence[BoundRule], color: str) -> Iterator[str]:
    from watcher.core.application import other
    from watcher.core.units import format_duration

    watch = app.spec.watch
    yield (
        f"{app.namespace}/{app.name}: {color} is watched for {format_duration(watch.duration)} after {other(color)}, "
        f"every {format_duration(watch.interval)}, mode {watch.mode}"
    )
    if not rules:
        yield "It uses no rules."
    for rule in rules:
        yield ""
        yield f"{rule.id}: {rule.limit}{_lasting(rule)}: {rule.on_breach}"
        if rule.description:
            yield f"  {rule.description}"
        yield from _block("query", rule.query)
        if rule.reduce:
            yield f"  reduce    {rule.reduce} of the series"
        if rule.compare is not None:
            yield from _block("before", rule.compare.previous.query)
        if rule.traffic_query is not None:
            yield from _block("traffic", rule.traffic_query)
            yield f"            at least {rule.traffic_at_least}"
        yield f"  evaluated {_evaluated(app, rule)}"
        yield f"  blind     no data: {rule.on_no_data}; error: {rule.on_error}"


def _lasting(rule: BoundRule) -> str:
    from watcher.core.units import format_duration

    if rule.breaches is not None:
        return f", {rule.breaches.count} of {rule.breaches.of} times"
    return f" for {format_duration(rule.for_)}" if rule.for_ else ""


def _block(name: str, query: str) -> Iterator[str]:
    first, *rest = query.splitlines()
    yield f"  {name:<9} {first}"
    yield from (f"            {line.rstrip()}" for line in rest if line.strip())


def _evaluated(app: Application, rule: BoundRule) -> str:
    from watcher.core.units import format_duration

    times = _times(app, rule)
    if not times:
        return f"never: its warm-up of {format_duration(rule.warm_up)} is longer than the watch"
    first, last = format_duration(times[0]), format_duration(times[-1])
    return f"{len(times)} times, from {first} to {last} after the switch (warm-up {format_duration(rule.warm_up)})"


def _json(app: Application, rules: Sequence[BoundRule], color: str) -> dict[str, Any]:
    from watcher.core.application import other
    from watcher.core.models import plain
    from watcher.core.units import format_duration

    shown = []
    for rule in rules:
        times = [format_duration(time) for time in _times(app, rule)]
        first, last = (times[0], times[-1]) if times else (None, None)
        shown.append({**plain(rule), "limit": rule.limit, "evaluations": len(times), "first": first, "last": last})
    return {
        "application": app.name,
        "namespace": app.namespace,
        "color": color,
        "previousColor": other(color),
        "watch": plain(app.spec.watch),
        "rules": shown,
    }


def _requests(rules: Sequence[BoundRule]) -> Iterator[str]:
    """The queries as they travel together, one request a line."""
    from watcher.adapters.prometheus.merging import groups, merge

    asked = dict.fromkeys(query for rule in rules for query in (rule.query, rule.traffic_query) if query is not None)
    for group in groups(list(asked), 1):
        yield merge(group)
