"""A slot's ticket: the service's signed word that one slot may be taken, on one node, once, for a short while.

``text`` is what is signed, ``signature`` OpenSSH's own armour of it (``ssh-keygen -Y sign``). It says how much a slot
may take at most, and when it was written and for how long it is good; a clock that is wrong by minutes does no harm.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from flyinglow.nodectl.errors import InvalidError

NAMESPACE = "flyinglow-slot"  # what the signature is for: one made for anything else is none
PRINCIPAL = "flyinglow"  # whose signature it is, in the file of allowed signers
SECONDS = 300.0  # how long a new one is good
LONGEST = 8192  # characters of a ticket, its signature included
FORM = 1


@dataclass(frozen=True)
class Ticket:
    """What the service says. ``serial`` is used once; ``issued`` is in seconds since 1970 by the service's clock."""

    node: str
    slot: str
    epoch: int
    memory_mb: int
    cpus: int
    policy: str
    margin_mb: int
    serial: str
    issued: float
    seconds: float = SECONDS
    form: int = FORM


def written(ticket: Ticket) -> str:
    """Return the text to be signed."""
    return json.dumps(dataclasses.asdict(ticket), separators=(",", ":"))


def read(text: str) -> Ticket:
    """Understand a text whose signature is right. Raises InvalidError, also for a form that is not known here."""
    try:
        fields = json.loads(text)
        form = fields.get("form")
        if form != FORM:
            raise InvalidError(f"this ticket is of form {form!r}, this node reads {FORM}: install the same versions")
        ticket = Ticket(**fields)
        for item in dataclasses.fields(Ticket):
            _expect(item.name, str(item.type), getattr(ticket, item.name))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidError(f"this is no ticket: {error}") from error
    return ticket


def parts(value: object) -> tuple[str, str]:
    """Return text and signature of what came with an order. Raises InvalidError."""
    given: dict[str, Any] = value if isinstance(value, dict) else {}
    text, signature = given.get("text"), given.get("signature")
    if not isinstance(text, str) or not isinstance(signature, str) or len(text) + len(signature) > LONGEST:
        raise InvalidError("a ticket is an object of two texts: text and signature")
    return text, signature


def _expect(name: str, kind: str, value: object) -> None:
    kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float)}
    if isinstance(value, bool) or not isinstance(value, kinds[kind]):
        raise TypeError(f"{name} is {value!r}")
