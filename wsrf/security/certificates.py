"""Reads the certificates that a BinarySecurityToken carries: one (X509v3), or a path of them (X509PKIPathv1)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from cryptography import x509

from flyinglow.wsrf.security.names import BASE64, PATH, X509
from flyinglow.wsrf.security.positions import SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

_MOST: Final = 16
_SEQUENCE: Final = 0x30
_LONG: Final = 0x80


def read(token: _Element) -> tuple[x509.Certificate, ...]:
    """Return the certificates, the sender's own first. Raises SignatureError."""
    kind = token.get("ValueType")
    if kind not in {X509, PATH} or token.get("EncodingType", BASE64) != BASE64 or len(token):
        raise SignatureError("the BinarySecurityToken is not of a type that is known here")
    try:
        data = base64.b64decode("".join((token.text or "").split()), validate=True)
        parts = [data] if kind == X509 else list(_members(data))
        chain = [x509.load_der_x509_certificate(part) for part in parts]
    except (binascii.Error, ValueError):
        raise SignatureError("the BinarySecurityToken holds no certificate that can be read") from None
    if not 0 < len(chain) <= _MOST:
        raise SignatureError("the BinarySecurityToken holds no certificate, or too many")
    return tuple(reversed(chain))  # a path begins at the authority (ITU-T X.509)


def _members(data: bytes) -> Iterator[bytes]:
    """Take a DER SEQUENCE OF apart. Raises ValueError."""
    start, end = _content(data, 0)
    if end != len(data):
        raise ValueError("more follows the path")
    while start < end:
        _, after = _content(data, start)
        yield data[start:after]
        start = after


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the SEQUENCE at a place begins and ends."""
    if at + 2 > len(data) or data[at] != _SEQUENCE:
        raise ValueError("no SEQUENCE")
    size, start = data[at + 1], at + 2
    if size & _LONG:
        octets = size & ~_LONG
        if not 0 < octets <= 4:  # noqa: PLR2004 - four octets are more than any message has
            raise ValueError("no length")
        size, start = int.from_bytes(data[start : start + octets], "big"), start + octets
    if start + size > len(data):
        raise ValueError("cut short")
    return start, start + size
