"""The public keys of an issuer of tokens: a JSON Web Key Set (RFC 7517), with only what may verify taken from it.

A key fits the algorithms of its own kind and none else, so a token cannot have one used in another way than it was
made for (an RSA key as the secret of an HMAC above all).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Every algorithm that can be allowed: each has a public key, which is all that a service should hold."""

_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA_BITS: Final = 2048
_KEYS: Final = 64
_KID: Final = 256


@dataclass(frozen=True, slots=True)
class Key:
    """One public key and the algorithms that it may verify."""

    public: PublicKey
    algorithms: frozenset[str]


class Keys(Protocol):
    """Where the keys of an issuer come from."""

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key of that name for that algorithm, or None. Raises TransientError while keys are fetched."""


class KeySet:
    """The keys of one document; never changes."""

    def __init__(self, named: Mapping[str, Key], nameless: tuple[Key, ...] = ()) -> None:
        self._named = dict(named)
        self._nameless = nameless

    def __len__(self) -> int:
        return len(self._named) + len(self._nameless)

    @property
    def algorithms(self) -> frozenset[str]:
        """Every algorithm that one of the keys can verify."""
        return frozenset().union(*(key.algorithms for key in (*self._named.values(), *self._nameless)))

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key of that name; for a token that names none, the only one there is for its algorithm."""
        if kid is not None:
            key = self._named.get(kid)
            return key if key is not None and algorithm in key.algorithms else None
        fit = [key for key in (*self._named.values(), *self._nameless) if algorithm in key.algorithms]
        return fit[0] if len(fit) == 1 else None


def read(text: str | bytes) -> KeySet:
    """Read a key set. Keys that are secret, too short, for encryption or of an unknown kind are left out.

    Raises InvalidError for what is no key set, has two keys of one name, or no key that can verify.
    """
    try:
        found = json.loads(text)["keys"]
        entries = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidError('this is no JSON Web Key Set: an object with a list "keys"') from None
    if len(entries) > _KEYS:
        raise InvalidError(f"the key set has {len(entries)} keys; {_KEYS} is the most")
    named: dict[str, Key] = {}
    nameless: list[Key] = []
    for entry in entries:
        key = _key(entry)
        kid = entry.get("kid")
        if key is None:
            continue
        if kid is None:
            nameless.append(key)
        elif not isinstance(kid, str) or len(kid) > _KID or kid in named:
            raise InvalidError("the key set has two keys of one name, or one whose name is no short text")
        else:
            named[kid] = key
    if not named and not nameless:
        raise InvalidError("the key set has no public key that can verify a signature")
    return KeySet(named, tuple(nameless))


def _key(entry: dict[str, Any]) -> Key | None:
    if entry.get("kty") not in {"RSA", "EC", "OKP"} or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    operations = entry.get("key_ops", ["verify"])
    try:
        public = jwt.PyJWK({key: entry[key] for key in entry if key != "alg"}).key
        fits = _fits(public)
        if "verify" not in operations:
            return None
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    only = entry.get("alg")
    algorithms = fits if only is None else fits & {str(only)}
    return Key(public, algorithms) if algorithms else None


def _fits(public: object) -> frozenset[str]:
    if isinstance(public, rsa.RSAPublicKey) and public.key_size >= _RSA_BITS:
        return frozenset(each for each in ALGORITHMS if each[:2] in {"RS", "PS"})
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return frozenset({_CURVES[public.curve.name]})
    if isinstance(public, ed25519.Ed25519PublicKey):
        return frozenset({"EdDSA"})
    return frozenset()
