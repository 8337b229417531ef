"""Why OpenSSL refuses a certificate, in words for the log: its codes (``X509_V_ERR_*``) as data."""

from __future__ import annotations

from typing import Final

NO_CRL: Final = 3
CRL_EXPIRED: Final = 12

REASONS: Final = {
    2: "its issuer's certificate is missing",
    3: "its issuer has no CRL here",
    7: "its signature is wrong",
    8: "the signature of its issuer's CRL is wrong",
    9: "it is not valid yet",
    10: "it has expired",
    11: "its issuer's CRL is not in force yet",
    12: "its issuer's CRL has expired",
    18: "it is self-signed, and no authority here",
    19: "it comes from an authority that is none here",
    20: "it comes from an issuer that is no authority here",
    21: "its issuer's certificate is missing",
    22: "its chain is too long",
    23: "it was revoked",
    25: "its chain is longer than an authority in it allows (path length)",
    26: "it is not meant for clients (extended key usage)",
    32: "its issuer may not sign certificates (key usage)",
    33: "its issuer's CRL comes from somebody else",
    34: "it has a critical extension that is not known here",
    35: "the issuer of the CRL may not sign CRLs (key usage)",
    37: "it is an authority where a user's was expected",
    38: "more proxies came after it than it allows (proxy path length)",
    39: "its issuer may not sign (key usage)",
    40: "it is a proxy where none may be",
    41: "one of its extensions is wrong",
    44: "its issuer's CRL is for other certificates",
    47: "its name is outside of what its authority may name (name constraints)",
    48: "its name is among what its authority may not name (name constraints)",
    66: "its key is too small",
    67: "an authority's key is too small",
    68: "it is signed with a digest that is too weak (SHA-1 or older)",
    72: "it is a proxy whose name is not its issuer's and one CN more",
    79: "it is no authority's, but has signed another",
}
"""What is wrong with the certificate in question, by OpenSSL's code."""

_LEGACY_LIKE: Final = frozenset({32, 79})


def reason(code: int) -> str:
    """Return the words for a code."""
    said = REASONS.get(code, f"OpenSSL's code {code}")
    if code in _LEGACY_LIKE:
        return f"{said}; if that was meant as a proxy, it is of the legacy kind (use one of RFC 3820, -rfc)"
    return said
