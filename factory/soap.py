"""The Factory's own operations on the wire: Create, Validate, Estimate and List."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from flyinglow.factory.model import Outlook, Valid
from flyinglow.factory.request_xml import read_create
from flyinglow.notification.subscribing import read as read_subscribe
from flyinglow.workspace.makers import MAKERS
from flyinglow.workspace.model import Kind
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, TRUE, clean_text, duration_text, qname, text_of, timestamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lxml.etree import _Element

    from flyinglow.factory.listing import Listed
    from flyinglow.factory.model import Created
    from flyinglow.factory.service import FactoryService
    from flyinglow.notification.subscribing import SubscribeRequest
    from flyinglow.wsrf.addresses import Addresses

T = TypeVar("T")
_FLF: Final = MAKERS["flf"]
_STEM: Final = f"{NS['flf']}/Factory/"
PAGE: Final = 100
"""Entries of a list page when the client does not say how many."""


def port(service: FactoryService, addresses: Addresses) -> type[ServiceBase]:
    """Return the operations that Factory adds to the standards' ones."""

    class FactoryPort(ServiceBase):
        @operation(qname("flf", "Create"), action=f"{_STEM}Create")
        def create(ctx: Any, body: _Element) -> _Element:
            watch = _watch(body)
            return created(service.create(call_of(ctx).caller, read_create(body, addresses), watch), addresses)

        @operation(qname("flf", "Validate"), action=f"{_STEM}Validate")
        def validate(ctx: Any, body: _Element) -> _Element | Awaitable[_Element]:
            asked = body[0]
            result = service.validate(call_of(ctx).caller, read_create(asked, addresses), _watch(asked))
            return valid(result) if isinstance(result, Valid) else _later(result, valid)

        @operation(qname("flf", "Estimate"), action=f"{_STEM}Estimate")
        def estimate(ctx: Any, body: _Element) -> _Element | Awaitable[_Element]:
            result = service.estimate(call_of(ctx).caller, read_create(body[0], addresses))
            return outlook(result) if isinstance(result, Outlook) else _later(result, outlook)

        @operation(qname("flf", "List"), action=f"{_STEM}List")
        def list_leases(ctx: Any, body: _Element) -> _Element:
            kind = text_of(body, qname("flf", "Kind"))
            everybody = text_of(body, qname("flf", "Everybody")) in TRUE
            page = service.list(
                call_of(ctx).caller,
                after=text_of(body, qname("flf", "After")) or None,
                limit=int(text_of(body, qname("flf", "Limit")) or PAGE),
                kind=Kind(kind) if kind else None,
                state=text_of(body, qname("flf", "State")) or None,
                everybody=everybody,
            )
            answer = _FLF.ListResponse(*(entry(row, addresses, owner=everybody) for row in page.entries))
            if page.after is not None:
                answer.append(_FLF.Next(page.after))
            return answer

    return FactoryPort


def _watch(body: _Element) -> SubscribeRequest | None:
    subscribe = body.find(qname("wsnt", "Subscribe"))
    return None if subscribe is None else read_subscribe(subscribe)


async def _later(asked: Awaitable[T], render: Callable[[T], _Element]) -> _Element:
    return render(await asked)


def valid(result: Valid) -> _Element:
    """Return the answer to Validate."""
    answer = _FLF.ValidateResponse(
        _FLF.Workspaces(str(result.workspaces)), _FLF.Duration(duration_text(result.duration))
    )
    if result.waits:
        answer.append(_FLF.WaitingReason(clean_text(result.waits)))
    return answer


def outlook(result: Outlook) -> _Element:
    """Return the answer to Estimate; what nobody knows is left out."""
    answer = _FLF.EstimateResponse()
    if result.starts_in is not None:
        answer.append(_FLF.StartsWithin(duration_text(round(result.starts_in))))
    if result.starts_at is not None:
        answer.append(_FLF.ExpectedStart(timestamp(result.starts_at)))
    if result.reason:
        answer.append(_FLF.Reason(clean_text(result.reason)))
    return answer


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


def entry(row: Listed, addresses: Addresses, *, owner: bool = False) -> _Element:
    """Return one entry of a list; with its ``owner`` where that is not the caller anyway."""
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
    if owner:
        element.append(_FLF.Owner(clean_text(row.owner)))
    return element
