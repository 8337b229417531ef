"""Reading a SOAP message that anybody may have written: nothing is resolved or fetched, everything is bounded."""

from __future__ import annotations

import re
import threading
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.wsrf.faults import SoapFault
from flyinglow.wsrf.xml import NS

if TYPE_CHECKING:
    from lxml.etree import _Element

ENCODINGS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
}
"""The character sets a message may be in, by the names clients use for them."""

_DECLARATION = re.compile(rb"""<\?xml\s[^>]{0,200}?\?>""")
_DECLARED = re.compile(rb"""encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_SPACE = re.compile(rb"[ \t\r\n]*")
_ELEMENTS = etree.XPath("count(//*)")
_ATTRIBUTES = etree.XPath("count(//@*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLimits:
    """How large a message may be inside; beyond it is refused."""

    depth: int = 64
    elements: int = 20_000
    attributes: int = 20_000
    headers: int = 64


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message taken apart: its headers and the one child of its Body."""

    root: _Element
    headers: tuple[_Element, ...]
    body: _Element


def _refuse(message: str) -> SoapFault:
    return SoapFault("Client", message)


class EnvelopeReader:
    """Reads messages of one version of SOAP (its envelope name space). Safe to use from several threads."""

    def __init__(self, namespace: str, limits: MessageLimits) -> None:
        self._ns = namespace
        self._limits = limits
        self._local = threading.local()
        self._too_deep = etree.XPath("boolean(/" + "/".join("*" * (limits.depth + 1)) + ")")

    def read(self, data: bytes, charset: str | None = None) -> Envelope:
        """Take a message apart. Raises SoapFault (Client or VersionMismatch)."""
        return self._split(self._parse(self._prepare(data, charset)))

    def _prepare(self, data: bytes, charset: str | None) -> bytes:
        """Bring the message to UTF-8 and refuse a DOCTYPE before any parser sees it."""
        encoding = _encoding(data, charset)
        if encoding != "utf-8":
            try:
                data = data.decode(encoding).lstrip("\ufeff").encode()
            except ValueError:
                raise _refuse("the message is not in the character set that it names") from None
        data = data.removeprefix(BOM_UTF8)
        _refuse_doctype(data)
        return data

    def _parse(self, data: bytes) -> _Element:
        parser = getattr(self._local, "parser", None)
        if parser is None:
            self._local.parser = parser = _parser()
        try:
            root = etree.fromstring(data, parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            place = getattr(error, "position", None)
            where = f" (line {place[0]}, column {place[1]})" if place else ""
            raise _refuse(f"the message is not well-formed XML, or deeper than is allowed{where}") from None
        self._measure(root, data)
        return root

    def _measure(self, root: _Element, data: bytes) -> None:
        """Count only what could be too much: angle brackets and equals signs bound elements, depth and attributes."""
        limits, brackets = self._limits, data.count(b"<")
        if brackets > limits.depth and self._too_deep(root):
            raise _refuse(f"the message is nested deeper than {limits.depth} elements")
        if brackets > limits.elements and _count(_ELEMENTS, root) > limits.elements:
            raise _refuse(f"the message has more than {limits.elements} elements")
        if data.count(b"=") > limits.attributes and _count(_ATTRIBUTES, root) > limits.attributes:
            raise _refuse(f"the message has more than {limits.attributes} attributes")

    def _split(self, root: _Element) -> Envelope:
        ns = self._ns
        if root.tag != f"{{{ns}}}Envelope":
            if root.tag in {f"{{{NS['s11']}}}Envelope", f"{{{NS['s12']}}}Envelope"}:
                raise SoapFault("VersionMismatch", "the envelope is of another version of SOAP than the Content-Type")
            raise SoapFault("VersionMismatch", "the message is not a SOAP envelope of a version known here")
        parts = {f"{{{ns}}}Header": 0, f"{{{ns}}}Body": 0}
        for part in root:
            if part.tag not in parts:
                raise _refuse("an envelope holds a Header and a Body, nothing else")
            parts[part.tag] += 1
        header, body = root.find(f"{{{ns}}}Header"), root.find(f"{{{ns}}}Body")
        if body is None or len(body) != 1 or max(parts.values()) > 1:
            raise _refuse("exactly one Body with exactly one child is expected")
        headers = tuple(header) if header is not None and len(header) <= self._limits.headers else ()
        if header is not None and len(header) > self._limits.headers:
            raise _refuse(f"the message has more than {self._limits.headers} headers")
        return Envelope(root, headers, body[0])


def _count(expression: etree.XPath, root: _Element) -> float:
    found: Any = expression(root)
    return float(found)


def _parser() -> etree.XMLParser:
    # Every option is given, because any library in the process may change lxml's defaults.
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        strip_cdata=True,
        recover=False,
    )


def _encoding(data: bytes, charset: str | None) -> str:
    """Say how the message is encoded: its byte order mark, else the transport's word, else its own declaration."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    declared = _DECLARATION.match(data.removeprefix(BOM_UTF8))
    found = _DECLARED.search(declared.group()) if declared else None
    name = charset or (found.group(1).decode("ascii") if found else "utf-8")
    encoding = ENCODINGS.get(name.strip().lower())
    if encoding is None:
        raise _refuse("the message must be in UTF-8 or UTF-16")
    return encoding


def _refuse_doctype(data: bytes) -> None:
    """Walk over what may precede the root element, and stop at a document type declaration."""
    at = 0
    while True:
        at = _SPACE.match(data, at).end()  # type: ignore[union-attr] # matches the empty string, too
        for opening, closing in ((b"<?", b"?>"), (b"<!--", b"-->")):
            if data.startswith(opening, at):
                close = data.find(closing, at + len(opening))
                if close < 0:
                    raise _refuse("the message is not well-formed XML")
                at = close + len(closing)
                break
        else:
            if data.startswith(b"<!", at):
                raise _refuse("a document type declaration is not allowed in a SOAP message")
            return
