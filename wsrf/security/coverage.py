"""Holds what a signature says of itself against what is allowed: algorithms, transforms, and exactly what it covers.

XML Signature can do a great deal (XSLT, XPath, documents elsewhere). All of that is refused before any of it runs: the
only transform is exclusive canonicalization, and each reference is an id of a part found by its position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.wsrf.security.names import (
    DIGESTED_BY,
    DS,
    EXCLUSIVE,
    ID,
    REFERENCE,
    SIGNED_BY,
    TOKEN_REFERENCE,
)
from flyinglow.wsrf.security.positions import SignatureError, Signed

if TYPE_CHECKING:
    from lxml.etree import _Element


def check(signed: Signed) -> None:
    """Refuse a signature that covers anything but what it must, or in another way. Raises SignatureError."""
    info, _, key_info = _children(signed.signature, "SignedInfo", "SignatureValue", "KeyInfo")
    if len(info) < 2:  # noqa: PLR2004 - the two that say how
        raise SignatureError("the signature does not say how it was made")
    canonical, method, *references = list(info)
    _algorithm(canonical, "CanonicalizationMethod", frozenset({EXCLUSIVE}))
    _algorithm(method, "SignatureMethod", SIGNED_BY)
    covered = [_reference(each) for each in references]
    own = signed.token.get(ID)
    rest = [each for each in covered if each != own]
    if len(set(covered)) != len(covered) or set(rest) != set(signed.covered):
        raise SignatureError(
            "the signature must cover the Body, the Timestamp and every header but Security, and nothing else"
        )
    _points_to(key_info, own)


def _children(element: _Element, *names: str) -> list[_Element]:
    if [child.tag for child in element] != [f"{{{DS}}}{name}" for name in names]:
        raise SignatureError(f"the signature is not made of {', '.join(names)}")
    return list(element)


def _algorithm(element: _Element, name: str, allowed: frozenset[str]) -> None:
    if element.tag != f"{{{DS}}}{name}":
        raise SignatureError(f"the signature has no {name} where it belongs")
    if element.get("Algorithm") not in allowed:
        raise SignatureError(f"the signature's {name} is not one that is allowed here")
    plain = all(child.tag == f"{{{EXCLUSIVE}}}InclusiveNamespaces" for child in element)
    if not plain or (len(element) and EXCLUSIVE not in allowed):
        raise SignatureError(f"the signature's {name} has parameters that are not known here")


def _reference(element: _Element) -> str:
    if element.tag != f"{{{DS}}}Reference":
        raise SignatureError("the signature covers something that is no reference")
    transforms, digest, _ = _children(element, "Transforms", "DigestMethod", "DigestValue")
    (transform,) = _children(transforms, "Transform")
    _algorithm(transform, "Transform", frozenset({EXCLUSIVE}))
    _algorithm(digest, "DigestMethod", DIGESTED_BY)
    uri = element.get("URI") or ""
    if not uri.startswith("#") or not uri[1:].replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise SignatureError("the signature refers to something that is no part of the message")
    return uri[1:]


def _points_to(key_info: _Element, token: str | None) -> None:
    """See that the key meant is the token's in the same header: no other place is looked at for one."""
    references = list(key_info.iterfind(f"{TOKEN_REFERENCE}/{REFERENCE}"))
    if len(key_info) != 1 or len(key_info[0]) != 1 or len(references) != 1:
        raise SignatureError("the signature's key must be named by a reference to the BinarySecurityToken")
    if not token or references[0].get("URI") != f"#{token}":
        raise SignatureError("the signature's key is not that of the BinarySecurityToken beside it")
