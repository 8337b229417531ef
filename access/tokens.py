"""Bearer tokens of OpenID Connect issuers (JWT, RFC 7519; RFC 8725 for what goes wrong with them) as identities.

A token is taken only when an issuer that the site configured signed it for this service, with a key that the site
fetched itself, by an algorithm that the site allows. What a token says of its own keys or algorithm is compared with
that, never followed. Reasons that are told or logged never hold anything of the token but names the site configured.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import jwt

from flyinglow.access.identity import Identity
from flyinglow.access.refusal import UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from flyinglow.access.token_keys import Keys

LONGEST: Final = 8192
"""Bytes of a token; a longer one is refused before it is looked into."""

SKEW: Final = 60.0
"""Seconds by which the issuer's clock may differ from ours."""

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_NAME: Final = 255  # OpenID Connect Core, section 2: sub has at most so many ASCII characters
_GROUPS: Final = 256
_LATEST: Final = 1e11  # seconds: no time is later, and neither is what is no number
_PLAIN: Final = "@:/.+~_-"


class TokenError(UnauthenticatedError):
    """The token is not good enough; the message says why without a word of the token."""

    error = "invalid_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One issuer that a site trusts, by its identifier ``url`` (the claim ``iss``, letter by letter).

    ``audience`` is what the claim ``aud`` must hold, ``groups_claim`` where it says the caller's groups, each of which
    gets ``group_prefix`` before it. ``maximum_life`` bounds, in seconds, how long a token may be good for.
    """

    name: str
    url: str
    audience: str
    algorithms: frozenset[str]
    keys: Keys
    groups_claim: str = "groups"
    group_prefix: str = ""
    maximum_life: float = 86400.0


class Verifier:
    """Turns tokens into identities. Safe to use from several threads."""

    def __init__(self, issuers: Iterable[Issuer], now: Callable[[], datetime]) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._now = now

    def identify(self, token: str) -> Identity:
        """Return whom the token stands for.

        Raises TokenError saying why it is refused, and TransientError when its issuer's keys are being fetched.
        """
        if len(token) > LONGEST:
            raise TokenError(f"the token is longer than {LONGEST} bytes")
        if not _SHAPE.fullmatch(token):
            raise TokenError("the token is no signed JWT")
        header, claimed = _part(token, 0), _part(token, 1)
        issuer = self._issuers.get(claimed["iss"]) if isinstance(claimed.get("iss"), str) else None
        if issuer is None:
            raise TokenError("the token's issuer is not one that this site trusts")
        claims = _verified(token, header, issuer)
        self._in_time(claims, issuer)
        return Identity(
            identity_name(issuer.url, _subject(claims, issuer)), groups=_groups(claims, issuer), via="bearer"
        )

    def _in_time(self, claims: Mapping[str, Any], issuer: Issuer) -> None:
        now = self._now().timestamp()
        expires, issued = _moment(claims, "exp", issuer), _moment(claims, "iat", issuer)
        if now >= expires + SKEW:
            raise TokenError(f"the token of issuer {issuer.name} has expired")
        if issued > now + SKEW or ("nbf" in claims and _moment(claims, "nbf", issuer) > now + SKEW):
            raise TokenError(f"the token of issuer {issuer.name} is not valid yet")
        if expires - issued > issuer.maximum_life:
            raise TokenError(f"the token of issuer {issuer.name} is made to live longer than this site allows")


def identity_name(issuer: str, subject: str) -> str:
    """Return the one name of a subject of an issuer: no two pairs have the same, and no certificate has such a one.

    An issuer has no ``#`` (OpenID Connect Discovery, section 2), and a subject is written without any but escaped.
    """
    return f"{issuer}#{quote(subject, safe=_PLAIN)}"


def _part(token: str, place: int) -> Mapping[str, Any]:
    """Return the header (0) or the claims (1) as they stand there, believed by nobody yet."""
    try:
        found = json.loads(jwt.utils.base64url_decode(token.split(".")[place]), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise TokenError("the token is no signed JWT") from None
    if not isinstance(found, dict):
        raise TokenError("the token is no signed JWT")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose names are unique: readers differ in which of two they take."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made


def _verified(token: str, header: Mapping[str, Any], issuer: Issuer) -> Mapping[str, Any]:
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise TokenError(f"the token's algorithm is not one that issuer {issuer.name} may use here")
    if "crit" in header or str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise TokenError(f"the token of issuer {issuer.name} is of a kind that is not known here")
    if kid is not None and not isinstance(kid, str):
        raise TokenError(f"the key that the token of issuer {issuer.name} names is no text")
    key = issuer.keys.find(kid, algorithm)
    if key is None:
        raise TokenError(f"the token is signed with a key that issuer {issuer.name} does not have")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=[algorithm],
            audience=issuer.audience,
            issuer=issuer.url,
            options={
                "require": ["exp", "iat", "sub", "iss", "aud"],
                "verify_exp": False,  # times are looked at with our own clock
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidAudienceError:
        raise TokenError(f"the token of issuer {issuer.name} is meant for another service") from None
    except jwt.MissingRequiredClaimError as error:
        raise TokenError(f"the token of issuer {issuer.name} has no claim {error.claim}") from None
    except jwt.InvalidSignatureError:
        raise TokenError(f"the token's signature is not one of issuer {issuer.name}") from None
    except (jwt.PyJWTError, ValueError, TypeError):
        raise TokenError(f"the token of issuer {issuer.name} is not what it should be") from None
    if "cnf" in claims:  # RFC 7800: whoever has the token alone is not its owner
        raise TokenError(f"the token of issuer {issuer.name} is bound to a key of its owner, so it is no bearer token")
    return claims


def _moment(claims: Mapping[str, Any], claim: str, issuer: Issuer) -> float:
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LATEST:
        raise TokenError(f"the claim {claim} of a token of issuer {issuer.name} is no time")
    return float(value)


def _subject(claims: Mapping[str, Any], issuer: Issuer) -> str:
    value = claims["sub"]
    if not isinstance(value, str) or not 0 < len(value) <= _NAME or not value.isprintable():
        raise TokenError(f"the claim sub of a token of issuer {issuer.name} is no name")
    return value


def _groups(claims: Mapping[str, Any], issuer: Issuer) -> frozenset[str]:
    """Return the groups that the token says. A claim that is not a list of names is an error, not no groups."""
    value = claims.get(issuer.groups_claim, [])
    if not isinstance(value, list) or len(value) > _GROUPS or not all(map(_is_name, value)):
        raise TokenError(f"the claim {issuer.groups_claim} of a token of issuer {issuer.name} is no list of names")
    return frozenset(issuer.group_prefix + each for each in value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _NAME and value.isprintable()
