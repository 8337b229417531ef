"""The SOAP side of notification: what producers and the broker answer, and what a subscription does at its own URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flyinglow.notification import faults, topics
from flyinglow.notification.lifetime import asked
from flyinglow.notification.model import broker_of
from flyinglow.notification.payload import payload
from flyinglow.notification.service import SubscriptionService
from flyinglow.notification.subscribing import read
from flyinglow.workspace.model import Kind, ResourceKey
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.operation import Call, ServiceBase, call_of, operation
from flyinglow.wsrf.times import timestamp
from flyinglow.wsrf.xml import NIL, NS, E, number_of, qname

if TYPE_CHECKING:
    from datetime import datetime

    from lxml.etree import _Element

STEM: Final = "http://docs.oasis-open.org/wsn/bw-2/"
BROKERED: Final = "http://docs.oasis-open.org/wsn/brw-2/"


def producer_port(service: SubscriptionService, kind: Kind, addresses: Addresses) -> type[ServiceBase]:
    """Return the NotificationProducer operations for resources of one kind; for the broker, over all the caller's."""
    # who generates a client from WS-BrokeredNotification's own WSDL has its name space in the actions
    also = (BROKERED + "NotificationBroker/",) if kind is Kind.BROKER else ()

    def producer(call: Call) -> ResourceKey:
        return broker_of(call.caller.name) if kind is Kind.BROKER else ResourceKey(kind, call.resource)

    class ProducerPort(ServiceBase):
        """WS-BaseNotification 1.3, section 4."""

        @operation(
            qname("wsnt", "Subscribe"),
            action=STEM + "NotificationProducer/Subscribe",
            also=[stem + "Subscribe" for stem in also],
        )
        def subscribe(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            asked_for = read(body)
            topics.require(kind, asked_for.topics)
            granted = service.subscribe(call.caller, producer(call), asked_for)
            answer: _Element = E["wsnt"].SubscribeResponse(
                addresses.subscription_epr(granted.id, qname("wsnt", "SubscriptionReference")),
                E["wsnt"].CurrentTime(timestamp(granted.now)),
                _termination(granted.ends_at),
            )
            return answer

        @operation(
            qname("wsnt", "GetCurrentMessage"),
            action=STEM + "NotificationProducer/GetCurrentMessage",
            also=[stem + "GetCurrentMessage" for stem in also],
        )
        def get_current_message(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            chosen = topics.select(body[0])
            topics.require(kind, chosen)
            event = service.current(call.caller, producer(call), chosen)
            answer: _Element = E["wsnt"].GetCurrentMessageResponse(payload(event, chosen[0], addresses))
            return answer

    return ProducerPort


def manager_port(service: SubscriptionService) -> type[ServiceBase]:
    """Return the SubscriptionManager operations; the subscription's id is the resource's."""

    class ManagerPort(ServiceBase):
        """WS-BaseNotification 1.3, section 6; peers use the pausable manager's action stem as well."""

        @operation(
            qname("wsnt", "Renew"),
            action=STEM + "SubscriptionManager/Renew",
            also=(STEM + "PausableSubscriptionManager/Renew",),
        )
        def renew(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            end = asked(body.find(qname("wsnt", "TerminationTime")))
            granted = service.renew(call.caller, call.resource, end)
            answer: _Element = E["wsnt"].RenewResponse(
                _termination(granted.ends_at),
                E["wsnt"].CurrentTime(timestamp(granted.now)),
            )
            return answer

        @operation(
            qname("wsnt", "Unsubscribe"),
            action=STEM + "SubscriptionManager/Unsubscribe",
            also=(STEM + "PausableSubscriptionManager/Unsubscribe",),
        )
        def unsubscribe(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            service.unsubscribe(call.caller, call.resource)
            answer: _Element = E["wsnt"].UnsubscribeResponse()
            return answer

        @operation(qname("wsnt", "PauseSubscription"), action=STEM + "PausableSubscriptionManager/PauseSubscription")
        def pause(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            service.pause(call.caller, call.resource)
            answer: _Element = E["wsnt"].PauseSubscriptionResponse()
            return answer

        @operation(qname("wsnt", "ResumeSubscription"), action=STEM + "PausableSubscriptionManager/ResumeSubscription")
        def resume(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            service.resume(call.caller, call.resource)
            answer: _Element = E["wsnt"].ResumeSubscriptionResponse()
            return answer

        @operation(qname("fl", "Redeliver"), action=f"{NS['fl']}/Subscription/Redeliver")
        def redeliver(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            count = service.redeliver(call.caller, call.resource, number_of(body, qname("fl", "From")) or 0)
            answer: _Element = E["fl"].RedeliverResponse(E["fl"].Messages(str(count)))
            return answer

    return ManagerPort


def broker_port() -> type[ServiceBase]:
    """Return what a broker answers besides a producer: it takes no publishers (WS-BrokeredNotification 1.3)."""

    class BrokerPort(ServiceBase):
        """WS-BrokeredNotification 1.3, section 4."""

        @operation(
            qname("wsn-br", "RegisterPublisher"),
            action=BROKERED + "RegisterPublisher/RegisterPublisher",
            also=(BROKERED + "NotificationBroker/RegisterPublisher",),
        )
        def register_publisher(ctx: Any, body: _Element) -> _Element:
            raise faults.publisher_rejected("this broker tells what happens to leases, and takes no other publishers")

    return BrokerPort


def _termination(at: datetime | None) -> _Element:
    element: _Element = E["wsnt"].TerminationTime()
    if at is None:
        element.set(NIL, "true")
    else:
        element.text = timestamp(at)
    return element
