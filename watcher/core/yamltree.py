"""YAML 1.2 as a tree in which every key and value knows its line and column.

It is built from parser events and not by a loader, because that way all of these hold for any text whatever: no
object is ever constructed from a tag, a duplicate key is noticed, and depth, size and the expansion of aliases are
bounded before memory is spent on them. `on`, `22:00` and `2026-12-20` stay the texts that they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from watcher.core.units import shown

LONGEST = 1 << 20
"""Characters in a text: more than a ConfigMap can hold."""
MOST_NODES = 50_000
"""Keys and values in a text, with every alias expanded."""
DEEPEST = 40
"""How deeply values may be nested, with every alias expanded."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]{1,300}")
_OTHER_INT = re.compile(r"0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_SYNTAX = (
    (r"found character '\\t'", "a tab stands where YAML takes only spaces", "indent with spaces"),
    (r"found character", "a text begins with a character that YAML reserves", "put the text in quotes"),
    (r"mapping values are not allowed", 'a ":" stands where none can', "put the text in quotes, or begin a new line"),
    (r"unknown escape character", "this is no escape in YAML", "double the backslash, or use single quotes"),
    (r"expected '<document start>'", "this does not belong to what stands above it", "indent it like its neighbours"),
    (r"expected chomping or indentation", "something stands behind | or > on its line", "begin the text in a new line"),
    (r"expected the node content", "a value is missing here", "write it, or put it in quotes"),
    (r"mapping keys are not allowed", 'a "?" stands where none can', "put the text in quotes"),
    (r"expected <block end>", "this line is indented unlike its neighbours", "give lines of one level one indentation"),
)
_UNFINISHED = (
    (r"could not find expected ':'", "this key has no value", 'write "key: value"'),
    (r"unexpected end of stream", "this quote is not closed", "close it"),
    (r"expected ',' or", "this bracket or brace is not closed", "close it, or add a comma"),
)
"""What is said of the place where something begins."""

Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in the text. Line and column count from 1."""

    line: int
    column: int
    message: str
    cure: str


@dataclass(slots=True)
class Node:
    """A place in the text. `size` and `height` count what it holds, aliases expanded."""

    line: int
    column: int
    size: int = field(default=1, kw_only=True)
    height: int = field(default=0, kw_only=True)


@dataclass(slots=True)
class Scalar(Node):
    """A single value, and the text that it was made from. `style` is YAML's: a quote, | or >, empty when plain."""

    value: Plain
    text: str
    style: str


