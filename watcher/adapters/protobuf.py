"""The two pieces of protobuf's wire format that are spoken here: https://protobuf.dev/programming-guides/encoding/

A few messages with a few fields each do not need the library, which is large and slow to import.
"""

from __future__ import annotations


def varint(number: int) -> bytes:
    """A number that is not negative."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, content: str | bytes) -> bytes:
    """A field that holds a text or another message."""
    raw = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(raw)) + raw
