"""Files of YAML documents, read into models, with every problem of a file said at once: where, what, and the cure.

Reading never raises: whatever the text, the answer is the documents that are right and the problems of those that are
not. A document with a problem is not among the items, and none is where the YAML itself is broken.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from watcher.core.models import API_VERSION, Model
from watcher.core.units import Invalid, near_miss, shown
from watcher.core.wording import WANTED, in_words, reshaped, say, shape_of
from watcher.core.yamltree import Fault, Listing, Node, Scalar, Table, Tree, data, read

MOST_PROBLEMS = 100
"""How many problems of one file are said."""

Loc = tuple[int | str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file. Line and column count from 1."""

    file: str
    line: int
    column: int
    message: str
    cure: str
    kind: str = field(default="", compare=False)
    """Of the document that it is in; empty where that is not known, and where the file is no YAML."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}: {self.cure}"


@dataclass(frozen=True, slots=True)
class Document:
    """One document that is right, and where it begins."""

    kind: str
    name: str
    namespace: str | None
    model: Model
    file: str
    line: int
    root: Node = field(compare=False, repr=False)

    def problem(self, error: Invalid) -> Problem:
        """What is wrong with a part of a document that is right by itself, at that part's place."""
        return Problem(self.file, *_place(*_find(self.root, error.path)), error.problem, error.cure, self.kind)


@dataclass(frozen=True, slots=True)
class Documents:
    """What a file holds."""

    items: list[Document]
    problems: list[Problem]


def read_documents(text: str, file: str, kinds: Mapping[str, type[Model]]) -> Documents:
    """The documents in a text. `kinds` says which model each `kind` is; `file` is the name for the problems."""
    tree = read(text)
    items: list[Document] = []
    faults = [("", fault) for fault in tree.faults]
    for root in tree.roots:
        found = _document(tree, root, file, kinds)
        if isinstance(found, Document):
            items.append(found)
        else:
            kind = _meant_kind(root, kinds) if isinstance(root, Table) else None
            faults.extend((kind or "", fault) for fault in found)
    if tree.faults:  # what a duplicate key or a broken line would have said is not known
        items = []
    problems = sorted({Problem(file, f.line, f.column, f.message, f.cure, kind) for kind, f in faults})
    if len(problems) > MOST_PROBLEMS:
        rest = len(problems) - MOST_PROBLEMS
        last = problems[MOST_PROBLEMS]
        problems = problems[:MOST_PROBLEMS]
        problems.append(Problem(file, last.line, last.column, f"{rest} more problems follow", "correct these first"))
    return Documents(items, problems)


def duplicates(documents: Iterable[Document]) -> list[Problem]:
    """A problem for each document, of one file or several, whose kind, namespace and name another one has already."""
    first: dict[tuple[str, str | None, str], Document] = {}
    problems = []
    for document in documents:
        known = first.setdefault((document.kind, document.namespace, document.name), document)
        if known is not document:
            message = f'a second {document.kind} "{document.name}" (the first is in {known.file}:{known.line})'
            cure = "give it a name of its own"
            problems.append(Problem(document.file, document.line, 1, message, cure, document.kind))
    return problems


def _document(tree: Tree, root: Node, file: str, kinds: Mapping[str, type[Model]]) -> Document | list[Fault]:
    if not isinstance(root, Table):
        message = f"a document is a mapping, and this is {in_words(root)}"
        return [Fault(root.line, root.column, message, f'begin it with "apiVersion: {API_VERSION}"')]
    faults = _one_of(root, "kind", list(kinds))
    kind = _meant_kind(root, kinds)
    if kind is None:
        return _one_of(root, "apiVersion", [API_VERSION]) + faults
    faults += _one_of(root, "apiVersion", [kinds[kind].of_version])
    model = _validated(tree, root, kinds[kind], faults)
    if model is None or faults:
        return faults
    metadata = getattr(model, "metadata", None)
    name, namespace = getattr(metadata, "name", ""), getattr(metadata, "namespace", None)
    return Document(kind, name, namespace, model, file, root.line, root)


SURE = 0.85
"""How alike two kinds must be for the document to be read as the one: a ReplicaSet is no misspelled RuleSet."""


def _meant_kind(root: Table, kinds: Mapping[str, type[Model]]) -> str | None:
    """The kind of a document, or the one that was probably meant."""
    node = root.entries["kind"][1] if "kind" in root.entries else None
    text = node.text if isinstance(node, Scalar) else ""
    return next((kind for kind in kinds if SequenceMatcher(None, kind.lower(), text.lower()).ratio() > SURE), None)


