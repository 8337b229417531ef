"""The Factory's own operations on the wire: Create and List."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flyinglow.factory.request_xml import read_create
from flyinglow.notification.subscribing import read as read_subscribe
from flyinglow.workspace.makers import MAKERS
from flyinglow.workspace.model import Kind
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, clean_text, qname, text_of, timestamp

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.factory.listing import Listed
    from flyinglow.factory.model import Created
    from flyinglow.factory.service import FactoryService
    from flyinglow.wsrf.addresses import Addresses

_FLF: Final = MAKERS["flf"]
_STEM: Final = f"{NS['flf']}/Factory/"
PAGE: Final = 100
"""Entries of a list page when the client does not say how many."""


def port(service: FactoryService, addresses: Addresses) -> type[ServiceBase]:
    """Return the operations that Factory adds to the standards' ones."""

    class FactoryPort(ServiceBase):
        @operation(qname("flf", "Create"), action=f"{_STEM}Create")
        def create(ctx: Any, body: _Element) -> _Element:
            subscribe = body.find(qname("wsnt", "Subscribe"))
            watch = None if subscribe is None else read_subscribe(subscribe)
            return created(service.create(call_of(ctx).caller, read_create(body, addresses), watch), addresses)

        @operation(qname("flf", "List"), action=f"{_STEM}List")
        def list_leases(ctx: Any, body: _Element) -> _Element:
            kind = text_of(body, qname("flf", "Kind"))
            page = service.list(
                call_of(ctx).caller,
                after=text_of(body, qname("flf", "After")) or None,
                limit=int(text_of(body, qname("flf", "Limit")) or PAGE),
                kind=Kind(kind) if kind else None,
                state=text_of(body, qname("flf", "State")) or None,
            )
            answer = _FLF.ListResponse(*(entry(row, addresses) for row in page.entries))
            if page.after is not None:
                answer.append(_FLF.Next(page.after))
            return answer

    return FactoryPort


def created(result: Created, addresses: Addresses) -> _Element:
    """Return the answer to Create: every resource with its endpoint reference, the whole first."""
    answer = _FLF.CreateResponse()
    for name, key in result.resources:
        resource = _FLF.Resource(_FLF.Name(name), _FLF.Kind(key.kind), addresses.epr(key.kind, key.id))
        if key in result.subscriptions:
            tag = qname("flf", "SubscriptionReference")
            resource.append(addresses.subscription_epr(result.subscriptions[key], tag))
        answer.append(resource)
    if result.ends_at is not None:
        answer.append(_FLF.TerminationTime(timestamp(result.ends_at)))
    return answer


def entry(row: Listed, addresses: Addresses) -> _Element:
    """Return one entry of a list."""
    element = _FLF.Entry(
        _FLF.Name(clean_text(row.name)),
        _FLF.Kind(row.key.kind),
        addresses.epr(row.key.kind, row.key.id),
        _FLF.State(row.state),
    )
    if row.task:
        element.append(_FLF.Task(row.task))
    if row.ends_at is not None:
        element.append(_FLF.TerminationTime(timestamp(row.ends_at)))
    return element
