"""What people are told, in the form that every channel is written from: what happened, why, what is next, what to do.

What always holds: a notice is complete by itself. It is kept beside the Event that tells the same, so that another
process can deliver it without knowing anything else; and it holds nothing that the Release does not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict

from watcher.core.application import Application
from watcher.core.channels import Severity, Topic
from watcher.core.effects import Tell
from watcher.core.models import API_VERSION
from watcher.core.release import KIND, UNNAMED, WATCHER, Phase, Release, RuleRecord
from watcher.core.units import format_duration

_TOPICS: Mapping[str, Topic] = {
    "command": "asked",
    "flip": "flip",
    "verdict": "decision",
    "would": "decision",
    "attention": "attention",
    "way-back-lost": "attention",
    "blind": "attention",
    "end": "end",
    "deleted": "end",
}
"""By how the key of what is told begins; anything else is a remark."""

_TITLES = {
    "RollbackDecided": "going back",
    "ForeignFlip": "somebody else moved traffic",
    "WayBackLost": "the way back is lost",
    "Blind": "the rules cannot judge",
    "Inconclusive": "held: the rules gave no answer",
    "RuleBreached": "a rule is breached",
    "ReleaseDeleted": "the Release was deleted",
}
_ENDS = {
    Phase.COMPLETED: "completed",
    Phase.ROLLED_BACK: "rolled back",
    Phase.FAILED: "failed before traffic moved",
    Phase.ABORTED: "aborted",
    Phase.SUPERSEDED: "ended: somebody else moved traffic",
}

LONGEST_LINK = 2000
"""How many characters of a link chats still take."""
LONGEST_EVIDENCE = 4000
MOST_REASONS = 8
GRAPH_RANGE = "30m"


class Notice(BaseModel):
    """One message to people. `thread` is the same for everything about one Release."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    """The same whenever and wherever the same news is delivered: receivers drop a second one by it."""
    topic: Topic
    reason: str
    severity: Severity
    title: str
    message: str
    why: tuple[str, ...] = ()
    next: str = ""
    commands: tuple[str, ...] = ()
    """What the reader can do: command lines to copy."""
    links: dict[str, str] = {}
    at: datetime
    namespace: str = ""
    application: str = ""
    release: str = ""
    version: str = ""
    phase: str = ""
    actor: str = WATCHER
    evidence: dict[str, str] = {}
    thread: str
    resolves: bool = False
    """Whether traffic is safe from here on, so that an incident about it can be closed."""

    @property
    def look(self) -> str:
        return f"kubectl -n {self.namespace} describe release {self.release}" if self.release else ""


def actor(tell: Tell) -> str:
    """Who decided or asked: whom the evidence names, else the watcher itself."""
    return str(tell.evidence["by"] or UNNAMED) if "by" in tell.evidence else WATCHER


def about(release: Release) -> Mapping[str, str]:
    """The reference by which Events name the Release."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": release.name,
        "namespace": release.namespace,
        "uid": release.uid,
    }


def notice(release: Release, tell: Tell, at: datetime, graph_url: str = "") -> Notice:
    """What people are told of a Release. `graph_url` is where they open Prometheus; without it there are no links."""
    topic = _TOPICS.get(tell.key.partition("/")[0], "remark")
    app = release.status.pinned.application if release.status.pinned else None
    rules = _rules(release, tell)
    return Notice(
        key=f"{release.uid}/{tell.key}",
        topic=topic,
        reason=tell.reason,
        severity=tell.severity,
        title=f"{_whose(release)}: {_title(release, tell)}",
        message=tell.message,
        why=tuple(_why(release, tell, rules))[:MOST_REASONS],
        next=_next(release, tell, app),
        commands=tuple(_commands(release, tell, app)),
        links=_links(rules, graph_url, at),
        at=at,
        namespace=release.namespace,
        application=release.spec.application,
        release=release.name,
        version=release.spec.version,
        phase=release.phase.value,
        actor=actor(tell),
        evidence={name: str(value)[-LONGEST_EVIDENCE:] for name, value in tell.evidence.items()},
        thread=release.uid,
        resolves=tell.key == "end" and not _needs_somebody(release),
    )