ROUNDS = 3
"""How often a document is tried again, mended, to see what its first mistakes hid."""


def _validated(tree: Tree, root: Table, kind: type[Model], faults: list[Fault]) -> Model | None:
    """The model; None when something is wrong, which is then among the faults.

    What is wrong with one key hides what is wrong with several together, and with what stands below a misspelled one.
    So the document is mended as the cures say, and tried again.
    """
    seen: set[tuple[str, Loc]] = set()
    cut: set[int] = set()
    for _ in range(ROUNDS):
        try:
            return kind.model_validate_json(json.dumps(data(root)))
        except ValidationError as error:
            found = [one for one in error.errors(include_url=False) if one["loc"] not in (("apiVersion",), ("kind",))]
        new = [one for one in found if (one["type"], one["loc"]) not in seen and not _follows(root, one, cut)]
        if not new:
            break
        faults += _faults(tree, root, kind, new)
        seen |= {(one["type"], one["loc"]) for one in new}
        meant = [one for one in new if not (shape_of(one) and _meant_otherwise(root, one, new))]
        for one in sorted(meant, key=lambda one: one["type"] != "extra_forbidden"):
            _mend(root, kind, one, cut)
    return None


def _follows(root: Table, error: ErrorDetails, cut: set[int]) -> bool:
    """Whether an error may be there only because something was cut out of the mapping that it is about."""
    missing = error["type"] == "missing"
    about, _ = _find(root, error["loc"][:-1] if missing else error["loc"])
    return id(about) in cut and (missing or isinstance(error.get("ctx", {}).get("error"), Invalid))


def _mend(root: Table, kind: type[Model], error: ErrorDetails, cut: set[int]) -> None:
    """Do to the tree what the cure says, or cut out what is wrong where no cure is known."""
    owner, key = _owner(root, error["loc"])
    if owner is None or error["type"] == "missing":
        return
    if error["type"] == "extra_forbidden":
        if key == error["loc"][-1]:
            _, meant = _unknown_key(root, kind, error["loc"])
            written = owner.entries.pop(key)
            if meant:
                owner.entries.setdefault(meant, written)
    elif isinstance(owner.entries[key][1], Scalar) or shape_of(error):
        del owner.entries[key]
        cut.add(id(owner))


def _owner(root: Table, loc: Loc) -> tuple[Table | None, str]:
    """The mapping that has the key at `loc`, and that key; None where it is no mapping's key."""
    node: Node = root
    owner, key = None, ""
    for step in loc:
        if isinstance(node, Table) and step in node.entries:
            owner, key = node, str(step)
            node = node.entries[key][1]
        elif isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
            owner, node = None, node.items[step]
    return owner, key


def _one_of(root: Table, key: str, known: Sequence[str]) -> list[Fault]:
    """What is wrong with a key at the top of a document that has to be one of the known words."""
    choice = " or ".join(f'"{key}: {word}"' for word in known)
    if key not in root.entries:
        guess = near_miss(key, (near for near in root.entries))
        cure = f'did you write "{guess}" for it?' if guess else f"add {choice}"
        return [Fault(root.line, root.column, f'"{key}" is missing', cure)]
    value = root.entries[key][1]
    if isinstance(value, Scalar) and value.value in known:
        return []
    meant = near_miss(value.text, known) if isinstance(value, Scalar) else None
    cure = f'did you mean "{meant}"?' if meant else f"write {choice}"
    return [Fault(value.line, value.column, f"{in_words(value)} is no {key} that is known here", cure)]


def _faults(tree: Tree, root: Table, model: type[Model], errors: Sequence[ErrorDetails]) -> list[Fault]:
    """The errors of a model at their places. A key said to be missing is not, where another is a misspelling of it."""
    faults = []
    suggested: set[Loc] = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            fault, meant = _unknown_key(root, model, error["loc"])
            faults.append(fault)
            suggested.add((*error["loc"][:-1], meant))
    misshapen: dict[int, list[ErrorDetails]] = {}
    for error in errors:
        if error["type"] == "missing" and error["loc"] not in suggested:
            node, _ = _find(root, error["loc"][:-1])
            key = error["loc"][-1]
            message = f'"{key}" is missing' if isinstance(key, str) else f"item {key + 1} is missing"
            faults.append(
                Fault(node.line, node.column, message, f'add "{key}: ..."' if isinstance(key, str) else "add it")
            )
        elif error["type"] == "too_short" and any(_below(error["loc"], other["loc"]) for other in errors):
            pass  # items that are wrong were not counted
        elif shape_of(error):
            misshapen.setdefault(id(_find(root, error["loc"])[0]), []).append(error)
        elif error["type"] not in ("extra_forbidden", "missing"):
            faults += _wrong_value(tree, root, error)
    return faults + [
        _wrongshape(root, several) for several in misshapen.values() if not _meant_otherwise(root, several[0], errors)
    ]


