"""A subscription as a WS-Resource: its properties, and its end by the ways of WS-ResourceLifetime.

The properties are those of WS-BaseNotification 1.3, section 6, and how its deliveries fare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.nodectl.errors import DeniedError
from flyinglow.notification.lifetime import Asked, UnacceptableError
from flyinglow.workspace.makers import FL, WSNT
from flyinglow.workspace.producer_xml import lifetime
from flyinglow.wsrf.times import timestamp
from flyinglow.wsrf.xml import E, clean_text, qname

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.notification.model import Delivered, Subscription
    from flyinglow.notification.service import SubscriptionService
    from flyinglow.workspace.ports import Now
    from flyinglow.wsrf.ports import QName

DOCUMENT: Final = qname("fl", "SubscriptionProperties")
_LOG: Final = qname("fl", "DeliveryLog")
NAMES: Final = (
    *(qname("wsnt", name) for name in ("ConsumerReference", "Filter", "SubscriptionPolicy", "CreationTime")),
    qname("fl", "Delivery"),
    _LOG,
    *(qname("rl", name) for name in ("CurrentTime", "TerminationTime")),
)


class SubscriptionDirectory:
    """The subscriptions behind the endpoint. See ``wsrf.ports.ResourceDirectory``."""

    def __init__(self, service: SubscriptionService, now: Now) -> None:
        self._service = service
        self._now = now

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        return NAMES

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all); raises UnknownError."""
        row, waiting = self._service.look(caller, resource)
        made = {**_own(row, waiting), **lifetime(row.ends_at, self._now())}
        made[_LOG] = lambda: [_log(self._service.log(caller, resource))]
        return {name: made[name]() for name in (NAMES if names is None else names) if name in made}

    def destroy(self, caller: Identity, resource: str) -> None:
        """Unsubscribe; raises UnknownError."""
        self._service.unsubscribe(caller, resource)

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime:
        """Renew; raises UnknownError, or DeniedError for an end that is not granted."""
        try:
            return self._service.set_end(caller, resource, Asked(timestamp(at))).ends_at or at
        except UnacceptableError as error:
            raise DeniedError(f"{error.message}; the latest is {timestamp(error.maximum)}") from error


def _own(row: Subscription, waiting: int) -> dict[QName, Callable[[], list[_Element]]]:
    return {
        qname("wsnt", "ConsumerReference"): lambda: [_consumer(row)],
        qname("wsnt", "Filter"): lambda: [etree.fromstring(row.filter_xml)] if row.filter_xml else [],
        qname("wsnt", "SubscriptionPolicy"): lambda: [WSNT.SubscriptionPolicy(WSNT.UseRaw())] if row.raw else [],
        qname("wsnt", "CreationTime"): lambda: [WSNT.CreationTime(timestamp(row.created_at))],
        qname("fl", "Delivery"): lambda: [_delivery(row, waiting)],
    }


def _consumer(row: Subscription) -> _Element:
    reference = WSNT.ConsumerReference(E["wsa"].Address(row.consumer))
    if row.parameters:
        reference.append(E["wsa"].ReferenceParameters(*(etree.fromstring(text) for text in row.parameters)))
    return reference


def _delivery(row: Subscription, waiting: int) -> _Element:
    element = FL.Delivery(FL.Waiting(str(waiting)), FL.Failures(str(row.failures)))
    if row.failing_since is not None:
        element.append(FL.FailingSince(timestamp(row.failing_since)))
    if row.last_error:
        element.append(FL.LastError(clean_text(row.last_error)))
    if row.retry_at is not None:
        element.append(FL.RetryTime(timestamp(row.retry_at)))
    if row.paused_at is not None:
        element.append(FL.PausedTime(timestamp(row.paused_at)))
    if row.pause_reason:
        element.append(FL.Reason(clean_text(row.pause_reason)))
    return element


def _log(entries: Sequence[Delivered]) -> _Element:
    return FL.DeliveryLog(*map(_entry, entries))


def _entry(entry: Delivered) -> _Element:
    source = FL.Source(FL.Kind(entry.event.key.kind), FL.Name(clean_text(str(entry.event.body.get("name", "")))))
    return FL.Entry(
        FL.Number(str(entry.number)),
        FL.MessageID(entry.message_id),
        FL.Topic(entry.event.topic),
        source,
        FL.Sequence(str(entry.event.sequence)),
        FL.Time(timestamp(entry.at)),
        FL.Failures(str(entry.failures)),
    )
