"""The SOAP side of pull points: their making, and what one answers at its own URL (WS-BaseNotification 1.3, section 5).

GetMessages has extensions: ``fl:After`` asks by number, ``fl:Wait`` lets the answer wait for a message, ``fl:Numbers``
tells the numbers. A client that knows none of them gets what nobody fetched yet, at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.notification.pulling.service import MOST, Wish
from flyinglow.workspace.makers import FL, WSNT
from flyinglow.workspace.producer_xml import lifetime
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.times import timestamp
from flyinglow.wsrf.xml import NS, E, number_of, qname

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.notification.model import PullPoint
    from flyinglow.notification.pulling.bell import Bell
    from flyinglow.notification.pulling.service import Fetched, PullService
    from flyinglow.workspace.ports import Now
    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.operation import Call
    from flyinglow.wsrf.ports import QName

STEM: Final = "http://docs.oasis-open.org/wsn/bw-2/"
SERVICE: Final = "pullpoint"
DOCUMENT: Final = qname("fl", "PullPointProperties")
NAMES: Final = (
    qname("wsnt", "CreationTime"),
    qname("fl", "Held"),
    *(qname("rl", name) for name in ("CurrentTime", "TerminationTime")),
)


def factory_port(service: PullService, addresses: Addresses) -> type[ServiceBase]:
    """Return the operation that makes pull points."""

    class CreatePort(ServiceBase):
        """WS-BaseNotification 1.3, section 5.2."""

        @operation(qname("wsnt", "CreatePullPoint"), action=STEM + "CreatePullPoint/CreatePullPoint")
        def create(ctx: Any, body: _Element) -> _Element:
            made = service.create(call_of(ctx).caller)
            reference = etree.Element(qname("wsnt", "PullPoint"), nsmap={"wsnt": NS["wsnt"], "wsa": NS["wsa"]})
            reference.append(E["wsa"].Address(addresses.resource(SERVICE, made.id)))
            answer: _Element = E["wsnt"].CreatePullPointResponse(reference)
            return answer

    return CreatePort


def port(service: PullService, bell: Bell) -> type[ServiceBase]:
    """Return the operations of one pull point; ``bell`` is where those wait who asked to."""

    class PullPort(ServiceBase):
        """WS-BaseNotification 1.3, section 5.1."""

        @operation(qname("wsnt", "GetMessages"), action=STEM + "PullPoint/GetMessages")
        def get_messages(ctx: Any, body: _Element) -> Any:
            call = call_of(ctx)
            wish = _wish(body)
            found = service.fetch(call.caller, call.resource, wish)
            seconds = number_of(body, qname("fl", "Wait")) or 0
            if not found.is_empty or not seconds or not wish.limit:
                return _answer(found)
            return _waited(service, bell, seconds, call, wish)

        @operation(qname("wsnt", "DestroyPullPoint"), action=STEM + "PullPoint/DestroyPullPoint")
        def destroy(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            service.destroy(call.caller, call.resource)
            answer: _Element = E["wsnt"].DestroyPullPointResponse()
            return answer

        @operation(
            qname("wsnt", "Notify"),
            action=STEM + "NotificationConsumer/Notify",
            one_way=True,
            also=(STEM + "PullPoint/Notify",),
        )
        def notify(ctx: Any, body: _Element) -> None:
            call = call_of(ctx)
            messages = body.findall(qname("wsnt", "NotificationMessage"))
            bodies = [etree.tostring(message, encoding="unicode", with_tail=False) for message in messages]
            service.publish(call.caller, call.resource, bodies)

    return PullPort


async def _waited(service: PullService, bell: Bell, seconds: int, call: Call, wish: Wish) -> _Element:
    rung = bell.wait(call.resource, seconds, call.caller.name)
    try:
        return _answer(await service.when(call.caller, call.resource, wish, rung))
    finally:
        bell.leave(call.resource, rung)


def _wish(body: _Element) -> Wish:
    limit = number_of(body, qname("wsnt", "MaximumNumber"))
    return Wish(limit=MOST if limit is None else limit, after=number_of(body, qname("fl", "After")))


def _answer(found: Fetched) -> _Element:
    answer: _Element = E["wsnt"].GetMessagesResponse()
    answer.extend(etree.fromstring(message) for message in found.messages)
    numbers = FL.Numbers(waiting=str(found.waiting))
    if found.messages:
        numbers.set("first", str(found.first))
        numbers.set("last", str(found.first + len(found.messages) - 1))
    if found.gap is not None:
        numbers.append(FL.Gap({"from": str(found.gap[0]), "to": str(found.gap[1])}))
    answer.append(numbers)
    return answer


class PullPointDirectory:
    """The pull points behind the endpoint. See ``wsrf.ports.ResourceDirectory``."""

    def __init__(self, service: PullService, now: Now) -> None:
        self._service = service
        self._now = now

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        return NAMES

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all); raises UnknownError."""
        row = self._service.get(caller, resource)
        made = {
            qname("wsnt", "CreationTime"): lambda: [WSNT.CreationTime(timestamp(row.created_at))],
            qname("fl", "Held"): lambda: [_held(row)],
            **lifetime(row.ends_at, self._now()),
        }
        return {name: made[name]() for name in (NAMES if names is None else names) if name in made}

    def destroy(self, caller: Identity, resource: str) -> None:
        """End it; raises UnknownError."""
        self._service.destroy(caller, resource)

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime:
        """Move its end; raises UnknownError, or DeniedError for one that is not granted."""
        return self._service.set_end(caller, resource, at)


def _held(row: PullPoint) -> _Element:
    return FL.Held(
        FL.First(str(row.first)), FL.Last(str(row.last)), FL.Fetched(str(row.fetched)), FL.Dropped(str(row.dropped))
    )