def refused_files(problems: Sequence[str], at: datetime, key: str, thread: str, namespace: str) -> Notice:
    """That files are refused (S10); with no problems, that they are right again."""
    if not problems:
        return Notice(
            key=key,
            topic="files",
            reason="FilesAccepted",
            severity="info",
            title="bluegreen-watcher: the files are right again",
            message="The files are right again and in force.",
            at=at,
            thread=thread,
            namespace=namespace,
        )
    count = "a file is" if len(problems) == 1 else f"{len(problems)} things in files are"
    return Notice(
        key=key,
        topic="files",
        reason="FilesRefused",
        severity="warning",
        title="bluegreen-watcher: files are refused",
        message=f"What changed is not in force: {count} wrong. {problems[0]}",
        why=tuple(problems[:MOST_REASONS]),
        next="The last good files stay in force until these are mended; running Releases keep their own rules anyway.",
        commands=("watcher rules lint DIRECTORY",),
        at=at,
        thread=thread,
        namespace=namespace,
    )


def sample(channel: str, at: datetime) -> Notice:
    """A message that says of itself that it is only a try."""
    return Notice(
        key=f"test/{channel}/{int(at.timestamp())}",
        topic="end",
        reason="Test",
        severity="critical",
        title="chatbot-platform 2.4.1: rolled back (only a test of this channel)",
        message="This is a test of the notification channel; nothing has happened. A real message reads like this: "
        "Rolled back from green (2.4.1) to blue (2.4.0): error-rate was 4.2% (limit 1%) for 30 s.",
        why=("http/error-rate (breach): 0.042 against > 1%, since 14:02:41 UTC",),
        next="2.4.1 stays out until somebody says --force.",
        commands=("watcher release show chatbot-platform-x7k2p -n chatbot-platform-prod --evidence",),
        at=at,
        namespace="chatbot-platform-prod",
        application="chatbot-platform",
        release="chatbot-platform-x7k2p",
        version="2.4.1",
        phase=Phase.ROLLED_BACK.value,
        evidence={"rule": "http/error-rate", "value": "0.042", "threshold": "> 1%"},
        thread=f"test/{channel}",
    )


def _whose(release: Release) -> str:
    return " ".join(word for word in (release.spec.application, release.spec.version) if word)


def _title(release: Release, tell: Tell) -> str:
    if tell.key == "end":
        return _ENDS.get(release.phase, release.phase.value)
    if tell.reason in ("Switched", "SwitchedBack"):
        back = " back" if tell.reason == "SwitchedBack" else ""
        return f"traffic is{back} on {tell.evidence.get('to', 'the other colour')}"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tell.reason).lower()
    known = _TITLES.get(tell.reason)
    return known or (f"needs somebody: {words}" if tell.key.startswith("attention/") else words)


def _needs_somebody(release: Release) -> bool:
    return any(c.type == "NeedsAttention" and c.status == "True" for c in release.status.conditions)


# -- why --------------------------------------------------------------------------------------------------------------


def _rules(release: Release, tell: Tell) -> list[RuleRecord]:
    """The rules that a message is about: the one that decided, or those that did not pass."""
    status = release.status
    if tell.key.startswith("breach/"):
        return [rule for rule in status.rules if tell.key == f"breach/{rule.name}"]
    if tell.key.startswith(("attention/", "blind/", "extended")):
        return [rule for rule in status.rules if rule.outcome != "pass"]
    decided = status.rollback or status.would
    back = tell.key in ("verdict", "end") or tell.key.startswith("would/") or tell.reason == "SwitchedBack"
    return [rule for rule in status.rules if decided and back and decided.code == f"rule/{rule.name}"]


def _why(release: Release, tell: Tell, rules: Sequence[RuleRecord]) -> Iterator[str]:
    for rule in rules:
        value = f"{rule.value:.6g}" if isinstance(rule.value, float) else str(rule.value)
        against = f" against {rule.threshold}" if rule.threshold else ""
        measured = f": {value}{against}" if rule.value is not None else f": {rule.message}" if rule.message else ""
        since = f", since {_clock(rule.since)}" if rule.since else ""
        yield f"{rule.name} ({rule.outcome}){measured}{since}"
    if tell.key in ("verdict", "end"):
        for check in release.status.checks:
            if not check.ok:
                yield f"check {check.id}: {check.message}"
    if tell.evidence.get("why"):
        yield f"{actor(tell)} says: {tell.evidence['why']}"


