"""XML as the services speak it: name spaces, element makers, QNames as text, texts that come from outside.

Prefixes are the same everywhere, because an element that moves into another tree may lose a declaration that the new
tree makes redundant: with one prefix a name space, QNames in text survive that.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lxml.builder import ElementMaker  # type: ignore[import-not-found] # not in the stubs

from flyinglow.nodectl.errors import InvalidError
from flyinglow.wsrf.times import Duration, duration_text, parse_duration, parse_time, timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml.etree import _Element

__all__ = [
    "NIL",
    "NS",
    "PREFIX",
    "TRUE",
    "Duration",
    "E",
    "clean_text",
    "duration_text",
    "is_nil",
    "local_name",
    "number_of",
    "parse_duration",
    "parse_time",
    "qname",
    "qname_text",
    "qname_value",
    "text_of",
    "timestamp",
]

_WSRF = "http://docs.oasis-open.org/wsrf/"
_WSN = "http://docs.oasis-open.org/wsn/"

NS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "s11": "http://schemas.xmlsoap.org/soap/envelope/",
        "s12": "http://www.w3.org/2003/05/soap-envelope",
        "wsa": "http://www.w3.org/2005/08/addressing",
        "wsam": "http://www.w3.org/2007/05/addressing/metadata",
        "xs": "http://www.w3.org/2001/XMLSchema",
        "xsi": "http://www.w3.org/2001/XMLSchema-instance",
        "bf": _WSRF + "bf-2",
        "r": _WSRF + "r-2",
        "rp": _WSRF + "rp-2",
        "rl": _WSRF + "rl-2",
        "sg": _WSRF + "sg-2",
        "wsnt": _WSN + "b-2",
        "wstop": _WSN + "t-1",
        "wsn-br": _WSN + "br-2",
        "fl": "urn:flyinglow:types:1",
        "flf": "urn:flyinglow:factory:1",
        "flw": "urn:flyinglow:workspace:1",
        "flg": "urn:flyinglow:group:1",
        "fle": "urn:flyinglow:ensemble:1",
    },
)
"""Prefix to name space (WSRF 1.2, WSN 1.3, WS-Addressing 1.0; the project's own)."""

PREFIX: Final[Mapping[str, str]] = MappingProxyType({uri: prefix for prefix, uri in NS.items()})
"""Name space to prefix."""

E: Final[Mapping[str, ElementMaker]] = MappingProxyType(
    {prefix: ElementMaker(namespace=uri, nsmap={prefix: uri}) for prefix, uri in NS.items()},
)
"""One element maker a prefix: ``E["fl"].State("Running")``."""

NIL: Final = f"{{{NS['xsi']}}}nil"
_HIGHEST: Final = 2**53
TRUE: Final = frozenset({"true", "1"})
"""How XML Schema writes the boolean true."""

# Char of XML 1.0, inverted.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def qname(prefix: str, local: str) -> str:
    """Return the name in Clark notation."""
    return f"{{{NS[prefix]}}}{local}"


def local_name(name: str) -> str:
    """Return the part of a Clark name that follows the name space."""
    return name.rpartition("}")[2]


def clean_text(text: str) -> str:
    """Return ``text`` with every character that XML forbids replaced by U+FFFD, so that it can be put in an answer."""
    return _FORBIDDEN.sub("\ufffd", text)


def text_of(element: _Element, child: str, default: str = "") -> str:
    """Return the stripped text of the direct child with this Clark name, or ``default`` when there is none."""
    found = element.find(child)
    return default if found is None else (found.text or "").strip()


def number_of(element: _Element, child: str) -> int | None:
    """Return the number that a direct child holds, None without one; 2**53, which no row has, stands for all above.

    The schemas let a number have any length, and Python refuses to read the longest.
    """
    text = text_of(element, child)
    digits = text.lstrip("+-0")
    if len(digits) > len(str(_HIGHEST)):
        return _HIGHEST
    return min(int(digits or 0), _HIGHEST) if text else None


def is_nil(element: _Element) -> bool:
    """Say whether the element is marked ``xsi:nil``."""
    return element.get(NIL, "").strip() in TRUE


def qname_value(element: _Element, text: str | None = None) -> str:
    """Return in Clark notation the QName that stands as text at ``element`` (``text`` None: its own text).

    An unprefixed name takes the default name space in scope. Raises InvalidError for a prefix that is not declared.
    """
    value = (element.text or "" if text is None else text).strip()
    prefix, colon, local = value.rpartition(":")
    uri = element.nsmap.get(prefix or None)
    if uri is None and colon:
        raise InvalidError(f"the name {value!r} has a prefix that is not declared where it stands")
    return f"{{{uri}}}{local}" if uri else local


def qname_text(name: str) -> tuple[str, dict[str, str]]:
    """Return a Clark name as prefixed text, and the declaration that its element must be made with."""
    uri, _, local = name.removeprefix("{").rpartition("}")
    if not uri:
        return local, {}
    prefix = PREFIX.get(uri, "q")
    return f"{prefix}:{local}", {prefix: uri}
