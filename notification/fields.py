"""Elements of the shared types, made of the plain values of an event's body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lxml import etree

from flyinglow.wsrf.xml import NS, clean_text, qname

if TYPE_CHECKING:
    from lxml.etree import _Element

Body = Mapping[str, Any]


def add(parent: _Element, tag: str, value: object = None) -> _Element:
    """Add an element of the shared types, with this text unless it is None."""
    child = etree.SubElement(parent, qname("fl", tag))
    if value is not None:
        child.text = clean_text(str(value))
    return child


def some(parent: _Element, body: Body, **fields: str) -> None:
    """Add an element for each of these keys that has a value: ``Element="key"``."""
    for tag, key in fields.items():
        if body.get(key) not in {None, ""}:
            add(parent, tag, body[key])


def networking(body: Body) -> _Element:
    """Return the addresses that an event of networking tells of."""
    root = etree.Element(qname("fl", "Networking"), nsmap={"fl": NS["fl"]})
    for nic in body.get("nics", ()):
        element = add(root, "NIC")
        add(element, "Network", nic["network"])
        some(element, nic, Name="name", IPAddress="ip")
        if nic.get("prefix"):
            add(element, "PrefixLength", nic["prefix"])
        some(element, nic, MACAddress="mac", Hostname="hostname", Gateway="gateway")
        for server in nic.get("dns", ()):
            add(element, "DNS", server)
        some(element, nic, IPv6Address="ip6", IPv6PrefixLength="prefix6", IPv6Gateway="gateway6")
        for server in nic.get("dns6", ()):
            add(element, "IPv6DNS", server)
        some(element, nic, Delivery="delivery")
        for kind, count in nic.get("dropped", {}).items():
            add(element, "Dropped", count).set("kind", kind)
    return root
