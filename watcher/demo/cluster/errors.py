"""What the API answers when it refuses: a Status object, shaped as a real API server shapes it.

Clients read `code`, `reason` and `details` and never the prose, so every refusal is made here and nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from watcher.demo.cluster.resources import Kind, resource_name
from watcher.demo.cluster.store import StoreError


class ApiError(Exception):
    """A refusal with its HTTP code, its machine-readable reason (few have none) and the `details` of the Status."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with one field. `reason` is a FieldValue... word, `message` starts with its plain form."""

    field: str
    reason: str
    message: str


def required(field: str, message: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value: {message}" if message else "Required value")


def bad_value(field: str, value: object, message: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {_show(value)}: {message}")


def bad_type(field: str, value: object, message: str) -> Cause:
    return Cause(field, "FieldValueTypeInvalid", f"Invalid value: {_show(value)}: {message}")


def unsupported(field: str, value: object, allowed: list[Any]) -> Cause:
    choices = ", ".join(_show(choice) for choice in allowed)
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {_show(value)}: supported values: {choices}")


def forbidden_field(field: str, message: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {message}")


def _show(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def details_of(kind: Kind, name: str = "") -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if kind.group:
        details["group"] = kind.group
    details["kind"] = kind.plural
    return details


def invalid(kind: Kind, name: str, causes: list[Cause]) -> ApiError:
    """422: the object is well formed and still not acceptable. `causes` is not empty."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    what = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {
        **details_of(kind, name),
        "kind": kind.kind,
        "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes],
    }
    return ApiError(422, "Invalid", f'{what} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource_name(kind)} "{name}" not found', details_of(kind, name))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def conflict(kind: Kind, name: str, message: str) -> ApiError:
    text = f'Operation cannot be fulfilled on {resource_name(kind)} "{name}": {message}'
    return ApiError(409, "Conflict", text, details_of(kind, name))


def unprocessable_patch() -> ApiError:
    """What a JSON patch gets that does not apply: the real server hides which operation failed, and so do we."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def patch_misfit(patch: Any, message: str) -> ApiError:
    """A patch whose result has a value of the wrong type."""
    cause = bad_value("patch", json.dumps(patch), message)
    details = {"causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}]}
    return ApiError(422, "Invalid", f' "" is invalid: patch: {cause.message}', details)


def from_store(error: StoreError, kind: Kind, name: str) -> ApiError:
    details = None if error.code == 410 else details_of(kind, name)
    return ApiError(error.code, error.reason, str(error), details)
