"""Reads XML that came from a service, by name and not by position.

The answers are read here and not by zeep: zeep drops the names of property elements, and stumbles over elements that
a newer service adds. What is missing reads as None or empty, what is malformed raises BrokenError.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import isodate
from lxml import etree

from flyinglow.client.names import clark
from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

_NIL: Final = "{http://www.w3.org/2001/XMLSchema-instance}nil"


def parse(data: bytes) -> _Element:
    """Parse a message without ever fetching or expanding anything. Raises BrokenError for what is not XML."""
    # A parser keeps state and is not for several threads at once, so each message has its own.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise BrokenError(f"what came is not XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise BrokenError("what came has a document type, which no SOAP message may have")
    return root


def elements(element: _Element) -> Iterator[_Element]:
    """Yield the children that are elements, leaving out comments."""
    return element.iterchildren(tag=etree.Element)


def child(element: _Element | None, name: str) -> _Element | None:
    """Return the first child of this (prefixed) name."""
    return None if element is None else element.find(clark(name))


def text(element: _Element | None, name: str) -> str | None:
    """Return a child's text without the white space around it; None when it is not there or nil."""
    found = child(element, name)
    if found is None or found.get(_NIL) in {"true", "1"}:
        return None
    return (found.text or "").strip()


def texts(element: _Element | None, name: str) -> tuple[str, ...]:
    """Return the texts of all children of this name."""
    return () if element is None else tuple((each.text or "").strip() for each in element.iterfind(clark(name)))


def number(element: _Element | None, name: str) -> int | None:
    """Return a child's whole number."""
    found = text(element, name)
    try:
        return int(found) if found else None
    except ValueError:
        raise BrokenError(f"{name} should be a whole number but is {found!r}") from None


def flag(element: _Element | None, name: str) -> bool:
    """Return a child's truth; False when it is not there."""
    return text(element, name) in {"true", "1"}


def moment(element: _Element | None, name: str) -> datetime | None:
    """Return a child's time, in UTC."""
    found = text(element, name)
    return point(found) if found else None


def point(written: str) -> datetime:
    """Return the time that an xs:dateTime says, in UTC; one without a zone is UTC already."""
    try:
        read = datetime.fromisoformat(written.strip())
    except ValueError:
        raise BrokenError(f"a time was expected, not {written!r}") from None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def seconds(element: _Element | None, name: str) -> int | None:
    """Return a child's duration in seconds."""
    found = text(element, name)
    if not found:
        return None
    try:
        span = isodate.parse_duration(found, as_timedelta_if_possible=True)
    except (isodate.ISO8601Error, OverflowError):
        span = None
    if not isinstance(span, timedelta):  # months and years have no fixed length
        raise BrokenError(f"{name} should be a duration in days or smaller but is {found!r}")
    return int(span.total_seconds())
