"""Alerts from outside: which of them an Application means, what an Alertmanager sends (version 4), and what a Release
keeps of them.

What always holds: an alert is known again by its fingerprint; what is kept is bounded, however much somebody sends.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from watcher.core.models import Model
from watcher.core.units import Invalid, flat, shown

Action = Literal["rollback", "hold", "notify"]
STRENGTH: tuple[Action, ...] = ("rollback", "hold", "notify")

LONGEST_NAME, LONGEST_SUMMARY = 100, 200
"""Characters that are kept of a name or a label, and of what an alert says of itself."""
MOST_LABELS = 8

_NO_WORD = re.compile(r"[^A-Za-z0-9_.:-]+")
_MATCHER = re.compile(r'(=~|!~|!=|=)?("?)(.*)\2', re.DOTALL)


def _is_matcher(given: str) -> str:
    sign, pattern = _parts(given)
    if sign in ("=~", "!~"):
        try:
            re.compile(pattern)
        except re.error as error:
            raise Invalid(f"{shown(pattern)} is no regular expression ({error})", "correct it") from None
    return given


def _parts(given: str) -> tuple[str, str]:
    found = _MATCHER.fullmatch(given)
    assert found is not None
    return found[1] or "=", found[3]


Matcher = Annotated[str, AfterValidator(_is_matcher)]
"""The value of a label: `critical`, or as Alertmanager writes it: `=~"chat.*"`, `!=staging`, `!~"test-.*"`."""


class AlertUse(Model):
    """Which alerts mean this Application, and what is done."""

    match: Annotated[dict[str, Matcher], Field(min_length=1)]
    action: Action


class _Sent(Model):
    """A part of what somebody sends, or an older version kept: it may say more."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, frozen=True)


class Alert(_Sent):
    """One alert as it is sent."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    starts_at: str = ""
    fingerprint: str = ""

    @property
    def name(self) -> str:
        return _line(self.labels.get("alertname", ""), LONGEST_NAME) or "unnamed"

    @property
    def began(self) -> datetime | None:
        """When it began; None where that cannot be understood."""
        try:
            return TypeAdapter(AwareDatetime).validate_python(self.starts_at)
        except ValidationError:
            return None

    def about(self, namespace: str, name: str) -> bool:
        """Whether it may be about an Application."""
        return True

    @property
    def known_by(self) -> str:
        """What it is known again by: its fingerprint, or where it has none its labels."""
        if 0 < len(self.fingerprint) <= LONGEST_NAME and self.fingerprint.isprintable():
            return self.fingerprint
        return digest(self.fingerprint or str(sorted(self.labels.items())))

    @property
    def summary(self) -> str:
        """What it says of itself, in one line."""
        found = (self.annotations.get(name, "") for name in ("summary", "message", "description"))
        return _line(next(filter(None, found), "").strip().removesuffix("."), LONGEST_SUMMARY)


class Mapped(Alert):
    """An alert of another program than an Alertmanager. It may name the Application that it is about, as `NAME` or
    `NAMESPACE/NAME`; it is about no other then."""

    application: str = ""

    def about(self, namespace: str, name: str) -> bool:
        return self.application in ("", name, f"{namespace}/{name}")


def _whole(given: object) -> object:
    """2.0 is an integer in JSON; neither a text nor a truth is one."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


class Notice(_Sent):
    """What an Alertmanager posts: the alerts of one group, or as many of them as it is allowed to send."""

    version: Literal["4"]
    receiver: str = ""
    group_key: str = ""
    group_labels: dict[str, str] = {}
    truncated_alerts: Annotated[int, Field(ge=0), BeforeValidator(_whole)] = 0
    alerts: tuple[Alert, ...] = ()

    def report(self) -> Report:
        return Report(
            self.alerts, digest(f"{self.receiver} {self.group_key}"), self.group_labels, self.truncated_alerts
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody sent at once, whoever it is."""

    alerts: tuple[Alert, ...]
    group: str = ""
    """By which it is known that a later one speaks of the same alerts; empty where it does not."""
    group_labels: Mapping[str, str] = field(default_factory=dict)
    """What all alerts of the group have, those too that were left out."""
    left_out: int = 0


class Heard(_Sent):
    """An alert as a Release keeps it: one that its Application means, and that began after the flip."""

    name: str
    state: Literal["firing", "resolved"]
    action: Action
    fingerprint: str
    starts_at: datetime
    heard_at: datetime
    over: datetime | None = None
    """Of one that was resolved: what began by then is over too."""
    resolved_at: datetime | None = None
    """When that was heard."""
    labels: dict[str, str] = {}
    """Those that it was meant by, and its severity."""
    summary: str = ""
    by: str = ""
    """Who sent it."""
    group: str = ""

    @property
    def code(self) -> str:
        """The reason of what it leads to, as a word."""
        return f"alert/{_NO_WORD.sub('-', self.name).strip('-') or 'unnamed'}"

    @property
    def key(self) -> str:
        return digest(f"{self.fingerprint} {self.starts_at.isoformat()}")

    def said(self, switched_at: datetime) -> str:
        """`alert HighErrorRate (severity critical) fired 40 s after the flip: Too many 5xx`."""
        severity = self.labels.get("severity", "")
        of = f" (severity {severity})" if severity else ""
        after = (self.starts_at - switched_at).total_seconds()
        return f"alert {self.name}{of} fired {after:.0f} s after the flip" + (
            f": {self.summary}" if self.summary else ""
        )

    def evidence(self) -> dict[str, object]:
        """What a decision that it led to rests on."""
        return {
            "alert": self.name,
            "summary": self.summary,
            "startsAt": self.starts_at.isoformat(),
            "heardAt": self.heard_at.isoformat(),
            "by": self.by,
            "fingerprint": self.fingerprint,
            "labels": " ".join(f"{name}={value}" for name, value in self.labels.items()),
        }


class Incomplete(_Sent):
    """A group of alerts of which some were left out: one of them may matter."""

    group: str
    left_out: int
    since: datetime
    at: datetime
    """When that was last heard."""
    by: str = ""


def action_for(uses: Iterable[AlertUse], alert: Alert) -> Action | None:
    """The strongest action of those whose matchers all match; None where the alert means nothing here."""
    found = {use.action for use in uses if all(_matches(m, alert.labels.get(k, "")) for k, m in use.match.items())}
    return next((action for action in STRENGTH if action in found), None)


def may_hide(uses: Iterable[AlertUse], report: Report) -> bool:
    """Whether one of the alerts that were left out may be meant: what the whole group has does not speak against it."""
    known = report.group_labels
    return report.left_out > 0 and any(
        all(_matches(matcher, known[name]) for name, matcher in use.match.items() if name in known) for use in uses
    )


def labels_of(uses: Iterable[AlertUse], alert: Alert) -> dict[str, str]:
    """The labels that matter to somebody who asks why."""
    names = {"severity": None} | {name: None for use in uses for name in use.match}
    found = {name: _line(alert.labels[name], LONGEST_NAME) for name in names if alert.labels.get(name)}
    return dict(list(found.items())[:MOST_LABELS])


def digest(text: str) -> str:
    """A text of any length as a short one."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _line(text: str, longest: int) -> str:
    """Somebody else's text as part of a sentence."""
    said = flat(text)
    return said if len(said) <= longest else f"{said[: longest - 3]}..."


def _matches(matcher: str, value: str) -> bool:
    """A label that is not there is empty, as for Alertmanager; a regular expression has to match all of it."""
    sign, pattern = _parts(matcher)
    alike = re.fullmatch(pattern, value) is not None if sign.endswith("~") else value == pattern
    return alike is (sign[0] == "=")
