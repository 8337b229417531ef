"""The names of the contract that the client writes or reads itself: name spaces, and elements in Clark notation."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "s11": "http://schemas.xmlsoap.org/soap/envelope/",
        "s12": "http://www.w3.org/2003/05/soap-envelope",
        "wsa": "http://www.w3.org/2005/08/addressing",
        "bf": "http://docs.oasis-open.org/wsrf/bf-2",
        "r": "http://docs.oasis-open.org/wsrf/r-2",
        "rp": "http://docs.oasis-open.org/wsrf/rp-2",
        "rl": "http://docs.oasis-open.org/wsrf/rl-2",
        "sg": "http://docs.oasis-open.org/wsrf/sg-2",
        "wsnt": "http://docs.oasis-open.org/wsn/b-2",
        "fl": "urn:flyinglow:types:1",
        "flf": "urn:flyinglow:factory:1",
        "flw": "urn:flyinglow:workspace:1",
    },
)
"""Name spaces by prefix; the prefixes are this library's own choice."""

KINDS: Final = ("workspace", "group", "ensemble")
"""What a resource can be."""

TOPICS: Final = (
    *("state", "schedule", "networking", "termination", "warning", "membership"),
    *("state-value", "networking-value", "end-value", "rl:ResourceTermination", "sg:ServiceGroupModification"),
)
"""What can be subscribed to; a name without a prefix is one of the shared types'."""

LOST: Final = frozenset({"Corrupted", "Cancelled", "Ended"})
"""States that nothing leads out of."""

CONCRETE: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete"


def clark(prefixed: str) -> str:
    """Return ``{uri}local`` for ``prefix:local``; a name without a prefix is one of the shared types."""
    if prefixed.startswith("{"):
        return prefixed
    prefix, _, local = prefixed.rpartition(":")
    return f"{{{NS[prefix or 'fl']}}}{local}"
