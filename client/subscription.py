"""A subscription, whoever its consumer is: what was delivered of it, and having that sent again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from flyinglow.client.names import clark
from flyinglow.client.reading import child, elements, number, point, text

if TYPE_CHECKING:
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.client.epr import Epr
    from flyinglow.client.wire import Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryEntry:
    """One message that a consumer took. ``number`` grows from entry to entry; ``sequence`` is the resource's own.

    ``failures`` is how often the request that brought it had failed before.
    """

    number: int
    message_id: str
    topic: str
    kind: str
    name: str
    sequence: int
    at: datetime
    failures: int


class Subscription:
    """A handle on one subscription. Every operation raises UnknownError when it is not there or not the caller's."""

    def __init__(self, wire: Wire, epr: Epr) -> None:
        self._wire, self._epr = wire, epr

    def log(self) -> tuple[DeliveryEntry, ...]:
        """Return what was delivered last, oldest first, as far as the service's log goes back."""
        name = etree.QName(clark("fl:DeliveryLog"))
        answer = self._wire.call("subscription", "GetResourceProperty", self._epr, name)
        found = child(answer, "fl:DeliveryLog")
        return () if found is None else tuple(map(_entry, elements(found)))

    def resend(self, first: int) -> int:
        """Have everything that was delivered from this number on delivered again; return how many messages that is."""
        answer = self._wire.call("subscription", "Redeliver", self._epr, From=first)
        return number(answer, "fl:Messages") or 0


def _entry(element: _Element) -> DeliveryEntry:
    source = child(element, "fl:Source")
    return DeliveryEntry(
        number=number(element, "fl:Number") or 0,
        message_id=text(element, "fl:MessageID") or "",
        topic=text(element, "fl:Topic") or "",
        kind=text(source, "fl:Kind") or "",
        name=text(source, "fl:Name") or "",
        sequence=number(element, "fl:Sequence") or 0,
        at=point(text(element, "fl:Time") or ""),
        failures=number(element, "fl:Failures") or 0,
    )
