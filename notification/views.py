"""The same events by other topics, in the messages that the standards have for them.

The values of properties that change are told as WS-ResourceProperties 1.2 does (``fl:state-value`` and so on; topics
named like the properties themselves could not stand in a TopicSet, where a schema takes them for properties), the end
of a resource as WS-ResourceLifetime 1.2 does, and members that come and go as WS-ServiceGroup 1.2 does. They are for
clients that know the standards and not this service. An event is told to a subscription once: in its own form, unless
that was not chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final

from flyinglow.notification.fields import Body, networking
from flyinglow.workspace.makers import FL, MAKERS, RL
from flyinglow.workspace.model import Event, Kind, Topic
from flyinglow.workspace.producer_xml import VIEWS
from flyinglow.wsrf.times import parse_time, timestamp
from flyinglow.wsrf.xml import NIL, clean_text, qname

if TYPE_CHECKING:
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.wsrf.addresses import Addresses

_RP: Final = MAKERS["rp"]
_SG: Final = MAKERS["sg"]


def form_of(chosen: Collection[str], event: Event) -> str | None:
    """Return by which of the topics that a subscription chose (none: all) it is told of an event; None: by none."""
    if not chosen or event.topic.value in chosen:
        return event.topic.value
    return next((name for name in chosen if VIEWS.get(name) is event.topic and _is_news(name, event.body)), None)


def source_of(topic: str) -> Topic:
    """Return the topic whose events a topic tells, which is itself unless it is a view."""
    return VIEWS[topic] if topic in VIEWS else Topic(topic)


def view(form: str, event: Event, addresses: Addresses | None) -> _Element:
    """Return the event in the form of a view; ``addresses`` None leaves addresses out."""
    return _MAKE[form](event, addresses)


def membership(event: Event, addresses: Addresses | None) -> _Element:
    """Return what a service group says of a member that came or went."""
    body = event.body
    added = body["change"] == "added"
    member = body["member"]
    content = FL.Name(clean_text(str(body["member_name"])))
    entry = f"{event.key.kind}.{event.key.id}.{member}"
    root = _SG("EntryAdditionNotification" if added else "EntryRemovalNotification")
    root.append(_epr(addresses, "entry", entry, "ServiceGroupEntryEPR"))
    root.append(_epr(addresses, Kind.WORKSPACE, member, "MemberEPR"))
    root.append(_SG("InitialContent" if added else "FinalContent", content))
    if not added and body.get("reason"):
        root.append(_SG.Reason(clean_text(str(body["reason"]))))
    return root


def _epr(addresses: Addresses | None, kind: str, resource: str, name: str) -> _Element:
    if addresses is not None:
        return addresses.epr(kind, resource, qname("sg", name))
    return _SG(name, MAKERS["wsa"].Address(""), MAKERS["wsa"].ReferenceParameters(FL.ResourceID(resource)))


def _is_news(form: str, body: Body) -> bool:
    """Say whether an event of the view's topic changes what the view is about."""
    return form != "fl:state-value" or body.get("previous") != body.get("state")


def _state(event: Event, _addresses: Addresses | None) -> _Element:
    before, now = event.body.get("previous"), event.body["state"]
    old = [FL.State(before)] if before and before != now else []
    return _changed(old, [FL.State(now)])


def _end(event: Event, _addresses: Addresses | None) -> _Element:
    ends_at = event.body.get("ends_at")
    new = RL.TerminationTime(timestamp(parse_time(str(ends_at)))) if ends_at else RL.TerminationTime({NIL: "true"})
    return _changed([], [new])


def _networking(event: Event, _addresses: Addresses | None) -> _Element:
    return _changed([], [networking(event.body)])


def _termination(event: Event, _addresses: Addresses | None) -> _Element:
    at = event.body.get("at")
    return termination(parse_time(str(at)) if at else event.at, str(event.body.get("reason") or ""))


def termination(at: datetime | None, reason: str) -> _Element:
    """Return what a WS-Resource says at its end (WS-ResourceLifetime 1.2, section 7)."""
    root = RL.TerminationNotification(RL.TerminationTime(timestamp(at)) if at else RL.TerminationTime({NIL: "true"}))
    if reason:
        root.append(RL.TerminationReason(clean_text(reason)))
    return root


def _changed(old: list[_Element], new: list[_Element]) -> _Element:
    root = _RP.ResourcePropertyValueChangeNotification()
    if old:
        root.append(_RP.OldValues(*old))
    root.append(_RP.NewValues(*new))
    return root


_MAKE: Final[Mapping[str, Callable[[Event, Addresses | None], _Element]]] = {
    "fl:state-value": _state,
    "fl:networking-value": _networking,
    "fl:end-value": _end,
    "rl:ResourceTermination": _termination,
    "sg:ServiceGroupModification": membership,
}
