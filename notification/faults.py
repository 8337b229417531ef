"""The faults of WS-BaseNotification 1.3 that this service answers with, one function each.

Each returns the fault to raise; the message is for the person behind the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lxml import etree

from flyinglow.wsrf.faults import ACTION_WSN, TypedFault
from flyinglow.wsrf.times import timestamp
from flyinglow.wsrf.xml import E, qname, qname_text

if TYPE_CHECKING:
    from lxml.etree import _Element


def _fault(name: str, message: str, children: Sequence[_Element] = ()) -> TypedFault:
    return TypedFault(qname("wsnt", name), message, children=children, action=ACTION_WSN)


def dialect_unknown(dialect: str) -> TypedFault:
    """Say that a topic expression's dialect is not one of ours."""
    return _fault(
        "TopicExpressionDialectUnknownFault",
        f"topic expressions of dialect {dialect[:200]!r} are not understood; use Simple, Concrete or Full",
    )


def topic_expression_invalid(message: str) -> TypedFault:
    """Say that a topic expression is not one."""
    return _fault("InvalidTopicExpressionFault", message)


def topic_not_supported(message: str) -> TypedFault:
    """Say that the producer has no such topic."""
    return _fault("TopicNotSupportedFault", message)


def many_topics(topics: Sequence[str]) -> TypedFault:
    """Say that one topic was to be named."""
    return _fault("MultipleTopicsSpecifiedFault", f"one topic has a current message; these are {', '.join(topics)}")


def no_current_message(topic: str) -> TypedFault:
    """Say that nothing was told on this topic, or that it was forgotten."""
    return _fault("NoCurrentMessageOnTopicFault", f"there is no message on the topic {topic}, or none is kept any more")


def filter_invalid(unknown: Sequence[str]) -> TypedFault:
    """Say that the filter has children (Clark names) that are no filters here."""
    names = ", ".join(unknown)
    return _fault("InvalidFilterFault", f"these are no filters known here: {names}", _qnames("UnknownFilter", unknown))


def message_content_invalid(message: str) -> TypedFault:
    """Say that a MessageContent filter is not one that can be evaluated."""
    return _fault("InvalidMessageContentExpressionFault", message)


def producer_properties_invalid(message: str) -> TypedFault:
    """Say that a ProducerProperties filter is not one that can be evaluated."""
    return _fault("InvalidProducerPropertiesExpressionFault", message)


def policy_unsupported(message: str, refused: Sequence[str]) -> TypedFault:
    """Say that a policy is known (Clark names) and not to be had with this request."""
    return _fault("UnsupportedPolicyRequestFault", message, _qnames("UnsupportedPolicy", refused))


def pull_point_refused(message: str) -> TypedFault:
    """Say that no pull point is made."""
    return _fault("UnableToCreatePullPointFault", message)


def get_messages_failed(message: str) -> TypedFault:
    """Say that messages cannot be fetched as they were asked for."""
    return _fault("UnableToGetMessagesFault", message)


def publisher_rejected(message: str) -> TypedFault:
    """Say that the broker takes no publisher (WS-BrokeredNotification 1.3, section 4.1)."""
    return TypedFault(qname("wsn-br", "PublisherRegistrationRejectedFault"), message, action=ACTION_WSN)


def policy_unrecognized(unknown: Sequence[str]) -> TypedFault:
    """Say that the subscription policy has children (Clark names) that are no policies here."""
    names = ", ".join(unknown)
    message = f"these are no subscription policies known here: {names}"
    return _fault("UnrecognizedPolicyRequestFault", message, _qnames("UnrecognizedPolicy", unknown))


def creation_failed(message: str) -> TypedFault:
    """Say that the subscription cannot be made, for a reason that has no fault of its own."""
    return _fault("SubscribeCreationFailedFault", message)


def resume_failed(message: str) -> TypedFault:
    """Say that a subscription stays paused, and why."""
    return _fault("ResumeFailedFault", message)


def initial_time_unacceptable(message: str, minimum: datetime, maximum: datetime | None) -> TypedFault:
    """Say that the end Subscribe asks for is not granted; between these it would be."""
    return _fault("UnacceptableInitialTerminationTimeFault", message, _bounds(minimum, maximum))


def time_unacceptable(message: str, minimum: datetime, maximum: datetime | None) -> TypedFault:
    """Say that the end Renew asks for is not granted; between these it would be."""
    return _fault("UnacceptableTerminationTimeFault", message, _bounds(minimum, maximum))


def _bounds(minimum: datetime, maximum: datetime | None) -> list[_Element]:
    bounds = [E["wsnt"].MinimumTime(timestamp(minimum))]
    if maximum is not None:
        bounds.append(E["wsnt"].MaximumTime(timestamp(maximum)))
    return bounds


def _qnames(tag: str, names: Sequence[str]) -> list[_Element]:
    found = []
    for name in names:
        text, declaration = qname_text(name)
        element = etree.Element(qname("wsnt", tag), nsmap=declaration)
        element.text = text
        found.append(element)
    return found
