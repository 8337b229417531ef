"""What a Subscribe request asks for: read from its (validated) XML into plain values.

Several TopicExpressions select the union of their topics; several MessageContents must all be true, and so must
several ProducerProperties. Filters of different kinds must all let a message through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.notification import contents, faults, topics
from flyinglow.notification.lifetime import Asked, asked
from flyinglow.workspace import producer_xml
from flyinglow.wsrf.xml import NS, qname, text_of

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.wsrf.xpath.evaluator import Query

PARAMETERS_MOST: Final = 16
PARAMETERS_LONGEST: Final = 8192
"""Bytes of all reference parameters together: they go out with every message."""

# A consumer's own parameters cannot pose as what other headers say to whoever reads the message.
_RESERVED: Final = frozenset({NS["wsa"], NS["s11"], NS["s12"]})
_SECURITY: Final = "http://docs.oasis-open.org/wss/"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeRequest:
    """A Subscribe request; ``topics`` empty means all. ``parameters`` are reference parameters as serialized XML."""

    consumer: str
    parameters: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    contents: tuple[Query, ...] = ()
    properties: tuple[Query, ...] = ()
    filter_xml: str = ""
    raw: bool = False
    end: Asked = Asked()


def read(body: _Element) -> SubscribeRequest:
    """Read a wsnt:Subscribe. Raises the faults of WS-BaseNotification 4.2."""
    consumer = body.find(qname("wsnt", "ConsumerReference"))
    if consumer is None:
        raise faults.creation_failed("the request names no consumer")
    chosen = body.find(qname("wsnt", "Filter"))
    return SubscribeRequest(
        consumer=text_of(consumer, qname("wsa", "Address")),
        parameters=_parameters(consumer),
        topics=_topics(chosen),
        contents=contents.read(chosen),
        properties=contents.read(chosen, contents.PRODUCER_PROPERTIES),
        filter_xml="" if chosen is None else _text(chosen),
        raw=_raw(body.find(qname("wsnt", "SubscriptionPolicy"))),
        end=asked(body.find(qname("wsnt", "InitialTerminationTime"))),
    )


def _text(element: _Element) -> str:
    return etree.tostring(element, encoding="unicode", with_tail=False)


def _parameters(consumer: _Element) -> tuple[str, ...]:
    found = consumer.find(qname("wsa", "ReferenceParameters"))
    elements = [] if found is None else list(found)
    for element in elements:
        uri = etree.QName(element).namespace or ""
        if not uri or uri in _RESERVED or uri.startswith(_SECURITY):
            raise faults.creation_failed(f"{element.tag} cannot be a consumer's reference parameter")
        for name in element.attrib:
            if etree.QName(name).namespace in _RESERVED and name != qname("wsa", "IsReferenceParameter"):
                raise faults.creation_failed(f"a reference parameter cannot have the attribute {name!s}")
    texts = tuple(_text(element) for element in elements)
    if len(texts) > PARAMETERS_MOST or sum(len(text.encode()) for text in texts) > PARAMETERS_LONGEST:
        limits = f"{PARAMETERS_MOST} elements and {PARAMETERS_LONGEST} bytes"
        raise faults.creation_failed(f"the consumer's reference parameters are more than {limits}")
    return texts


def _topics(chosen: _Element | None) -> tuple[str, ...]:
    if chosen is None:
        return ()
    unknown: list[str] = []
    selected: list[str] = []
    for child in chosen:
        match child.tag:
            case producer_xml.TOPIC_EXPRESSION:
                selected += topics.select(child)
            case contents.MESSAGE_CONTENT | contents.PRODUCER_PROPERTIES:
                continue
            case str() as name:
                unknown.append(name)
    if unknown:
        raise faults.filter_invalid(unknown)
    return tuple(dict.fromkeys(selected))


def _raw(policy: _Element | None) -> bool:
    children = [] if policy is None else [child.tag for child in policy]
    unknown = [name for name in children if name != qname("wsnt", "UseRaw")]
    if unknown:
        raise faults.policy_unrecognized(unknown)
    return bool(children)
