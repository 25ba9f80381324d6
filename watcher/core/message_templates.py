"""What a channel says in words of its own: a Jinja2 template over a notice, in a sandbox.

What always holds: a template reads the notice and nothing else; it can neither call into the program nor take its
memory; and one that cannot work is refused when it is read, with its line.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from watcher.core.notices import Notice
from watcher.core.units import Invalid, near_miss

LONGEST = 8000
"""Characters of a rendered message; chats take few thousand."""
LARGEST_PRODUCT = 10_000
_GROWING = {"ljust", "rjust", "center", "zfill", "expandtabs", "replace", "join", "format", "format_map", "translate"}
"""Methods of texts that make something of any length out of little."""


class Unrendered(Exception):
    """The template failed; the default text takes its place."""


class _Environment(ImmutableSandboxedEnvironment):
    """Without what could ask for all memory by few characters."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [side if isinstance(side, int | float) else len(side) for side in (left, right)]
        if operator == "**" or (operator == "%" and isinstance(left, str)) or sizes[0] * sizes[1] > LARGEST_PRODUCT:
            raise SecurityError(f"{operator} is not for such values here")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        """Give no way to `format`, which pads to any length."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _GROWING and bool(super().is_safe_attribute(obj, attr, value))


_ENVIRONMENT = _Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
# What pads or repeats to any length that it is asked for.
for _name in ("center", "indent", "format", "tojson", "xmlattr", "pprint", "random"):
    del _ENVIRONMENT.filters[_name]
for _name in tuple(_ENVIRONMENT.globals):
    del _ENVIRONMENT.globals[_name]

VARIABLES = (*Notice.model_fields, "look")
"""What a template may name."""


def check(text: str) -> None:
    """Raise Invalid, with line and column, for a template that cannot be rendered."""
    try:
        tree = _ENVIRONMENT.parse(text)
        names = meta.find_undeclared_variables(tree)
        _ENVIRONMENT.from_string(text)
    except TemplateSyntaxError as error:
        problem = f"the template is wrong: {(error.message or 'it cannot be read').rstrip('.')}"
        raise Invalid(problem, "correct it (Jinja2)", path=("template",), line=error.lineno, column=1) from None
    for name in sorted(names - set(VARIABLES)):
        near = near_miss(name, VARIABLES)
        cure = f'did you mean "{near}"?' if near else f"the names here are {', '.join(VARIABLES)}"
        line, column = _place(text, name)
        raise Invalid(
            f"the template names {name}, which no message has", cure, path=("template",), line=line, column=column
        )


def _place(text: str, name: str) -> tuple[int, int]:
    """The line and column (from 1) of a name's first use as a name."""
    line = next(line for line, kind, value in _ENVIRONMENT.lex(text) if kind == "name" and value == name)
    return line, text.splitlines()[line - 1].find(name) + 1


@lru_cache(maxsize=64)
def _compiled(text: str) -> Callable[..., Any]:
    return _ENVIRONMENT.from_string(text).generate


def render(text: str, notice: Notice, quoted: Callable[[str], str]) -> str:
    """The message in the template's words, cut where it is too long. `quoted` makes a value plain text in the channel's
    markup. Raises Unrendered with a sentence.
    """
    found, size = [], 0
    values = {name: _quoted(getattr(notice, name), quoted) for name in VARIABLES}
    try:
        for piece in _compiled(text)(**values):
            found.append(piece)
            size += len(piece)
            if size > LONGEST:
                break
    # A template can fail in any way that its expressions can.
    except Exception as error:  # noqa: BLE001
        raise Unrendered(f"{type(error).__name__}: {error}"[:300]) from None
    return "".join(found)[:LONGEST].strip()


def _quoted(value: Any, quoted: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return {key: quoted(inner) for key, inner in value.items()}
    return tuple(map(quoted, value)) if isinstance(value, tuple) else value
