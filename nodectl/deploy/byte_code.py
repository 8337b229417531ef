"""The byte code of a module, as the programs that travel as one file carry it beside its source."""

from __future__ import annotations

import importlib.util
import marshal

_UNCHECKED = (1).to_bytes(4, "little")  # valid whatever the source's time is
_PLAIN = 2  # the last form of byte code without references between its parts, which are not the same every time


def byte_code(name: str, source: bytes) -> bytes:
    """Return what Python would keep of a module after it had compiled it (PEP 552); the same for the same source."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source)
    return head + marshal.dumps(code, _PLAIN)
