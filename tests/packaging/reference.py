"""Every key of a document's model with its default, as the documents' tables have them: read from the model itself."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from watcher.core.units import format_duration


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, default) of every key, depth first: `watch.duration`, `windows[].days`. A default is as one writes it in
    YAML, `required`, or `-` where the key may be left out and nothing stands for it. A mapping that has only keys of
    its own has no row."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner, several = _model(field.annotation)
        if inner is None or several or field.is_required() or field.default is None:
            yield path, _default(field)
        if inner is not None:
            yield from keys(inner, f"{path}[]." if several else f"{path}.")


def _model(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that a field holds, if it holds one, and whether it holds a list of them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _model(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return next((one for part in get_args(annotation) if (one := _model(part))[0]), (None, False))
    if origin in (list, tuple):
        for part in get_args(annotation):
            inner, _ = _model(part)
            if inner is not None:
                return inner, True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    return None, False


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    match default:
        case None:
            return "-"
        case bool():
            return str(default).lower()
        case timedelta():
            return format_duration(default)
        case "":
            return '""'
        case dict():
            return "{}"
        case tuple() | list():
            return f"[{', '.join(str(one) for one in default)}]"
        case _:
            return str(default)
