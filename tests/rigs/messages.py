"""Messages that nobody would write: the samples of the reference, changed at random, again and again.

``Maker`` draws from anything that is a ``random.Random``; Hypothesis hands in its own, which it can make smaller. What
comes out is mostly well-formed and mostly wrong, for what is wrong in one place only gets furthest.
"""

from __future__ import annotations

import copy
import functools
import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from lxml import etree
from lxml.etree import _Element

from flyinglow.wsrf.xml import NS

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
SERVICES = ("factory", "workspace", "group", "ensemble", "entry", "subscription", "pullpoints", "pullpoint", "broker")
WITHOUT_RESOURCES = ("factory", "pullpoints", "broker")
Known = Mapping[str, Sequence[str]]
SOAPS = {"1.1": NS["s11"], "1.2": NS["s12"]}
TEXTS = (
    *("", " ", "0", "-1", "1e999", "NaN", "9" * 30, "-" + "9" * 30, "1.5", "true", "TRUE", "nil"),
    *("P100000000Y", "PT0S", "-P1D", "P1M", "PT1.000000001S", "P", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59+14:00", "2026-11-22T12:00:00", "2026-11-22T24:00:00Z", "24:00"),
    *("../../etc/passwd", "/dev/zero", "-rf", "; reboot", "$(id)", "a\tb\nc", "x" * 300, "é\u202e\U0001f600", "\u0085"),
    *("\x1b[2J".replace("\x1b", "\u241b"), "%s%n", "{0}", "' or 1=1 --", "]]>", "&lt;", "fl:State", "nope:State", ":"),
    *(
        "http://127.0.0.1:22/",
        "http://[::ffff:169.254.169.254]/",
        "file:///etc/passwd",
        "gopher://x/",
        "http://",
        "//x",
    ),
    *("urn:", "http://\u2603.example/", "http://a@b:c@d/", "http://192.0.2.1:99999/", "http://x/" + "y" * 3000),
    *("//*", "//*[//*[//*[//*]]]", "count(//node()) > 1", "1 div 0", "$x", "system-property('x')", "(((((((((", "a|b"),
    *(
        "0" * 32,
        "f" * 32,
        "g" * 32,
        "5b0e3d1c9a7f4e2d8c6b1a0f3e5d7c9b",
        "fl:Lease//.",
        "*",
        "//",
        "fl:Lease/*/fl:State",
    ),
    *("http://www.w3.org/2005/08/addressing/none", "http://www.w3.org/2005/08/addressing/anonymous"),
)
"""Values that programs stumble over."""

_LARGE = 200  # elements, from which on a message grows slowly
_CORNERS = ("xsi:nil=true", "id", "href", "dialect", "Dialect", "mustUnderstand", "topic", "encodingStyle", "xml:lang")


@dataclass(frozen=True, slots=True)
class Message:
    """What arrives at the endpoint of a service; ``resource`` is what its URL ends with."""

    service: str
    soap: str
    body: bytes
    soap_action: str | None = None
    resource: str | None = None


@functools.cache
def samples() -> tuple[tuple[str, bytes], ...]:
    """Return (service, body's element) of every request in the reference."""
    found = []
    for path in sorted(SAMPLES.glob("*-request.xml")):
        service = path.name.partition("-")[0]
        root = etree.parse(path).getroot()
        body = root.find(f"{{{NS['s11']}}}Body")
        body = root.find(f"{{{NS['s12']}}}Body") if body is None else body
        element = root if body is None else body[0]
        text = etree.tostring(copy.deepcopy(element)).replace(b"//client.example", b"//10.9.9.9")  # needs no look-up
        found.append((service if service in SERVICES else "factory", text))
    return tuple(found)


class Maker:
    """Makes messages. ``known`` are ids of resources that there are, by service: they get past the first look."""

    def __init__(self, draw: random.Random, known: Known | None = None) -> None:
        self._draw = draw
        self._known = known or {}

    def message(self) -> Message:
        """Return the next one."""
        draw = self._draw
        service, body = draw.choice(samples())
        soap = draw.choice(("1.1", "1.1", "1.2"))
        element = etree.fromstring(body)
        for _ in range(draw.choice((0, 0, 1, 1, 1, 2, 3, 8))):
            element = draw.choice(self._changes())(element)
        if draw.random() < 0.05:
            service = draw.choice(SERVICES)
        resource = self.identity(service) if service not in WITHOUT_RESOURCES or draw.random() < 0.05 else None
        in_url = resource is not None and draw.random() < 0.5
        envelope = self._envelope(element, soap, None if in_url and draw.random() < 0.9 else resource)
        return Message(
            service, soap, self._bytes(etree.tostring(envelope)), self._action(), resource if in_url else None
        )

    def identity(self, service: str = "") -> str:
        """Return the id of a resource: one that there is, or nearly, or anything."""
        draw = self._draw
        known = self._known.get(service) or [name for names in self._known.values() for name in names]
        if known and draw.random() < 0.85:
            return draw.choice(known)
        return draw.choice((*TEXTS, "".join(draw.choice(string.hexdigits) for _ in range(32))))

    def endpoint_reference(self) -> _Element:
        """Return an EPR: its address, reference parameters, metadata, or some of them, or two."""
        draw = self._draw
        wsa, fl = f"{{{NS['wsa']}}}", f"{{{NS['fl']}}}"
        reference = etree.Element(f"{wsa}EndpointReference")
        for _ in range(draw.choice((1, 1, 1, 0, 2))):
            etree.SubElement(reference, f"{wsa}Address").text = _xml(draw.choice(TEXTS))
        if draw.random() < 0.7:
            parameters = etree.SubElement(reference, f"{wsa}ReferenceParameters")
            for _ in range(draw.choice((1, 1, 0, 2))):
                etree.SubElement(parameters, f"{fl}ResourceID").text = _xml(self.identity())
        if draw.random() < 0.2:
            etree.SubElement(etree.SubElement(reference, f"{wsa}Metadata"), "anything")
        return reference

    def _changes(self) -> tuple[Callable[[_Element], _Element], ...]:
        return (
            self._retext,
            self._retext,
            self._reattribute,
            self._drop,
            self._double,
            self._rename,
            self._graft,
            self._refer,
            self._wrap,
        )

    def _any(self, root: _Element) -> _Element:
        return self._draw.choice(list(root.iter("*")))

    def _retext(self, root: _Element) -> _Element:
        leaves = [node for node in root.iter("*") if not len(node)]
        self._draw.choice(leaves).text = _xml(self._draw.choice((*TEXTS, self.identity())))
        return root

    def _reattribute(self, root: _Element) -> _Element:
        node, draw = self._any(root), self._draw
        name = draw.choice((*node.attrib, *_CORNERS))
        if name == "xsi:nil=true":
            node.set("{http://www.w3.org/2001/XMLSchema-instance}nil", draw.choice(("true", "1", "0", "x")))
        elif str(name) in node.attrib and draw.random() < 0.3:
            del node.attrib[name]
        elif not str(name).startswith("xml:"):
            node.set(name, _xml(draw.choice(TEXTS)))
        return root

    def _drop(self, root: _Element) -> _Element:
        node = self._any(root)
        parent = node.getparent()
        if parent is not None:
            parent.remove(node)
        return root

    def _double(self, root: _Element) -> _Element:
        node = self._any(root)
        parent, twin = node.getparent(), copy.deepcopy(node)
        times = self._draw.choice((1, 1, 2, 30))
        for _ in range(times if sum(1 for _ in root.iter()) < _LARGE else 1):
            (node if parent is None else parent).append(copy.deepcopy(twin))
        return root

    def _rename(self, root: _Element) -> _Element:
        node, draw = self._any(root), self._draw
        uri, _, local = str(node.tag).rpartition("}")
        other = f"{{{draw.choice(sorted(NS.values()))}}}"
        node.tag = draw.choice((f"{other}{local}", local, f"{uri}}}Other" if uri else "Other"))
        return root

    def _graft(self, root: _Element) -> _Element:
        other = etree.fromstring(self._draw.choice(samples())[1])
        self._any(root).append(self._any(other))
        return root

    def _refer(self, root: _Element) -> _Element:
        self._any(root).append(self.endpoint_reference())
        return root

    def _wrap(self, root: _Element) -> _Element:
        for _ in range(self._draw.choice((1, 1, 5, 70))):
            outer = etree.Element(root.tag, nsmap={prefix: uri for prefix, uri in root.nsmap.items() if prefix})
            outer.append(root)
            root = outer
        return root

    def _envelope(self, element: _Element, soap: str, resource: str | None) -> _Element:
        draw, uri = self._draw, SOAPS[soap]
        if draw.random() < 0.02:
            uri = draw.choice((*SOAPS.values(), "urn:soap", NS["wsa"]))
        envelope = etree.Element(f"{{{uri}}}Envelope", nsmap={"s": uri, "wsa": NS["wsa"], "fl": NS["fl"]})
        header = etree.SubElement(envelope, f"{{{uri}}}Header")
        if resource is not None:
            etree.SubElement(header, f"{{{NS['fl']}}}ResourceID").text = _xml(resource)
        if draw.random() < 0.3:
            self._headers(header, uri)
        body = etree.SubElement(envelope, f"{{{uri}}}Body")
        body.append(element)
        if draw.random() < 0.03:
            body.append(copy.deepcopy(element))
        if draw.random() < 0.02:
            envelope.remove(draw.choice((header, body)))
        return envelope

    def _headers(self, header: _Element, uri: str) -> None:
        draw, wsa = self._draw, f"{{{NS['wsa']}}}"
        for name in ("Action", "To", "MessageID", "RelatesTo"):
            for _ in range(draw.choice((0, 0, 0, 0, 1, 2))):
                etree.SubElement(header, f"{wsa}{name}").text = _xml(draw.choice(TEXTS))
        for name in ("ReplyTo", "FaultTo", "From"):
            if draw.random() < 0.1:
                reference = self.endpoint_reference()
                reference.tag = f"{wsa}{name}"
                header.append(reference)
        if draw.random() < 0.1:
            stranger = etree.SubElement(header, draw.choice(("{urn:x}Stranger", f"{wsa}Action", "bare")))
            stranger.set(f"{{{uri}}}mustUnderstand", draw.choice(("1", "true", "0", "x")))

    def _action(self) -> str | None:
        return self._draw.choice((*[None] * 20, "", '""', "urn:nothing", "x" * 500, "\u2603"))

    def _bytes(self, data: bytes) -> bytes:
        """Now and then, spoil what was well-formed."""
        draw = self._draw
        if draw.random() < 0.9:
            return data
        at = draw.randrange(len(data))
        return draw.choice(
            (
                data[:at],
                data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :],
                data[:at] + data[at // 2 : at] + data[at:],
                b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + data,
                b'<?xml version="1.0" encoding="UTF-16"?>' + data,
                data.decode("latin-1").encode("utf-16"),
                b"",
                b"\0" * at,
            )
        )


def _xml(text: str) -> str:
    """Return it without the characters that no XML document can hold; those come in as bytes."""
    return "".join(char for char in text if char in "\t\n\r" or char >= " ")


def messages(known: Known | None = None) -> st.SearchStrategy[Message]:
    """Return the strategy for whole messages."""
    return st.randoms(use_true_random=False).map(lambda draw: Maker(draw, known).message())


def references() -> st.SearchStrategy[_Element]:
    """Return the strategy for endpoint references."""
    return st.randoms(use_true_random=False).map(lambda draw: Maker(draw).endpoint_reference())


def any_bytes() -> st.SearchStrategy[Any]:
    """Return the strategy for what is no message at all."""
    return st.binary(max_size=400)
