"""The messages that go to consumers: wsnt:Notify (or the raw payload) in a SOAP 1.1 envelope, as bytes.

What depends on the event alone is serialized once for all its subscriptions, what depends on the subscription alone
once for all its events; a message is these pieces put together. Sources: WS-BaseNotification 1.3 section 3.2 and
WS-Addressing 1.0 section 3 (the consumer's reference parameters go back to it as headers).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from uuid import UUID, uuid5
from xml.sax.saxutils import escape

from lxml import etree

from flyinglow.notification import topics
from flyinglow.notification.delivery import Message
from flyinglow.notification.model import ENDING, Delivery, Subscription
from flyinglow.notification.payload import action, payload
from flyinglow.notification.views import form_of, termination
from flyinglow.workspace.model import Event
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.xml import NS, E, qname

if TYPE_CHECKING:
    from lxml.etree import _Element

NOTIFY: Final = "http://docs.oasis-open.org/wsn/bw-2/NotificationConsumer/Notify"
_MESSAGES: Final = UUID("6f0c8d4e-3a5b-4f43-9d3c-5b0f6a7f7c11")  # the name space of MessageIDs made of two others
_MEMORY: Final = 2048

_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)

_OPEN: Final = (
    "<?xml version='1.0' encoding='utf-8'?>\n"
    f'<s11:Envelope xmlns:s11="{NS["s11"]}" xmlns:wsa="{NS["wsa"]}" xmlns:wsnt="{NS["wsnt"]}" xmlns:fl="{NS["fl"]}">'
    "<s11:Header>"
).encode()
_BODY: Final = b"</s11:Header><s11:Body>"
_CLOSE: Final = b"</s11:Body></s11:Envelope>"

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Memory(Generic[Key, Value]):
    """The last few values made, by key."""

    def __init__(self, make: Callable[..., Value]) -> None:
        self._make = make
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, *arguments: object) -> Value:
        """Return the value of this key, made of these arguments when it is not there."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._make(*arguments)
            if len(self._kept) > _MEMORY:
                self._kept.popitem(last=False)
        return found


class Envelopes:
    """Makes the messages. ``compose`` is what the courier wants."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._headers: _Memory[str, bytes] = _Memory(_header)
        self._payloads: _Memory[tuple[int, str], bytes] = _Memory(self._payload)
        self._told: _Memory[tuple[int, str], bytes] = _Memory(self._tell)

    def compose(self, subscription: Subscription, deliveries: Sequence[Delivery]) -> Message:
        """Return the request for these messages of one subscription; for a raw one exactly one message.

        Its MessageID depends on the messages only, so it is the same at every attempt. Without messages it tells that
        the subscription's time is over.
        """
        if not deliveries:
            return self._request(subscription, NOTIFY, _end_id(subscription), self._notify([self._ended(subscription)]))
        event = deliveries[0].event
        form = _form(subscription, event)
        identity = message_id(deliveries)
        if subscription.raw:
            content = self._payloads.get((event.id, form), event, form)
            return self._request(subscription, action(form, event), identity, [content])
        opening = self._opening(subscription.id)
        pieces: list[bytes] = []
        for delivery in deliveries:
            told = _form(subscription, delivery.event)
            pieces += (opening, self._told.get((delivery.event.id, told), delivery.event, told))
        return self._request(subscription, NOTIFY, identity, self._notify(pieces))

    def _request(self, subscription: Subscription, name: str, identity: str, content: Sequence[bytes]) -> Message:
        start = f"<wsa:Action>{escape(name)}</wsa:Action><wsa:MessageID>{identity}</wsa:MessageID>".encode()
        pieces = [_OPEN, start, self._headers.get(subscription.id, subscription), _BODY, *content, _CLOSE]
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{name}"'}
        return Message(headers=headers, body=b"".join(pieces))

    def _notify(self, messages: Sequence[bytes]) -> list[bytes]:
        return [b"<wsnt:Notify>", *messages, b"</wsnt:Notify>"]

    def kept(self, subscription: Subscription, event: Event | None) -> str:
        """Return one wsnt:NotificationMessage by itself, as a pull point keeps it; None: its time is over."""
        start = f'<wsnt:NotificationMessage xmlns:wsa="{NS["wsa"]}" xmlns:wsnt="{NS["wsnt"]}"'.encode()
        if event is None:
            return (start + self._ended(subscription).removeprefix(b"<wsnt:NotificationMessage")).decode()
        opening = self._opening(subscription.id).removeprefix(b"<wsnt:NotificationMessage")
        form = _form(subscription, event)
        return (start + opening + self._told.get((event.id, form), event, form)).decode()

    def _ended(self, subscription: Subscription) -> bytes:
        """Return the wsnt:NotificationMessage that a subscription itself sends at its end (WS-ResourceLifetime 1.2)."""
        pieces = [
            self._opening(subscription.id),
            _bytes(topics.expression(ENDING, qname("wsnt", "Topic"))),
            _bytes(self._addresses.subscription_epr(subscription.id, qname("wsnt", "ProducerReference"))),
            b"<wsnt:Message>",
            _bytes(termination(subscription.ends_at, "the subscription's time is over")),
            b"</wsnt:Message></wsnt:NotificationMessage>",
        ]
        return b"".join(pieces)

    def _opening(self, subscription_id: str) -> bytes:
        address = escape(self._addresses.subscription(subscription_id))
        return (
            "<wsnt:NotificationMessage><wsnt:SubscriptionReference>"
            f"<wsa:Address>{address}</wsa:Address></wsnt:SubscriptionReference>"
        ).encode()

    def _payload(self, event: Event, form: str) -> bytes:
        return _bytes(payload(event, form, self._addresses))

    def _tell(self, event: Event, form: str) -> bytes:
        """Everything of a NotificationMessage that follows the subscription."""
        key = event.key
        pieces = [
            _bytes(topics.expression(form, qname("wsnt", "Topic"))),
            _bytes(self._addresses.epr(key.kind.value, key.id, qname("wsnt", "ProducerReference"))),
            b"<wsnt:Message>",
            self._payloads.get((event.id, form), event, form),
            b"</wsnt:Message></wsnt:NotificationMessage>",
        ]
        return b"".join(pieces)


def _form(subscription: Subscription, event: Event) -> str:
    """Return by which topic an event is told; what was queued for one that changed since is told by its own."""
    return form_of(subscription.topics, event) or event.topic.value


def message_id(deliveries: Sequence[Delivery]) -> str:
    """Return the MessageID of a request with these messages, which follow each other in one subscription's line.

    One message keeps its own id. Of several, the first and the last say which they are: a request that was made
    again with more messages in it is another one, and must not be dropped as a duplicate.
    """
    first, last = deliveries[0].message_id, deliveries[-1].message_id
    return escape(first) if len(deliveries) == 1 else uuid5(_MESSAGES, f"{first} {last}").urn


def _end_id(subscription: Subscription) -> str:
    return uuid5(_MESSAGES, f"{subscription.id} {subscription.ends_at}").urn


def _header(subscription: Subscription) -> bytes:
    parameters = [etree.fromstring(text, _PARSER) for text in subscription.parameters]
    for element in parameters:
        element.set(qname("wsa", "IsReferenceParameter"), "true")
    return b"".join(map(_bytes, (E["wsa"].To(subscription.consumer), *parameters)))


def _bytes(element: _Element) -> bytes:
    return etree.tostring(element, encoding="utf-8", with_tail=False)
