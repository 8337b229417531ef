"""DER (ITU-T X.690), as far as it is taken apart by its bytes: what was signed must not be encoded anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator

SEQUENCE: Final = 0x30
UTF8_STRING: Final = 0x0C

_LONG: Final = 0x80
"""A length of one octet is below this; else its other bits count the octets that follow."""

_MOST_OCTETS: Final = 4
"""More than the length of anything that fits into a message."""


def members(data: bytes) -> Iterator[bytes]:
    """Yield what a SEQUENCE holds, each as its own bytes. Raises InvalidError, after what was whole."""
    place, end = _content(data, 0)
    if data[0] != SEQUENCE:
        raise InvalidError("a SEQUENCE was expected")
    if end != len(data):
        raise InvalidError("something follows the SEQUENCE")
    while place < end:
        _, after = _content(data, place)
        yield data[place:after]
        place = after


def encoded(tag: int, content: bytes) -> bytes:
    """Return a value with its tag and length."""
    size = len(content)
    if size < _LONG:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG | len(octets)]) + octets + content


def _content(data: bytes, place: int) -> tuple[int, int]:
    """Return where the content of the value at a place begins, and where it ends."""
    begin = place + 2
    if begin > len(data):
        raise InvalidError("a value is cut short")
    size = data[place + 1]
    if size & _LONG:
        octets = size & ~_LONG
        if not 0 < octets <= _MOST_OCTETS or begin + octets > len(data):
            raise InvalidError("a length cannot be read")
        size, begin = int.from_bytes(data[begin : begin + octets], "big"), begin + octets
    if begin + size > len(data):
        raise InvalidError("a value is cut short")
    return begin, begin + size
