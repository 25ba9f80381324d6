"""Alerts from outside: what an Alertmanager sends (version 4), which of them an Application means, and what follows.

What always holds: only an alert that began after the flip counts against it, each once however often it is sent; what
one alert held, only its own end lets go; and a verdict stays what it is, whatever ends.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from watcher.core.models import Model
from watcher.core.units import Invalid, shown

Action = Literal["rollback", "hold", "notify"]
STRENGTH: tuple[Action, ...] = ("rollback", "hold", "notify")

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
    """A part of what an Alertmanager sends: it may say more."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, frozen=True)


class Alert(_Sent):
    """One alert."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = {}
    starts_at: str = ""
    fingerprint: str = ""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "an alert without a name")

    @property
    def began(self) -> datetime | None:
        """When it began; None where that cannot be understood."""
        try:
            return TypeAdapter(AwareDatetime).validate_python(self.starts_at)
        except ValidationError:
            return None

    @property
    def key(self) -> str:
        """By which it is known again: its fingerprint and when it began."""
        said = f"{self.fingerprint or sorted(self.labels.items())} {self.starts_at}"
        return "alert-" + hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _whole(given: object) -> object:
    """2.0 is an integer in JSON; neither a text nor a truth is one."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


class Notice(_Sent):
    """What an Alertmanager posts."""

    version: Literal["4"]
    truncated_alerts: Annotated[int, Field(ge=0), BeforeValidator(_whole)] = 0
    alerts: tuple[Alert, ...] = ()


def action_for(uses: tuple[AlertUse, ...] | list[AlertUse], alert: Alert) -> Action | None:
    """The strongest action of those whose matchers all match; None where the alert means nothing here."""
    found = {use.action for use in uses if all(_matches(m, alert.labels.get(k, "")) for k, m in use.match.items())}
    return next((action for action in STRENGTH if action in found), None)


def counts(alert: Alert, switched_at: datetime) -> bool:
    """Whether it began after the flip."""
    began = alert.began
    return began is not None and began > switched_at


def _matches(matcher: str, value: str) -> bool:
    """A label that is not there is empty, as for Alertmanager; a regular expression has to match all of it."""
    sign, pattern = _parts(matcher)
    alike = re.fullmatch(pattern, value) is not None if sign.endswith("~") else value == pattern
    return alike is (sign[0] == "=")