@dataclass(slots=True)
class Listing(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Table(Node):
    """A mapping; each key once, the first one of it kept."""

    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    key: Scalar | None = None
    """While the tree is built: the key that awaits its value."""


@dataclass(slots=True)
class Tree:
    """All documents of a text that are not empty, as far as it could be read, and what is wrong with it."""

    roots: list[Node]
    faults: list[Fault]
    lines: list[str]

    def place(self, scalar: Scalar, line: int, column: int) -> tuple[int, int]:
        """Where a line and column of a scalar's text stand in the file; where that is unclear, the scalar's place."""
        content = scalar.text.split("\n")[line - 1]
        source = "".join(self.lines[scalar.line + line - 1 : scalar.line + line])
        if scalar.style == "|" and source.endswith(content):
            return scalar.line + line, len(source) - len(content) + column
        opening = len(scalar.style)
        source = self.lines[scalar.line - 1][scalar.column - 1 + opening :]
        if scalar.style not in ("|", ">") and line == 1 and source.startswith(content[:column]):
            return scalar.line, scalar.column + opening + column - 1
        return scalar.line, scalar.column


def data(node: Node) -> object:
    """The node as plain JSON data."""
    if isinstance(node, Table):
        return {key: data(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Listing):
        return [data(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value


def read(text: str) -> Tree:
    """The tree of any text whatever; what is wrong with the text is among its faults."""
    tree = Tree([], [], _LINE_BREAK.split(text))
    if len(text) > LONGEST:
        tree.faults.append(Fault(1, 1, f"the file has {len(text)} characters", f"keep it under {LONGEST}"))
        return tree
    bad = _UNPRINTABLE.search(text, 1 if text.startswith("\ufeff") else 0)
    if bad is not None:
        before = _LINE_BREAK.split(text[: bad.start()])
        message = f"the character U+{ord(bad[0]):04X} cannot stand in YAML"
        tree.faults.append(Fault(len(before), len(before[-1]) + 1, message, "take it out"))
        return tree
    builder = _Builder(tree)
    try:
        for event in _events(text):
            builder.add(event)
    except _Stopped:
        pass
    except MarkedYAMLError as error:
        tree.faults.append(_syntax_fault(error))
    except Exception as error:  # noqa: BLE001 - the parser itself fails on some texts, such as "\U99999999"
        builder.fault(builder.line, 1, f"YAML cannot be read from here on ({error})", "correct what follows")
    return tree


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


def _syntax_fault(error: MarkedYAMLError) -> Fault:
    said = str(error.problem)
    for table, mark in ((_SYNTAX, error.problem_mark), (_UNFINISHED, error.context_mark)):
        for pattern, message, cure in table:
            if mark is not None and re.search(pattern, said):
                return Fault(mark.line + 1, mark.column + 1, message, cure)
    mark = error.problem_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Fault(line, column, f"this is not YAML ({said})", "correct the syntax")


class _Stopped(Exception):
    """The rest of the text is not worth reading."""


class _Builder:
    """Puts parser events together, without recursion."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.line = 1
        self._open: list[Listing | Table] = []
        self._names: list[str | None] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def fault(self, line: int, column: int, message: str, cure: str) -> None:
        self.tree.faults.append(Fault(line, column, message, cure))

    def add(self, event: Event) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        self.line = line
        match event:
            case ScalarEvent():
                self._tag(event, "str")
                node = Scalar(line, column, _resolved(event), event.value, event.style or "")
                if _SURROGATE.search(node.text):
                    self.fault(line, column, "this text holds half a character (\\ud800 to \\udfff)", "write all of it")
                self._bound(node)
                self._finished(node, event.anchor)
            case AliasEvent():
                self._alias(event.anchor, line, column)
            case SequenceStartEvent() | MappingStartEvent():
                is_map = isinstance(event, MappingStartEvent)
                self._tag(event, "map" if is_map else "seq")
                new: Listing | Table = Table(line, column) if is_map else Listing(line, column)
                self._bound(new)
                self._open.append(new)
                self._names.append(event.anchor)
            case SequenceEndEvent() | MappingEndEvent():
                self._finished(self._open.pop(), self._names.pop())
            case DocumentEndEvent():
                self._anchors.clear()

    def _alias(self, name: str, line: int, column: int) -> None:
        target = self._anchors.get(name)
        if target is None:
            inside = name in self._names
            message = f"the alias *{name} " + ("stands inside its own anchor" if inside else "has no anchor")
            self.fault(line, column, message, "write the value itself" if inside else f"write &{name} above it")
            target = Scalar(line, column, None, "", "")
        self._bound(target, line, column)
        self._finished(target, None)

    def _tag(self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent, standard: str) -> None:
        tag = str(event.tag) if event.tag else ""
        if tag not in ("", "!", _TAG + standard):
            line, column = event.start_mark.line + 1, event.start_mark.column + 1
            self.fault(line, column, f"the tag {shown(tag)} means nothing here", "take it out")

    def _bound(self, node: Node, line: int | None = None, column: int | None = None) -> None:
        """Stop before a text becomes too large or too deep."""
        line, column = line or node.line, column or node.column
        self._nodes += node.size
        if self._nodes > MOST_NODES:
            self.fault(line, column, f"there are more than {MOST_NODES} values, aliases expanded", "split the file")
            raise _Stopped
        if len(self._open) + node.height >= DEEPEST:
            self.fault(line, column, f"this is nested more than {DEEPEST} deep, aliases expanded", "flatten it")
            raise _Stopped

    def _finished(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            if not (isinstance(node, Scalar) and node.value is None and not node.text):
                self.tree.roots.append(node)
            return
        parent = self._open[-1]
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent, Listing):
            parent.items.append(node)
        elif parent.key is None:
            parent.key = self._as_key(node)
        else:
            key, parent.key = parent.key, None
            if key.text in parent.entries:
                first = parent.entries[key.text][0].line
                problem = f"the key {shown(key.text)} stands here a second time (first in line {first})"
                self.fault(key.line, key.column, problem, "keep one of them")
            else:
                parent.entries[key.text] = (key, node)

    def _as_key(self, node: Node) -> Scalar:
        if isinstance(node, Scalar):
            return node
        cure = 'write a text; a placeholder such as "{{ color }}" needs quotes'
        self.fault(node.line, node.column, "a list or mapping stands where a key should", cure)
        return Scalar(node.line, node.column, "", "", "")


def _resolved(event: ScalarEvent) -> Plain:
    """The value of a scalar by the rules of YAML 1.2. Numbers that JSON cannot hold stay texts."""
    text = str(event.value)
    if event.style or event.tag:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OTHER_INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
