"""The payload of a notification: one element of the shared types for each topic (``schemas/types.xsd``).

An Event's body is plain JSON; here it becomes XML, with the event's number in its resource's history as attribute
``sequence``, by which a consumer drops what it was told twice and sees what its filter left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.notification.fields import add, networking, some
from flyinglow.notification.views import membership, view
from flyinglow.workspace.model import Event, Topic
from flyinglow.workspace.producer_xml import VIEWS
from flyinglow.wsrf.times import parse_time, timestamp
from flyinglow.wsrf.xml import NS, qname

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.wsrf.addresses import Addresses

ELEMENTS: Final[Mapping[Topic, str]] = MappingProxyType(
    {
        Topic.STATE: "StateChange",
        Topic.SCHEDULE: "ScheduleChange",
        Topic.NETWORKING: "NetworkingChange",
        Topic.TERMINATION: "TerminationNotice",
        Topic.WARNING: "EndWarning",
    },
)
"""The payload's element, by topic; that of ``membership`` is the standard's (views.py)."""

Body = Mapping[str, Any]


def action(form: str, event: Event) -> str:
    """Return the wsa:Action of a payload that is sent raw."""
    if form in VIEWS or event.topic is Topic.MEMBERSHIP:
        uri, _, name = str(payload(event, form).tag).removeprefix("{").partition("}")
        return f"{uri}/{name}"
    return f"{NS['fl']}/Notification/{ELEMENTS[event.topic]}"


def payload(event: Event, form: str = "", addresses: Addresses | None = None) -> _Element:
    """Return the event as its topic's element, or in the ``form`` of a view of it.

    Without ``addresses`` the endpoint references in it have none.
    """
    if form in VIEWS:
        return view(form, event, addresses)
    if event.topic is Topic.MEMBERSHIP:
        return membership(event, addresses)
    root = etree.Element(qname("fl", ELEMENTS[event.topic]), nsmap={"fl": NS["fl"]})
    root.set("sequence", str(event.sequence))
    source = add(root, "Source")
    add(source, "Kind", event.key.kind.value)
    add(source, "Name", event.body.get("name", ""))
    add(root, "Time", timestamp(event.at))
    _FILL[event.topic](root, event.body)
    return root


def _time(parent: _Element, body: Body, tag: str, key: str) -> None:
    if body.get(key):
        add(parent, tag, timestamp(parse_time(str(body[key]))))


def _state(root: _Element, body: Body) -> None:
    add(root, "State", body["state"])
    some(root, body, Task="task", Target="target", Previous="previous", Reason="reason")
    if "total" in body:
        census = add(root, "Census")
        add(census, "Total", body["total"])
        for state, count in sorted(body.get("counts", {}).items()):
            add(census, "Count", count).set("state", state)
    if "guest" in body:
        guest = add(root, "ContextStatus")
        some(guest, body["guest"], Status="status", Message="message")
        _time(guest, body["guest"], "Time", "at")


def _schedule(root: _Element, body: Body) -> None:
    _time(root, body, "StartTime", "starts_at")
    _time(root, body, "TerminationTime", "ends_at")
    some(root, body, Reason="reason")
    _time(root, body, "SavingTime", "saves_at")


def _networking(root: _Element, body: Body) -> None:
    root.append(networking(body))
    some(root, body, Reason="reason")


def _termination(root: _Element, body: Body) -> None:
    _time(root, body, "TerminationTime", "at")
    some(root, body, Reason="reason")


def _warning(root: _Element, body: Body) -> None:
    _time(root, body, "TerminationTime", "ends_at")
    add(root, "Seconds", int(body.get("seconds", 0)))
    some(root, body, Reason="reason")
    _time(root, body, "SavingTime", "saves_at")


_FILL: Final[Mapping[Topic, Callable[[_Element, Body], None]]] = MappingProxyType(
    {
        Topic.STATE: _state,
        Topic.SCHEDULE: _schedule,
        Topic.NETWORKING: _networking,
        Topic.TERMINATION: _termination,
        Topic.WARNING: _warning,
    },
)
