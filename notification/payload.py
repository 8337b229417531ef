"""The payload of a notification: one element of the shared types for each topic (``schemas/types.xsd``).

An Event's body is plain JSON; here it becomes XML, with the event's number in its resource's history as attribute
``sequence``, by which a consumer drops what it was told twice and sees what its filter left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.workspace.model import Event, Topic
from flyinglow.wsrf.times import parse_time, timestamp
from flyinglow.wsrf.xml import NS, clean_text, qname

if TYPE_CHECKING:
    from lxml.etree import _Element

ELEMENTS: Final[Mapping[Topic, str]] = MappingProxyType(
    {
        Topic.STATE: "StateChange",
        Topic.SCHEDULE: "ScheduleChange",
        Topic.NETWORKING: "NetworkingChange",
        Topic.TERMINATION: "TerminationNotice",
        Topic.WARNING: "EndWarning",
    },
)
"""The payload's element, by topic."""

Body = Mapping[str, Any]


def action(topic: Topic) -> str:
    """Return the wsa:Action of a payload that is sent raw."""
    return f"{NS['fl']}/Notification/{ELEMENTS[topic]}"


def payload(event: Event) -> _Element:
    """Return the event as its topic's element."""
    root = etree.Element(qname("fl", ELEMENTS[event.topic]), nsmap={"fl": NS["fl"]})
    root.set("sequence", str(event.sequence))
    source = _add(root, "Source")
    _add(source, "Kind", event.key.kind.value)
    _add(source, "Name", event.body.get("name", ""))
    _add(root, "Time", timestamp(event.at))
    _FILL[event.topic](root, event.body)
    return root


def _add(parent: _Element, tag: str, value: object = None) -> _Element:
    child = etree.SubElement(parent, qname("fl", tag))
    if value is not None:
        child.text = clean_text(str(value))
    return child


def _some(parent: _Element, body: Body, **fields: str) -> None:
    """Add an element for each of these keys that has a value: ``Element="key"``."""
    for tag, key in fields.items():
        if body.get(key) not in {None, ""}:
            _add(parent, tag, body[key])


def _time(parent: _Element, body: Body, tag: str, key: str) -> None:
    if body.get(key):
        _add(parent, tag, timestamp(parse_time(str(body[key]))))


def _state(root: _Element, body: Body) -> None:
    _add(root, "State", body["state"])
    _some(root, body, Task="task", Target="target", Previous="previous", Reason="reason")
    if "total" in body:
        census = _add(root, "Census")
        _add(census, "Total", body["total"])
        for state, count in sorted(body.get("counts", {}).items()):
            _add(census, "Count", count).set("state", state)
    if "guest" in body:
        guest = _add(root, "ContextStatus")
        _some(guest, body["guest"], Status="status", Message="message")
        _time(guest, body["guest"], "Time", "at")


def _schedule(root: _Element, body: Body) -> None:
    _time(root, body, "StartTime", "starts_at")
    _time(root, body, "TerminationTime", "ends_at")
    _some(root, body, Reason="reason")
    _time(root, body, "SavingTime", "saves_at")


def _networking(root: _Element, body: Body) -> None:
    networking = _add(root, "Networking")
    for nic in body.get("nics", ()):
        element = _add(networking, "NIC")
        _add(element, "Network", nic["network"])
        _some(element, nic, Name="name", IPAddress="ip")
        if nic.get("prefix"):
            _add(element, "PrefixLength", nic["prefix"])
        _some(element, nic, MACAddress="mac", Hostname="hostname", Gateway="gateway")
        for server in nic.get("dns", ()):
            _add(element, "DNS", server)
        _some(element, nic, IPv6Address="ip6", IPv6PrefixLength="prefix6", IPv6Gateway="gateway6")
        for server in nic.get("dns6", ()):
            _add(element, "IPv6DNS", server)
        _some(element, nic, Delivery="delivery")
        for kind, count in nic.get("dropped", {}).items():
            _add(element, "Dropped", count).set("kind", kind)
    _some(root, body, Reason="reason")


def _termination(root: _Element, body: Body) -> None:
    _time(root, body, "TerminationTime", "at")
    _some(root, body, Reason="reason")


def _warning(root: _Element, body: Body) -> None:
    _time(root, body, "TerminationTime", "ends_at")
    _add(root, "Seconds", int(body.get("seconds", 0)))
    _some(root, body, Reason="reason")
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
