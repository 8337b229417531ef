"""Reads the certificates that a BinarySecurityToken carries: one (X509v3), or a path of them (X509PKIPathv1)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from cryptography import x509

from flyinglow.access import der
from flyinglow.nodectl.errors import InvalidError
from flyinglow.wsrf.security.names import BASE64, PATH, X509
from flyinglow.wsrf.security.positions import SignatureError

if TYPE_CHECKING:
    from lxml.etree import _Element

_MOST: Final = 16


def read(token: _Element) -> tuple[x509.Certificate, ...]:
    """Return the certificates, the sender's own first. Raises SignatureError."""
    kind = token.get("ValueType")
    if kind not in {X509, PATH} or token.get("EncodingType", BASE64) != BASE64 or len(token):
        raise SignatureError("the BinarySecurityToken is not of a type that is known here")
    try:
        data = base64.b64decode("".join((token.text or "").split()), validate=True)
        parts = [data] if kind == X509 else list(der.members(data))
        chain = [x509.load_der_x509_certificate(part) for part in parts]
    except (binascii.Error, ValueError, InvalidError):
        raise SignatureError("the BinarySecurityToken holds no certificate that can be read") from None
    if not 0 < len(chain) <= _MOST:
        raise SignatureError("the BinarySecurityToken holds no certificate, or too many")
    return tuple(reversed(chain))  # a path begins at the authority (ITU-T X.509)
