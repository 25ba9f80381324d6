"""The OpenAPI document: made of the operations and their models, so that it cannot say anything else than they do.

`python -m watcher.api.openapi` prints it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from watcher.api.dispatch import Operation
from watcher.api.documents import ProblemDetails, ReleaseName
from watcher.api.problems import MEDIA_TYPE
from watcher.core.models import Name

DOCUMENT = "/api/v1/openapi.json"
REF = "#/components/schemas/"
KEPT_BACK = {"Release": ("asked",), "Status": ("pinned",)}
"""What a model has and no answer shows."""
REFUSALS = {
    400: "The request cannot be understood.",
    401: "No token, or none that is let in.",
    403: "The caller may not.",
    404: "There is no such thing that the caller may see.",
    405: "The path does not know this method.",
    409: "What is there does not allow it, or its Idempotency-Key was used for another request.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    422: "The body is not as it should be.",
    429: "Too many requests.",
    502: "The cluster refuses it to the daemon.",
    503: "The cluster, or Prometheus, does not answer; nothing was changed.",
    504: "The cluster did not say whether it happened.",
}
READING = (400, 401, 405, 429, 502, 503)
WRITING = (403, 413, 415, 422, 504)
DESCRIPTION = "Ask for releases, follow them and steer them. Who may: docs/api.md."
FROM_LOOPBACK = " From loopback it needs no token."
KEY_DESCRIPTION = "A request that is sent again with its key is followed once."


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {DOCUMENT: {"get": _itself()}}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    schemas = _schemas(operations)
    responses = {str(status): _refusal(status) for status in sorted(REFUSALS)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bluegreen Watcher", "version": "v1", "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(_reached(json.dumps([paths, responses]), schemas))),
            "responses": responses,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _itself() -> dict[str, Any]:
    good = {"description": "This document.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"operationId": "readDocument", "summary": "This document.", "security": [], "responses": {"200": good}}


def _operation(operation: Operation) -> dict[str, Any]:
    writes = operation.method == "POST"
    refused = sorted({*READING, *(WRITING if writes else ()), *operation.refusals})
    found: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": f"For the role {operation.role.value}." + ("" if writes else FROM_LOOPBACK),
        "parameters": [*_path(operation.path), *_query(operation), *((_key(),) if writes else ())],
    }
    if operation.body is not None:
        needed = any(info.is_required() for info in operation.body.model_fields.values())
        schema = {"$ref": REF + operation.body.__name__}
        found["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    answers = {str(status): _answer(operation, status) for status in operation.answers}
    refusals = {str(status): {"$ref": f"#/components/responses/{status}"} for status in refused}
    if not writes:
        found["security"] = [{"token": []}, {}]
    return found | {"responses": answers | refusals}


def _path(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = TypeAdapter(ReleaseName if name == "release" else Name).json_schema()
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    schema = operation.query.model_json_schema(ref_template=REF + "{model}")
    for name, one in schema["properties"].items():
        variants = one.get("anyOf", ())
        (shape,) = [v for v in variants if v.get("type") != "null"] or [one]
        shape = {key: value for key, value in shape.items() if key != "title"}
        if one.get("default") is not None:
            shape["default"] = one["default"]
        yield {"name": name, "in": "query", "required": False, "schema": shape}


def _key() -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": schema,
        "description": KEY_DESCRIPTION,
    }


def _answer(operation: Operation, status: int) -> dict[str, Any]:
    said, model = operation.answers[status]
    schema = {"$ref": REF + model.__name__} if model else {"type": "string"}
    found: dict[str, Any] = {"description": said, "content": {operation.media_type: {"schema": schema}}}
    if status == 201:
        found["headers"] = {"Location": {"schema": {"type": "string"}, "required": True}}
    return found


def _refusal(status: int) -> dict[str, Any]:
    schema = {"$ref": REF + ProblemDetails.__name__}
    found: dict[str, Any] = {"description": REFUSALS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
    headers = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
    if status in headers:
        found["headers"] = {headers[status]: {"schema": {"type": "string"}, "required": True}}
    return found


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    """The schema of every model by its own name."""
    models: dict[type[BaseModel], None] = {ProblemDetails: None}
    for operation in operations:
        answers = [model for _, model in operation.answers.values()]
        models |= {model: None for model in (operation.query, operation.body, *answers) if model is not None}
    _, whole = models_json_schema([(model, "validation") for model in models], ref_template=REF + "{model}")
    schemas: dict[str, Any] = whole["$defs"]
    for name, hidden in KEPT_BACK.items():
        for one in hidden:
            del schemas[name]["properties"][one]
    del schemas["Release"]["properties"]["status"]["default"]
    return _short(schemas)


def _short(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """With the names of two models that are called the same, one of which no answer has, made short again."""
    reached = dict(_reached(json.dumps(schemas["Release"]), schemas))
    text = json.dumps({name: one for name, one in schemas.items() if "__" not in name or name in reached})
    for name in reached:
        if "__" in name:
            text = text.replace(name, name.rpartition("__")[2])
    found: dict[str, Any] = json.loads(text)
    return found


def _reached(text: str, schemas: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The schemas that a text leads to."""
    found: dict[str, Any] = {}
    wanted = re.findall(REF + r"(\w+)", text)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = schemas[name]
            wanted += re.findall(REF + r"(\w+)", json.dumps(schemas[name]))
    return found.items()


def main() -> None:
    """Print the document, as docs/openapi.json has it."""
    from watcher.api.v1 import OPERATIONS  # noqa: PLC0415 - it imports this module's neighbours, which import this one

    print(json.dumps(document(OPERATIONS), indent=2))  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    main()
