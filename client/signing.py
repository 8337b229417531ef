"""Signs messages by WS-Security: the Body, a Timestamp and every header, by an X.509 certificate and its key.

zeep's own ``BinarySignature`` signs the Body and the Timestamp only, and SHA-1 is its default; without the addressing
headers a signature says nothing of where a message was meant to go. Needs ``flyinglow[signatures]`` (xmlsec).
"""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.access import der
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from lxml.etree import _Element

_WSS: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
_WSSE: Final = _WSS + "wssecurity-secext-1.0.xsd"
_WSU: Final = _WSS + "wssecurity-utility-1.0.xsd"
_X509: Final = _WSS + "x509-token-profile-1.0#X509v3"
_PATH: Final = _WSS + "x509-token-profile-1.0#X509PKIPathv1"
_BASE64: Final = _WSS + "soap-message-security-1.0#Base64Binary"
_ID: Final = f"{{{_WSU}}}Id"
_LIFE: Final = timedelta(minutes=5)


class Signing:
    """What zeep calls before it sends a message (its ``wsse`` argument).

    ``certificate`` is PEM with one certificate or, for a proxy, those above it after it; ``key`` is PEM.
    Raises InvalidError when xmlsec is missing or these cannot be read.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        from cryptography import x509  # noqa: PLC0415 # like xmlsec only for those who sign
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

        try:
            import xmlsec  # noqa: PLC0415 # optional

            chain = x509.load_pem_x509_certificates(certificate)
            self._key = xmlsec.Key.from_memory(key, xmlsec.constants.KeyDataFormatPem)
        except ImportError as error:
            message = f"signing needs the Python package xmlsec (pip install 'flyinglow[signatures]'): {error}"
            raise InvalidError(message) from None
        except (ValueError, xmlsec.Error):
            raise InvalidError("the certificate or key to sign with cannot be read (PEM)") from None
        self._xmlsec: Any = xmlsec
        self._token, self._type = _token(chain)
        is_rsa = isinstance(chain[0].public_key(), rsa.RSAPublicKey)
        self._method: Any = xmlsec.constants.TransformRsaSha256 if is_rsa else xmlsec.constants.TransformEcdsaSha256

    def apply(self, envelope: _Element, headers: dict[str, str]) -> tuple[_Element, dict[str, str]]:
        """Sign a message that is complete otherwise."""
        soap = etree.QName(envelope).namespace
        header, body = envelope.find(f"{{{soap}}}Header"), envelope.find(f"{{{soap}}}Body")
        if body is None:
            raise InvalidError("a message without a Body cannot be signed")
        if header is None:
            header = etree.Element(f"{{{soap}}}Header")
            envelope.insert(0, header)
        others = list(header)
        security = etree.SubElement(header, f"{{{_WSSE}}}Security", {f"{{{soap}}}mustUnderstand": "1"})
        token = self._binary(security)
        covered = [body, _timestamp(security), *others]
        self._sign(envelope, security, token, covered)
        return envelope, headers

    def verify(self, envelope: _Element) -> _Element:
        """Take an answer as it is: the service does not sign; that it is the service, TLS proves."""
        return envelope

    def _binary(self, security: _Element) -> str:
        name = f"X509-{uuid.uuid4().hex}"
        attributes = {_ID: name, "ValueType": self._type, "EncodingType": _BASE64}
        etree.SubElement(
            security, f"{{{_WSSE}}}BinarySecurityToken", attributes, nsmap={"wsu": _WSU}
        ).text = self._token
        return name

    def _sign(self, envelope: _Element, security: _Element, token: str, covered: list[_Element]) -> None:
        xmlsec = self._xmlsec
        exclusive = xmlsec.constants.TransformExclC14N
        signature = xmlsec.template.create(envelope, exclusive, self._method)
        security.append(signature)
        reference = etree.SubElement(
            xmlsec.template.ensure_key_info(signature), f"{{{_WSSE}}}SecurityTokenReference", nsmap={"wsse": _WSSE}
        )
        etree.SubElement(reference, f"{{{_WSSE}}}Reference", {"URI": f"#{token}", "ValueType": self._type})
        context = xmlsec.SignatureContext()
        context.key = self._key
        for part in covered:
            name = f"id-{uuid.uuid4().hex}"
            part.set(_ID, name)
            context.register_id(part, "Id", _WSU)
            added = xmlsec.template.add_reference(signature, xmlsec.constants.TransformSha256, uri=f"#{name}")
            xmlsec.template.add_transform(added, exclusive)
        context.sign(signature)


def _timestamp(security: _Element) -> _Element:
    now = datetime.now(UTC)
    made = etree.SubElement(security, f"{{{_WSU}}}Timestamp", nsmap={"wsu": _WSU})
    for name, at in (("Created", now), ("Expires", now + _LIFE)):
        etree.SubElement(made, f"{{{_WSU}}}{name}").text = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return made


def _token(chain: list[Any]) -> tuple[str, str]:
    """Return the text and type of the token: one certificate, or the path from the one next to the authority."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    encoded = [each.public_bytes(Encoding.DER) for each in chain]
    if len(encoded) == 1:
        return base64.b64encode(encoded[0]).decode(), _X509
    return base64.b64encode(der.encoded(der.SEQUENCE, b"".join(reversed(encoded)))).decode(), _PATH
