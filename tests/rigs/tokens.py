"""An issuer of tokens in memory: its keys, the key set it publishes, and tokens good and bad."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from flyinglow.access import token_keys
from flyinglow.access.tokens import Issuer, Verifier

URL = "https://idp.example.org/realms/grid"
AUDIENCE = "flyinglow"
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@cache
def rsa_key(name: str = "one", bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key; the same for the same name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """Return a key for ES256."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    """Return a key for EdDSA."""
    return ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None = "one", **more: Any) -> dict[str, Any]:
    """Return the public half of a key as an entry of a key set."""
    kind = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256", ed25519.Ed25519PrivateKey: "EdDSA"}
    name = next(name for cls, name in kind.items() if isinstance(key, cls))
    entry: dict[str, Any] = json.loads(jwt.get_algorithm_by_name(name).to_jwk(key.public_key()))
    entry.pop("key_ops", None)
    return {**entry, **({} if kid is None else {"kid": kid}), **more}


def jwks(*entries: dict[str, Any]) -> str:
    """Return a key set as text."""
    return json.dumps({"keys": list(entries) or [jwk(rsa_key())]})


def claims(now: datetime = NOW, **other: Any) -> dict[str, Any]:
    """Return the claims of a good token; ``other`` goes before them, and None takes one away."""
    at = int(now.timestamp())
    good = {"iss": URL, "aud": AUDIENCE, "sub": "alice", "iat": at, "exp": at + 600, "groups": ["physics"]}
    return {name: value for name, value in {**good, **other}.items() if value is not None}


def token(
    content: dict[str, Any] | bytes | None = None,
    *,
    key: Any = None,
    algorithm: str = "RS256",
    kid: str | None = "one",
    **headers: Any,
) -> str:
    """Return a signed token."""
    named = {} if kid is None else {"kid": kid}
    made = content if isinstance(content, bytes) else json.dumps(claims() if content is None else content).encode()
    # not jwt.encode, which does not sign what no reader should take
    return jwt.api_jws.encode(made, key or rsa_key(), algorithm=algorithm, headers={**named, **headers})


def raw(header: Any, content: Any, signature: bytes = b"") -> str:
    """Return a token of any parts."""
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, content)]
    return ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in (*parts, signature))


def verifier(document: str | None = None, *, now: datetime = NOW, **issuer: Any) -> Verifier:
    """Return a verifier for one issuer, at one time."""
    terms: dict[str, Any] = {
        "name": "grid",
        "url": URL,
        "audience": AUDIENCE,
        "algorithms": frozenset({"RS256", "ES256", "EdDSA"}),
        "keys": token_keys.read(document or jwks()),
    }
    return Verifier([Issuer(**{**terms, **issuer})], lambda: now)
