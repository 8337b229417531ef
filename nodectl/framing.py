"""Orders as lines: one by itself, or several for a node together as one batch, which is one message.

    -> {"v": 2, "batch": [{"id": 7, "order": ...}, {"id": 8, ...}]}

Each order of a batch is answered for itself, so that one that fails is no other one's failure. Those who speak version
1 only are given the same orders as lines that are written at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flyinglow.nodectl.messages import BATCHES, MAX_LINE

Piece = tuple[int, bytes]
"""The number of an order and its JSON without a version."""

_ROOM = 64  # bytes of a batch around its orders


def piece(message: Mapping[str, Any]) -> bytes:
    """Return an order as JSON, without a version."""
    return json.dumps({name: value for name, value in message.items() if name != "v"}, separators=(",", ":")).encode()


def line(one: bytes, version: int) -> bytes:
    """Return one order as a line of this version."""
    return b'{"v":%d,%b\n' % (version, one[1:])


def frames(pieces: Sequence[Piece], version: int, longest: int = MAX_LINE) -> Iterator[tuple[list[int], bytes]]:
    """Yield what is to be written at once, with the numbers of the orders in it."""
    together: list[Piece] = []
    size = _ROOM
    for one in pieces:
        if together and size + len(one[1]) + 1 > longest:
            yield _frame(together, version)
            together, size = [], _ROOM
        together.append(one)
        size += len(one[1]) + 1
    if together:
        yield _frame(together, version)


def _frame(together: Sequence[Piece], version: int) -> tuple[list[int], bytes]:
    numbers = [number for number, _ in together]
    if len(together) == 1 or version < BATCHES:
        return numbers, b"".join(line(one, version) for _, one in together)
    return numbers, b'{"v":%d,"batch":[%b]}\n' % (version, b",".join(one for _, one in together))
