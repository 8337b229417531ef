"""Checks the signature itself with xmlsec, over the very elements that were found by position.

xmlsec is an optional part (``flyinglow[signatures]``); this is the only module that imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from flyinglow.nodectl.errors import InvalidError
from flyinglow.wsrf.security.names import ID, WSU
from flyinglow.wsrf.security.positions import SignatureError, Signed

if TYPE_CHECKING:
    from cryptography import x509


def available() -> None:
    """Raise InvalidError when signatures cannot be checked on this installation."""
    try:
        import xmlsec  # noqa: F401, PLC0415 # optional
    except ImportError as error:  # absent, or made for another libxml2 than lxml's
        message = f"signatures need the Python package xmlsec (pip install 'flyinglow[signatures]'): {error}"
        raise InvalidError(message) from None


def prove(signed: Signed, certificate: x509.Certificate) -> None:
    """See that the certificate's key signed these elements as they are. Raises SignatureError."""
    import xmlsec  # noqa: PLC0415 # optional

    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(certificate.public_bytes(Encoding.PEM), xmlsec.constants.KeyDataFormatCertPem)
    parts = list(signed.covered.values())
    if signed.token.get(ID):
        parts.append(signed.token)
    for part in parts:
        context.register_id(part, "Id", WSU)
    try:
        context.verify(signed.signature)
    except xmlsec.Error:
        raise SignatureError("the signature does not fit the message and the certificate") from None