def _links(rules: Sequence[RuleRecord], graph_url: str, at: datetime) -> dict[str, str]:
    """A graph of each rule's query, around the time of the message."""
    if not graph_url:
        return {}
    end = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    links = {}
    for rule in rules[:MOST_REASONS]:
        asked = {"g0.expr": rule.query, "g0.tab": "0", "g0.range_input": GRAPH_RANGE, "g0.end_input": end}
        link = f"{graph_url.rstrip('/')}/graph?{urlencode(asked)}"
        if rule.query and len(link) <= LONGEST_LINK:
            links[f"Graph of {rule.name}"] = link
    return links


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S UTC")


# -- what comes next, and what to do ----------------------------------------------------------------------------------


def _next(release: Release, tell: Tell, app: Application | None) -> str:
    status, colors = release.status, release.status.colors
    here, there = (colors.from_, colors.to) if colors else ("the previous colour", "the new colour")
    if tell.key == "end":
        return _after_the_end(release, here)
    if tell.reason == "Switched":
        watch = f" for {format_duration(app.spec.watch.duration)}" if app else ""
        return f"It is verified, then watched{watch}; traffic goes back to {here} by itself when a rule is breached."
    if tell.key == "verdict":
        return f"Traffic goes back to {here} as soon as its pods are ready; nobody has to do anything for that."
    if tell.reason == "SwitchedBack":
        return f"{here} serves. Hooks run, then the Release ends as RolledBack."
    if tell.reason == "WayBackLost":
        return f"A rollback now would have to wait until pods of {here} are ready; the watch goes on."
    if tell.reason == "Blind":
        return "The watch goes on, and cannot end as passed before the rules get numbers again; nothing goes back."
    if tell.reason == "Inconclusive":
        return (
            f"{there} serves, {here} stays warm. It completes by itself once the rules have seen enough; "
            f"otherwise it stays so until somebody decides."
        )
    if tell.key.startswith("attention/"):
        return "The Release waits for somebody, and goes on by itself once the cause is gone."
    if tell.key.startswith("would/"):
        return "Nothing moves: this watch only observes."
    return "" if status.ended_at or tell.key == "deleted" else "The Release goes on."


def _after_the_end(release: Release, here: str) -> str:
    keep, version = release.status.keep, release.spec.version or "this version"
    until = f" until {_clock(keep.until)}" if keep else ""
    match release.phase:
        case Phase.COMPLETED:
            return f"The way back to {here} stays warm{until}." if keep else "Nothing; the Release has ended."
        case Phase.ROLLED_BACK:
            kept = f" Its pods stay for a look{until}." if keep else ""
            return f"{version} stays out until somebody says --force.{kept}"
        case Phase.FAILED:
            kept = f" The pods of the new version stay for a look{until}." if keep else ""
            return f"Nothing: traffic never left {here}.{kept}"
    return "Nothing; the Release has ended."


def _commands(release: Release, tell: Tell, app: Application | None) -> Iterator[str]:
    where = f"-n {release.namespace}"
    go_back = f"watcher rollback {release.spec.application} {where}"
    status = release.status
    serves = bool(status.switched_at) and status.rollback is None and status.left is None
    if tell.key == "deleted":
        yield f"watcher status {where}"
        return
    yield f"watcher release show {release.name} {where} --evidence"
    if serves and (not release.phase.terminal or release.phase is Phase.COMPLETED):
        yield go_back
    if release.phase is Phase.AWAITING_APPROVAL:
        yield f"watcher release approve {release.name} {where} --reason TEXT"
    if tell.reason in ("WayBackLost", "RollbackWaits") and app and status.colors:
        yield f"kubectl {where} get pods,deployment/{app.deployment(status.colors.from_)}"
    if tell.reason in ("Blind", "Inconclusive"):
        yield f"watcher doctor {release.spec.application} {where}"
