"""A guest's report, read strictly: it comes from a machine that its tenant controls wholly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.context_tail import one_line
from flyinglow.workspace.model import GuestStatus

MESSAGE_MAX = 1000  # characters, escaped
VALUES_MAX = 64
VALUE_MAX = 4096  # characters; an RSA host key of 4096 bits has 750
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_KEYS = frozenset({"status", "message", "values"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a guest says of itself."""

    status: GuestStatus
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> tuple[GuestStatus, str, Mapping[str, str]]:
        """All of it, to compare with what was said before."""
        return self.status, self.message, self.values


def read(body: bytes) -> Message:
    """Read a report. Raises InvalidError, whose message has nothing of the guest's own words."""
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise InvalidError("a report is JSON in UTF-8") from None
    if not isinstance(found, dict) or not found.keys() <= _KEYS:
        raise InvalidError("a report is an object with status, message and values")
    status = found.get("status")
    if not isinstance(status, str) or status not in {each.value for each in GuestStatus}:
        raise InvalidError("a report's status is ok or error")
    text = found.get("message", "")
    if not isinstance(text, str):
        raise InvalidError("a report's message is a text")
    return Message(
        status=GuestStatus(status), message=one_line(text.strip(), MESSAGE_MAX), values=_values(found.get("values", {}))
    )


def _values(found: Any) -> Mapping[str, str]:
    if not isinstance(found, dict) or len(found) > VALUES_MAX:
        raise InvalidError(f"a report's values are an object of at most {VALUES_MAX}")
    for name, value in found.items():
        if not NAME.match(name):
            raise InvalidError("a value's name has 1 to 64 letters, digits and ._-, a letter or digit first")
        if not isinstance(value, str) or not 0 < len(value) <= VALUE_MAX:
            raise InvalidError(f"a value is a text of 1 to {VALUE_MAX} characters")
        if not value.isprintable() or value != value.strip():
            raise InvalidError("a value is one line of printable text without white space at its ends")
    return dict(sorted(found.items()))
