"""The status page: which colour serves, what is being released, and why traffic moved. Plain HTML, no scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from watcher.core.release import Release

NEWEST = 50


@dataclass(frozen=True, slots=True)
class Row:
    """An Application and the colour that serves it; empty when that is not known."""

    namespace: str
    name: str
    color: str


_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:1.6rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}
th{font-weight:600;color:#57606a}.blue{color:#0a58ca;font-weight:600}.green{color:#1a7f37;font-weight:600}
.breach,.RolledBack,.Failed{color:#b42318;font-weight:600}.pass,.Completed{color:#1a7f37}
.noData,.thin,.error,.pending,.RollingBack,.Superseded,.Aborted{color:#9a6700}.bad{color:#b42318}
code{font-size:.85rem;word-break:break-all}
"""


def render(apps: Sequence[Row], releases: Sequence[Release], problems: Sequence[str], now: datetime) -> str:
    """The whole page. Everything that comes from outside is escaped."""
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta http-equiv=refresh content=2>",
        f"<title>Bluegreen Watcher</title><style>{_STYLE}</style></head><body><h1>Bluegreen Watcher</h1>",
        "".join(f"<p class=bad>{escape(problem)}</p>" for problem in problems),
        "<h2>Who serves</h2><table><tr><th>Application<th>Namespace<th>Colour</tr>",
        *(f"<tr><td>{escape(a.name)}<td>{escape(a.namespace)}<td>{_color(a.color or 'unknown')}</tr>" for a in apps),
        "</table>",
        "<h2>Releases</h2><table><tr><th>Release<th>Namespace<th>Version",
        "<th>From<th>To<th>Phase<th>What happened<th>Age</tr>",
        *(_release(release, now) for release in releases[:NEWEST]),
        "</table>",
        *(_rules(release) for release in _worth_rules(releases[:NEWEST])),
        f"<p>{now:%Y-%m-%d %H:%M:%S} UTC</p></body></html>",
    ]
    return "".join(parts)


def _release(release: Release, now: datetime) -> str:
    status, colors = release.status, release.status.colors
    phase = escape(release.phase.value)
    return (
        f"<tr><td>{escape(release.name)}<td>{escape(release.namespace)}<td>{escape(release.spec.version)}"
        f"<td>{_color(colors.from_) if colors else ''}<td>{_color(colors.to) if colors else ''}"
        f"<td class={phase}>{phase}<td>{escape(status.message)}<td>{_age(now - release.created_at)}</tr>"
    )


def _age(passed: timedelta) -> str:
    minutes = passed.total_seconds() / 60
    for unit, size in (("d", 24 * 60), ("h", 60)):
        if minutes >= 2 * size:
            return f"{minutes / size:.0f} {unit}"
    return f"{minutes:.0f} min"


def _worth_rules(releases: Sequence[Release]) -> Iterator[Release]:
    """The releases whose rules are shown: those that run, and of each application the newest, which may just have
    gone back: its numbers are what whoever was woken by it looks for.
    """
    seen: set[tuple[str, str]] = set()
    for release in releases:
        application = (release.namespace, release.spec.application)
        if release.status.rules and (application not in seen or not release.phase.terminal):
            yield release
        if release.status.colors:  # one that was refused hides nothing
            seen.add(application)


def _rules(release: Release) -> str:
    rows = "".join(
        f"<tr><td>{escape(r.name)}<td class={escape(r.outcome)}>{escape(r.outcome)}<td>{escape(r.message)}"
        f"<td>{escape(r.threshold)}<td><code>{escape(r.query)}</code></tr>"
        for r in release.status.rules
    )
    head = "<tr><th>Rule<th>Outcome<th>Says<th>Threshold<th>Query</tr>"
    return f"<h2>Rules of {escape(release.name)}</h2><table>{head}{rows}</table>"


def _color(color: str) -> str:
    return f"<span class={escape(color)}>{escape(color)}</span>"