def _meant_otherwise(root: Table, error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """Whether the value has one of the shapes that it may have, and what is wrong with it is said of that one."""
    node, _ = _find(root, error["loc"])
    for other in errors:
        loc = other["loc"]
        if other is error or (shape_of(other) and _find(root, loc)[0] is node):
            continue
        if any(_find(root, loc[:length])[0] is node for length in range(len(loc) + 1)):
            return True
    return False


def _wrongshape(root: Table, errors: Sequence[ErrorDetails]) -> Fault:
    """One fault for a value that is nothing of what it may be. One error came of each."""
    node, key = _find(root, errors[0]["loc"])
    shapes = list(dict.fromkeys(shape_of(error) for error in errors))
    words = list(dict.fromkeys(WANTED[shape][0] for shape in shapes))
    scalars = [shape for shape in shapes if WANTED[shape][0] not in ("a list", "a mapping")]
    likeliest = scalars[0] if isinstance(node, Scalar) and scalars else shapes[0]
    thing = in_words(node)
    said = f"{thing} is not {words[0]}" if len(words) == 1 else f"{thing} is neither {' nor '.join(words)}"
    return Fault(*_place(node, key), said, reshaped(node, likeliest))


def _below(loc: Loc, other: Loc) -> bool:
    return len(other) > len(loc) and other[: len(loc)] == loc


def _unknown_key(root: Table, model: type[Model], loc: Loc) -> tuple[Fault, str]:
    """The fault, and the key that was probably meant (or nothing)."""
    key = str(loc[-1])
    node, key_node = _find(root, loc)
    place = key_node or node
    owners = [owner for owner in _types_at(model, loc[:-1]) if isinstance(owner, type) and issubclass(owner, Model)]
    known = [str(one.alias or name) for owner in owners for name, one in owner.model_fields.items()]
    hint = next((owner.hints[key] for owner in owners if key in owner.hints), None)
    meant = near_miss(key, known) or ""
    cure = hint or (f'did you mean "{meant}"?' if meant else f"the keys here are {', '.join(known)}")
    return Fault(place.line, place.column, f"unknown key {shown(key)}", cure), "" if hint else meant


def _find(root: Node, loc: Loc) -> tuple[Node, Scalar | None]:
    """The deepest node on the way to `loc`, and its key. What the tree has not (a union's member) is passed over."""
    node, key = root, None
    for step in loc:
        if isinstance(node, Table) and step in node.entries:
            key, node = node.entries[str(step)]
        elif isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
            key, node = None, node.items[step]
    return node, key


def _types_at(model: type[Model], loc: Loc) -> list[Any]:
    """The types that may stand at `loc` of a model."""
    here = [model]
    for step in loc:
        here = [found for one in here for found in _step(one, step)] or here
    return here


def _step(kind: Any, step: int | str) -> Iterator[Any]:
    """The types one step below a type: of a field by its key, of a list's or mapping's items."""
    if isinstance(kind, type) and issubclass(kind, Model):
        for name, one in kind.model_fields.items():
            if step in (name, one.alias):
                yield from _members(one.annotation)
    elif get_origin(kind) is dict:
        yield from _members(get_args(kind)[1])
    elif isinstance(step, int):
        for item in get_args(kind):
            yield from _members(item)


def _members(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _wrong_value(tree: Tree, root: Table, error: ErrorDetails) -> list[Fault]:
    cause = error.get("ctx", {}).get("error")
    if not isinstance(cause, Invalid):
        node, key = _find(root, error["loc"])
        return [Fault(*_place(node, key), *say(error, node))]
    faults = []
    for one in (cause, *cause.more):
        node, key = _find(root, error["loc"] + one.path)
        line, column = _place(node, key)
        if one.line is not None and one.column is not None and isinstance(node, Scalar):
            line, column = tree.place(node, one.line, one.column)
        faults.append(Fault(line, column, one.problem, one.cure))
    return faults


def _place(node: Node, key: Scalar | None) -> tuple[int, int]:
    """Where a value is said to stand: at its key when nothing was written, or when it has lines of its own."""
    absent = isinstance(node, Scalar) and node.value is None and not node.text
    at = key if key is not None and (absent or node.line > key.line) else node
    return at.line, at.column
