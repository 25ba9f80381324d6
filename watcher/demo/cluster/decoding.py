"""From the bytes of a request to JSON data, and the refusals on the way."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from watcher.demo.cluster.errors import ApiError, bad_request, unsupported_media_type

LARGEST = 3 * 1024 * 1024
"""Bytes in a request body; the real server's limit."""


def decode(raw: bytes, content_type: str) -> Any:
    """The body of a write. JSON when no type is given; protobuf is refused with a 415."""
    media = _media(content_type)
    if media in ("", "application/json", "*/*"):
        return _json(raw)
    if media in ("application/yaml", "application/x-yaml"):
        return _yaml(raw)
    raise unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml"
    )


def decode_patch(raw: bytes, content_type: str) -> tuple[str, Any]:
    """The media type of a patch and its content."""
    media = _media(content_type)
    return media, _yaml(raw) if media.endswith("+yaml") else _json(raw)


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _json(raw: bytes) -> Any:
    _check_size(raw)
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def _yaml(raw: bytes) -> Any:
    # What kubectl sends as YAML is mostly JSON, and the JSON parser is a hundred times faster.
    if raw.lstrip()[:1] == b"{":
        return _json(raw)
    _check_size(raw)
    try:
        return json.loads(json.dumps(YAML(typ="safe", pure=True).load(raw), default=str))
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        raise bad_request(f"error decoding YAML: {error}") from error


def _check_size(raw: bytes) -> None:
    if len(raw) > LARGEST:
        message = f"Request entity too large: limit is {LARGEST}"
        raise ApiError(413, "RequestEntityTooLarge", message, {})


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"invalid character in {text}")
