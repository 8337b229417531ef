"""Endpoint references: how a resource of ours is addressed, and how one that comes back is read (WS-Addressing 1.0).

A workspace, group or ensemble is the service's URL plus the reference parameter ``fl:ResourceID``; the URL with the
id as its last step works as well, for tools that send no headers. A subscription has a URL of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from lxml import etree

from flyinglow.nodectl.errors import InvalidError, UnknownError
from flyinglow.wsrf.xml import NS, E, qname, text_of

if TYPE_CHECKING:
    from lxml.etree import _Element

RESOURCE_ID: Final = qname("fl", "ResourceID")
ADDRESS: Final = qname("wsa", "Address")
REFERENCE_PARAMETERS: Final = qname("wsa", "ReferenceParameters")
ENDPOINT_REFERENCE: Final = qname("wsa", "EndpointReference")
KINDS: Final = frozenset({"workspace", "group", "ensemble"})

_ID = re.compile(r"[A-Za-z0-9_.~-]{1,128}", re.ASCII)


def is_id(text: str) -> bool:
    """Say whether the text can be a resource's id at all (what cannot need not be looked up)."""
    return _ID.fullmatch(text) is not None


class Addresses:
    """Every address under one base URL. The base comes from configuration, never from what a caller says."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
            raise InvalidError(f"the base URL {base_url!r} must be http(s)://host[:port][/path]")
        self.base_url = base_url.rstrip("/")

    def service(self, name: str) -> str:
        """Return the URL of a service."""
        return f"{self.base_url}/{name}"

    def resource(self, kind: str, resource_id: str) -> str:
        """Return the URL by which a resource is reached without headers."""
        return f"{self.base_url}/{kind}/{resource_id}"

    def subscription(self, subscription_id: str) -> str:
        """Return the self-sufficient URL of a subscription."""
        return self.resource("subscription", subscription_id)

    def epr(self, kind: str, resource_id: str, tag: str = ENDPOINT_REFERENCE) -> _Element:
        """Return the endpoint reference of a workspace, group or ensemble, as an element named ``tag``."""
        parameters = E["wsa"].ReferenceParameters(E["fl"].ResourceID(resource_id))
        return self._reference(tag, self.service(kind), parameters)

    def service_epr(self, name: str, tag: str = ENDPOINT_REFERENCE) -> _Element:
        """Return the endpoint reference of a service that is itself one resource."""
        return self._reference(tag, self.service(name))

    def subscription_epr(self, subscription_id: str, tag: str = ENDPOINT_REFERENCE) -> _Element:
        """Return the endpoint reference of a subscription."""
        return self._reference(tag, self.subscription(subscription_id))

    def read(self, epr: _Element) -> tuple[str, str]:
        """Return (kind, id) of an endpoint reference of ours. Raises UnknownError for any other one."""
        kind, _, in_path = self._path(text_of(epr, ADDRESS)).partition("/")
        parameters = epr.find(REFERENCE_PARAMETERS)
        in_header = "" if parameters is None else text_of(parameters, RESOURCE_ID)
        ids = {value for value in (in_path, in_header) if value}
        if kind not in KINDS or len(ids) != 1 or not is_id(found := ids.pop()):
            raise UnknownError("the endpoint reference does not name a resource of this service")
        return kind, found

    def _path(self, address: str) -> str:
        path = address.removeprefix(self.base_url + "/")
        return "" if path == address else path

    @staticmethod
    def _reference(tag: str, address: str, *more: _Element) -> _Element:
        element = etree.Element(tag, nsmap={"wsa": NS["wsa"]})
        element.append(E["wsa"].Address(address))
        element.extend(more)
        return element
