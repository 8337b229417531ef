"""What the standards' own messages say: members that come and go, properties that change, resources that end.

Of WS-ServiceGroup, WS-ResourceProperties and WS-ResourceLifetime 1.2. They bear neither the number nor the time of the
event, and name their resource by its reference alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flyinglow.client.epr import Epr
from flyinglow.client.names import clark
from flyinglow.client.properties import networking
from flyinglow.client.reading import child, moment, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lxml.etree import _Element

    Fields = dict[str, Any] | None


def told(payload: _Element) -> Fields:
    """Return the fields of a Notification that a payload of the standards tells; None: it is none that is known."""
    read = _READ.get(str(payload.tag))
    return None if read is None else read(payload)


def kind_of(producer: str) -> str:
    """Return what a reference's URL is of: ``workspace``, ``group``, ``ensemble``, ``subscription``."""
    steps = urlsplit(producer).path.rstrip("/").split("/")
    return steps[-2] if len(steps) > 1 else ""


def _member(payload: _Element) -> Fields:
    joined = payload.tag == clark("sg:EntryAdditionNotification")
    content = child(payload, "sg:InitialContent" if joined else "sg:FinalContent")
    member = child(payload, "sg:MemberEPR")
    return {
        "topic": "membership",
        "joined": joined,
        "member": text(content, "fl:Name") or "",
        "member_url": "" if member is None else Epr.read(member).url,
        "reason": text(payload, "sg:Reason") or "",
    }


def _values(payload: _Element) -> Fields:
    new, old = child(payload, "rp:NewValues"), child(payload, "rp:OldValues")
    if (state := text(new, "fl:State")) is not None:
        return {"topic": "state-value", "state": state, "previous": text(old, "fl:State")}
    if (found := child(new, "fl:Networking")) is not None:
        return {"topic": "networking-value", "nics": networking(found)}
    if child(new, "rl:TerminationTime") is not None:
        return {"topic": "end-value", "ends_at": moment(new, "rl:TerminationTime")}
    return None


def _ended(payload: _Element) -> Fields:
    return {
        "topic": "rl:ResourceTermination",
        "ends_at": moment(payload, "rl:TerminationTime"),
        "reason": text(payload, "rl:TerminationReason") or "",
    }


_READ: Final[Mapping[str, Callable[[_Element], Fields]]] = {
    clark("sg:EntryAdditionNotification"): _member,
    clark("sg:EntryRemovalNotification"): _member,
    clark("rp:ResourcePropertyValueChangeNotification"): _values,
    clark("rl:TerminationNotification"): _ended,
}
