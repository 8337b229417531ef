"""Endpoint references: how a resource is addressed (WS-Addressing 1.0, section 2)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from lxml import etree

from flyinglow.client.names import KINDS, NS, clark
from flyinglow.client.reading import child, elements, text
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from lxml.etree import _Element

RESOURCE_ID: Final = clark("fl:ResourceID")
_MARK: Final = clark("wsa:IsReferenceParameter")


@dataclass(frozen=True, slots=True)
class Epr:
    """An address, and the elements that must accompany every message to it (as XML text, to be comparable)."""

    address: str
    parameters: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, element: _Element) -> Epr:
        """Read an element of type wsa:EndpointReferenceType. Raises InvalidError when it has no address."""
        address = text(element, "wsa:Address")
        if not address:
            raise InvalidError("this is no endpoint reference: it has no wsa:Address")
        given = child(element, "wsa:ReferenceParameters")
        copies = [] if given is None else [etree.tostring(each, with_tail=False) for each in elements(given)]
        return cls(address, tuple(copies))

    @classmethod
    def parse(cls, given: str | _Element | Epr) -> Epr:
        """Take a resource's URL, an endpoint reference as an element, or an Epr."""
        if isinstance(given, Epr):
            return given
        if not isinstance(given, str):
            return cls.read(given)
        if urlsplit(given).scheme not in {"http", "https"}:
            raise InvalidError(f"{given!r} is not the URL of a resource (http://HOST/workspace/ID)")
        return cls(given.rstrip("/"))

    @property
    def resource_id(self) -> str:
        """The id in the reference parameters; empty when the address alone says it all."""
        found = (element for element in self.elements() if element.tag == RESOURCE_ID)
        return next(((element.text or "").strip() for element in found), "")

    @property
    def url(self) -> str:
        """The address by which the resource is reached without any header."""
        return f"{self.address}/{self.resource_id}" if self.resource_id else self.address

    @property
    def kind(self) -> str:
        """What it refers to. Raises InvalidError when the address does not tell."""
        steps = urlsplit(self.address).path.split("/")
        for step in reversed(steps[-2:]):
            if step in KINDS:
                return step
        raise InvalidError(f"{self.address} is not the address of a workspace, group or ensemble")

    def elements(self) -> list[_Element]:
        """Return the reference parameters, freshly made."""
        return [etree.fromstring(each) for each in self.parameters]

    def headers(self) -> list[_Element]:
        """Return the reference parameters as the headers that they become (section 3.3 of the binding to SOAP)."""
        made = self.elements()
        for element in made:
            element.set(_MARK, "true")
        return made

    def element(self, tag: str = "wsa:EndpointReference") -> _Element:
        """Return it as an element."""
        made = etree.Element(clark(tag), nsmap={"wsa": NS["wsa"]})
        etree.SubElement(made, clark("wsa:Address")).text = self.address
        if self.parameters:
            holder = etree.SubElement(made, clark("wsa:ReferenceParameters"))
            holder.extend(copy.deepcopy(each) for each in self.elements())
        return made

    def values(self) -> dict[str, object]:
        """Return it as zeep wants it for an element of type wsa:EndpointReferenceType."""
        made: dict[str, object] = {"Address": {"_value_1": self.address}}
        if self.parameters:
            made["ReferenceParameters"] = {"_value_1": self.elements()}
        return made
