"""What every document and stored record is made of: strict, frozen pydantic models with camelCase keys.

A model takes exactly the keys that it names, no lax conversion, and no NaN or infinity; what it writes as JSON it reads
back as an equal model. Load it from JSON (`model_validate_json`): strict Python mode refuses the texts that JSON has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic.alias_generators import to_camel

from watcher.core.units import VALUE_PATTERN, Invalid, Quantity, format_duration, parse_duration, parse_value, shown

API_GROUP = "watcher.bluegreen.dev"
API_VERSION = "watcher.bluegreen.dev/v1alpha1"

ApiVersion = Literal["watcher.bluegreen.dev/v1alpha1"]
Mode = Literal["enforce", "observe"]

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Model(BaseModel):
    """The base of everything that is read from a file or written to the cluster."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    hints: ClassVar[Mapping[str, str]] = {}
    """Cures for keys that people try here and that do not exist, by key."""
    of_version: ClassVar[str] = API_VERSION
    """The `apiVersion` of a document of this kind."""


def _to_duration(given: object) -> timedelta:
    if isinstance(given, timedelta):
        return given
    if isinstance(given, str):
        return parse_duration(given)
    if isinstance(given, int | float) and not isinstance(given, bool):
        raise Invalid(f"{given} is a duration without a unit", f'did you mean "{given}s"?')
    raise Invalid("this is no duration", 'write a text such as "30s"')


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta():
        raise Invalid(f"{format_duration(duration)} is too short", 'write a duration above zero, such as "30s"')
    return duration


def _to_value(given: object) -> Quantity:
    if isinstance(given, Quantity):
        return given
    if isinstance(given, str):
        return parse_value(given)
    if isinstance(given, int | float) and not isinstance(given, bool):
        return parse_value(str(given))
    raise Invalid("this is no number", 'write a number with or without a unit, as in "1%", "250ms", "0.5"')


def _is_name(given: str) -> str:
    if _DNS_LABEL.fullmatch(given) is None:
        better = re.sub(r"[^a-z0-9]+", "-", given.lower())[:63].strip("-")
        cure = f'did you mean "{better}"?' if better else 'write one such as "error-rate"'
        problem = f"{shown(given)} is no name (lower-case letters, digits and -, at most 63)"
        raise Invalid(problem, cure)
    return given


def _is_path(given: str) -> str:
    if not given.startswith("/"):
        cure = (
            'write only what follows the host, as in "/readyz"'
            if "://" in given
            else f"did you mean {shown('/' + given)}?"
        )
        raise Invalid(f"the path {shown(given)} does not begin with /", cure)
    return given


def _is_url(given: str) -> str:
    if re.match(_URL, given) is None:
        cure = 'write one such as "https://flags.example/off"'
        if "://" not in given and re.match(r"[^/\s]", given):
            cure = f"did you mean {shown('https://' + given)}?"
        raise Invalid(f"{shown(given)} is no address of a web server", cure)
    return given


def _is_sent_url(given: str) -> str:
    return given if re.match(_REFERENCE, given) else _is_url(given)


_URL = r"^https?://[^/\s]"
_REFERENCE = r"^\s*\{\{\s*secrets\."

Duration = Annotated[
    timedelta,
    PlainValidator(_to_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$", "examples": ["30s", "1m30s"]}
    ),
]
"""A length of time, written `30s`, `1m30s`, `250ms`."""

PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""A length of time above zero."""

Value = Annotated[
    Quantity,
    PlainValidator(_to_value),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": ["string", "number"], "pattern": VALUE_PATTERN, "examples": ["1%", "250ms", "2GiB", "10/s", 0.5]}
    ),
]
"""A number with or without a unit. It keeps the text as written, and is written back so."""

UrlPath = Annotated[str, AfterValidator(_is_path), Field(json_schema_extra={"pattern": "^/"})]
"""The path of a request, with its query if it has one."""

Url = Annotated[str, AfterValidator(_is_url), Field(json_schema_extra={"pattern": _URL})]
"""The whole address of a request."""

SentUrl = Annotated[str, AfterValidator(_is_sent_url), Field(json_schema_extra={"pattern": f"{_URL}|{_REFERENCE}"})]
"""The whole address of a request, or a secret that holds it."""

Name = Annotated[str, AfterValidator(_is_name), Field(json_schema_extra={"pattern": f"^{_DNS_LABEL.pattern}$"})]
"""A DNS label (RFC 1123): lower-case letters, digits and `-`, at most 63 characters."""


class Metadata(Model):
    """The part of a Kubernetes object's metadata that a file may carry."""

    name: Name
    namespace: Name | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


def plain(model: Model) -> dict[str, Any]:
    """The model as JSON data with camelCase keys, without what was left at None."""
    return model.model_dump(mode="json", exclude_none=True)
