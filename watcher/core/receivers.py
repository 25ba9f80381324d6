"""Webhooks of other programs than an Alertmanager: how what they send is read as alerts, and how they sign it.

What always holds: nothing is guessed. What a mapping does not find is named in words, and counts for nothing; a
signature is compared in constant time; and since an alert counts by the beginning that its sender names in what is
signed, what is sent again later changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from watcher.core.access import SHORTEST_TOKEN, Scopes
from watcher.core.alerts import Mapped, Report, digest
from watcher.core.models import Model, Name, PositiveDuration
from watcher.core.units import Invalid, shown

BUILT_IN = "alertmanager"
MILLISECONDS = 100_000_000_000
"""Unix times from here on are in milliseconds: in seconds they would be in the year 5138."""


def _is_path(given: str) -> str:
    if not all(given.split(".")):
        raise Invalid(
            f"{shown(given)} is no path in JSON", 'write names with dots between them, as in "labels.severity"'
        )
    return given


Path = Annotated[str, AfterValidator(_is_path)]
"""Where something stands in JSON: names, and numbers in lists, with dots between them: `alerts.0.labels.severity`."""


class Fixed(Model):
    """What the sender does not say, because it is always the same."""

    value: str


Source = Path | Fixed


class State(Model):
    """Where it says whether the alert fires, and in which words. Any other word means neither."""

    path: Path
    firing: Annotated[tuple[str, ...], Field(min_length=1)]
    resolved: tuple[str, ...] = ()


class Signature(Model):
    """How the sender signs what it sends: HMAC-SHA256 in hexadecimal digits."""

    secret_file: str
    header: Annotated[str, Field(min_length=1)] = "X-Hub-Signature-256"
    prefix: str = "sha256="
    timestamp_header: str | None = None
    """The header with the time (Unix seconds) that is signed as `TIME:BODY`; without it the body alone is signed."""
    tolerance: PositiveDuration = timedelta(minutes=5)
    applications: Scopes

    def holds(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: datetime) -> bool:
        """Whether one of the secrets (a line each) has signed it, and not too long ago."""
        signed = body
        if self.timestamp_header is not None:
            said = headers.get(self.timestamp_header.lower(), "")
            if not (said.isascii() and said.isdigit() and len(said) < 12):
                return False
            if abs(now.timestamp() - int(said)) > self.tolerance.total_seconds():
                return False
            signed = f"{said}:".encode() + body
        given = headers.get(self.header.lower(), "").encode("utf-8", "replace")
        found = False
        for text in secrets:
            for line in text.split():
                wanted = self.prefix + hmac.new(line.encode(), signed, hashlib.sha256).hexdigest()
                found |= hmac.compare_digest(wanted.encode(), given) and len(line) >= SHORTEST_TOKEN
        return found


class Receiver(Model):
    """A webhook of its own, `/webhooks/NAME`, and how what is posted there is read as alerts."""

    name: Name
    alerts: Path | None = None
    """Where the list of alerts stands; without it the whole body is one. What follows is looked for in each alert."""
    state: State
    identity: Source
    starts_at: Path
    reason: Source
    severity: Source | None = None
    application: Source | None = None
    summary: Source | None = None
    labels: dict[str, Source] = {}
    group: Path | None = None
    left_out: Path | None = None
    """Where the body says how many alerts of its group it leaves out."""
    signature: Signature | None = None

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.name == BUILT_IN:
            raise Invalid(f"{BUILT_IN} is there already", "give it another name", path=("name",))
        if self.left_out and not self.group:
            problem = "leftOut says nothing without group: nobody would know when all were sent"
            raise Invalid(problem, "name the group's path, or neither", path=("leftOut",))
        return self

    def read(self, body: Any) -> Report | list[str]:
        """What is reported; or what is missing, in words."""
        items = [body] if self.alerts is None else at(body, self.alerts)
        if not isinstance(items, list):
            return [f"{self.alerts} is no list"]
        missing: list[str] = []
        found = [alert for index, item in enumerate(items) if (alert := self._alert(item, index, missing))]
        group = text(at(body, self.group)) if self.group else ""
        left_out = at(body, self.left_out) if self.left_out else 0
        count = left_out if isinstance(left_out, int) and left_out > 0 else 0
        return missing or Report(tuple(found), digest(f"{self.name} {group}") if group else "", {}, count)

    def _alert(self, item: Any, index: int, missing: list[str]) -> Mapped | None:
        said = text(at(item, self.state.path))
        status: Literal["firing", "resolved"] = "resolved" if said in self.state.resolved else "firing"
        if said not in (*self.state.firing, *self.state.resolved):
            return None
        began, identity, reason = when(at(item, self.starts_at)), _taken(item, self.identity), _taken(item, self.reason)
        needed = {"startsAt": began, "identity": identity, "reason": reason}
        lacks = [f"{name} is missing or not understood in alert {index}" for name, value in needed.items() if not value]
        if lacks or began is None:
            missing += lacks
            return None
        labels = {name: _taken(item, source) for name, source in self.labels.items()}
        labels |= {"alertname": reason, "receiver": self.name}
        labels |= {"severity": _taken(item, self.severity)} if self.severity else {}
        return Mapped(
            status=status,
            labels={name: value for name, value in labels.items() if value},
            annotations={"summary": _taken(item, self.summary)} if self.summary else {},
            starts_at=began.isoformat(),
            fingerprint=f"{self.name}/{identity}",
            application=_taken(item, self.application) if self.application else "",
        )


def at(document: Any, path: str) -> Any:
    """Follow a path through objects and, by number, lists; None where it leads nowhere."""
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def text(found: Any) -> str:
    """A single value as text; empty for what is none."""
    if isinstance(found, bool):
        return str(found).lower()
    return str(found) if isinstance(found, str | int | float) else ""


def when(found: Any) -> datetime | None:
    """A time: as text with its zone, or Unix time in seconds or milliseconds."""
    said = text(found)
    try:
        number = float(said)
    except ValueError:
        try:
            return TypeAdapter(AwareDatetime).validate_python(said)
        except ValidationError:
            return None
    try:
        return datetime.fromtimestamp(number / 1000 if number >= MILLISECONDS else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _taken(item: Any, source: Source) -> str:
    return source.value if isinstance(source, Fixed) else text(at(item, source))
