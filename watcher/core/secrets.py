"""Secrets in what the daemon sends: `{{ secrets.NAME }}` stands for a value that is filled in when it is sent.

What always holds: a file, a Release and a message hold the reference and never the value; a value is escaped for where
it stands; and the forms in which somebody else may give a value back are all known, so that each can be cut out.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit

from watcher.core.units import Invalid, shown

SHORTEST = 6
"""Characters that a secret needs: a shorter one could not be cut out of a text without garbling it."""
LONGEST = 4 * 1024
LONG_WORD = 8
"""Characters from which on a word of a secret is cut out by itself too: the token of `Bearer TOKEN`."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
"""What may be the name of a secret: a key of a Kubernetes Secret that leads to no other directory."""

_REFERENCE = re.compile(r"\{\{\s*secrets\.(" + NAME.pattern + r")\s*\}\}")
_MEANT = re.compile(r"\{\{\s*secrets?(?![A-Za-z0-9_-])[^{}]*\}{0,2}", re.IGNORECASE)

Value = Callable[[str], str]
"""Gives the value of a secret by its name, or raises."""


def reference(name: str) -> str:
    """How a secret is written in a file."""
    return "{{ secrets." + name + " }}"


def refers(text: str) -> bool:
    """Whether the text has a reference in it."""
    return _REFERENCE.search(text) is not None


def references(text: str) -> Iterator[str]:
    """The names of the secrets in a text. Raises Invalid for what is meant as a reference and is none."""
    for match in _MEANT.finditer(text):
        found = _REFERENCE.match(text, match.start())
        if found is None:
            cure = f'write it as "{reference("NAME")}", NAME being letters, digits, ".", "_" and "-"'
            raise Invalid(f"{shown(match[0])} is no reference to a secret", cure)
        yield found[1]


def in_header(text: str, value: Value) -> str:
    """A header's value as it is sent."""
    return _filled(text, value, str)


def in_url(text: str, value: Value) -> str:
    """An address or path as it is sent. A secret that is all of it stands as it is, any other with %-escapes."""
    if _REFERENCE.fullmatch(text.strip()):
        return _filled(text.strip(), value, str)
    return _filled(text, value, lambda secret: quote(secret, safe=""))


def in_body(text: str, headers: Mapping[str, str], value: Value) -> str:
    """A body as it is sent: as JSON or as a form, where it is one, else with the value as it is."""
    kind = next((given for name, given in headers.items() if name.lower() == "content-type"), "").lower()
    if "x-www-form-urlencoded" in kind:
        return _filled(text, value, quote_plus)
    if "json" in kind or (not kind and text.lstrip()[:1] in ("{", "[")):
        return _filled(text, value, lambda secret: json.dumps(secret)[1:-1])
    return _filled(text, value, str)


def _filled(text: str, value: Value, escaped: Callable[[str], str]) -> str:
    return _REFERENCE.sub(lambda match: escaped(value(match[1])), text)


def unusable(content: bytes) -> str:
    """Why what a file holds is no secret that can be sent; empty when it is one. A line's end does not count."""
    if len(content) > LONGEST:
        return f"holds more than {LONGEST // 1024} KiB"
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        return "holds what is no text"
    if not text:
        return "is empty"
    if len(text) < SHORTEST:
        return f"holds fewer than {SHORTEST} characters, too few to be kept out of messages"
    return "" if text.isprintable() else "holds more than one line, or control characters"


def forms(value: str) -> frozenset[str]:
    """The texts in which a value may be given back: as it is or its long words alone, escaped, encoded, and each of
    these once more, as JSON in JSON is."""
    whole = value.strip()
    words = {whole, *(word for word in whole.split() if len(word) >= LONG_WORD), *_of_address(whole)}
    once = {form for word in words for form in (word, word.lower(), word.upper(), *_written(word))}
    twice = {form for one in once for form in _written(one)}
    return frozenset(one for one in once | twice if len(one) >= SHORTEST)


def _of_address(value: str) -> Iterator[str]:
    """The parts of an address that give it away: who is asked says which path was."""
    try:
        parts = urlsplit(value)
        password = parts.password or ""
    except ValueError:
        return
    if parts.scheme not in ("http", "https"):
        return
    yield from (password, unquote(password))
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    long = [word for word in re.split("[/?&=]", path) if len(word) >= LONG_WORD]
    # A part that is a word, such as "services", would be missed in other sentences.
    yield from (word for word in (path, parts.path, *long) if re.search("[0-9A-Z/]", word) and len(word) >= LONG_WORD)


def _written(text: str) -> Iterator[str]:
    raw = text.encode()
    escaped = [quote(raw, safe=""), quote(raw), quote_plus(raw)]
    yield from escaped
    yield from (re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), one) for one in escaped)
    yield from (html.escape(text), html.escape(text, quote=False), repr(text)[1:-1])
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    yield from (raw.hex(), raw.hex().upper())
    yield from _encoded(raw)


def _encoded(raw: bytes) -> Iterator[str]:
    """What is the same in every base64 text in which the bytes stand, wherever in it: as in `user:password`."""
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + raw).decode()[first:last]
