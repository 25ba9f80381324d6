"""`watcher rules schema`: JSON Schemas for editors, made from the models that the daemon reads files with.

They say less than the daemon does: what two keys say together, and whether a query is PromQL, only `rules lint` knows.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from watcher.core.units import Quantity, format_duration

EPILOG = (
    "Example: watcher rules schema ruleset > ruleset.json, and as the first line of a rule file: "
    "# yaml-language-server: $schema=ruleset.json. Without a kind the schema takes every kind."
)
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def add_to(group: typer.Typer) -> None:
    """Register the command."""
    group.command("schema", epilog=EPILOG)(schema)


def schema(
    kind: Annotated[str, typer.Argument(help="ruleset, application, settings, ruletest; all of them without it.")] = "",
) -> None:
    """Print a JSON Schema for editors.

    With it an editor knows the keys, their units and what they mean while you type.
    """
    found = schemas().get(kind.lower() or "any")
    if found is None:
        from watcher.core.units import near_miss

        known = [name for name in schemas() if name != "any"]
        meant = near_miss(kind, known)
        cure = f'did you mean "{meant}"?' if meant else f"write one of {', '.join(known)}"
        print(f"watcher: there is no schema of {kind}: {cure}", file=sys.stderr)
        raise typer.Exit(2)
    print(text_of(found), end="")


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its name; `any` is for files of whatever kind."""
    from watcher.core.application import Application
    from watcher.core.rules import RuleSet
    from watcher.core.ruletest import RuleTest
    from watcher.core.settings import Settings

    models: dict[str, type[BaseModel]] = {"ruleset": RuleSet, "application": Application, "settings": Settings}
    models["ruletest"] = RuleTest
    made = {name: _schema_of(model) for name, model in models.items()}
    definitions: dict[str, Any] = {}
    for name, one in made.items():
        # The kinds have parts of one name and different content.
        inner = {f"{name}.{key}": _moved(value, name) for key, value in one.get("$defs", {}).items()}
        top = {key: value for key, value in one.items() if key not in ("$schema", "$defs")}
        definitions |= inner | {name: _moved(top, name)}
    kinds = {name: model.model_fields["kind"].annotation.__args__[0] for name, model in models.items()}  # type: ignore[union-attr]
    made["any"] = {
        "$schema": DIALECT,
        "title": "A file of Bluegreen Watcher",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(kinds.values())}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{name}"}}
            for name, kind in kinds.items()
        ],
        "$defs": definitions,
    }
    return made


def text_of(made: dict[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    made = model.model_json_schema(by_alias=True, schema_generator=_Plain)
    described = {one.__name__: _docstrings(one) for one in _models(model)}
    for name, definition in [(model.__name__, made), *made.get("$defs", {}).items()]:
        for key, value in definition.get("properties", {}).items():
            text = described.get(name, {}).get(key)
            if text:
                value["description"] = text
    return {"$schema": DIALECT, **made}


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Every model that a model is made of."""
    found: set[type[BaseModel]] = set()
    waiting: list[Any] = [model]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            if one not in found:
                found.add(one)
                waiting += [field.annotation for field in one.model_fields.values()]
        else:
            waiting += getattr(one, "__args__", ())
    return found


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """What stands below the fields of a model, by the keys of a file."""
    try:
        source = textwrap.dedent(inspect.getsource(model))
    except OSError:  # installed without its sources
        return {}
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        is_field = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if is_field and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(field, ast.AnnAssign)
            assert isinstance(field.target, ast.Name)
            info = model.model_fields.get(field.target.id)
            if info is not None:
                found[info.alias or field.target.id] = " ".join(str(below.value.value).split())
    return found


class _Plain(GenerateJsonSchema):
    """Without titles that repeat the key, without null, which no file needs to say, and with defaults as files write
    them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, Quantity):
            return dft.text
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", exclude_defaults=True)
        return super().encode_default(dft)


def _moved(node: Any, name: str) -> Any:
    """The references of one kind's schema, for the place that its parts have among all kinds' parts."""
    if isinstance(node, list):
        return [_moved(one, name) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: f"#/$defs/{name}.{value.removeprefix('#/$defs/')}" if key == "$ref" else _moved(value, name)
        for key, value in node.items()
    }
