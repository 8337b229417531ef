"""Key sets: only public keys that can verify, each for the algorithms of its kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from flyinglow.access.token_keys import read
from flyinglow.nodectl.errors import InvalidError
from rigs.tokens import ec_key, ed_key, jwk, jwks, rsa_key

SECRET = {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        '{"keys": 7}',
        '{"keys": []}',
        '{"keys": ["x", null, 7]}',
        b"\xff",
        json.dumps({"keys": [SECRET]}),
    ],
)
def test_what_is_no_key_set_is_refused(text: Any) -> None:
    with pytest.raises(InvalidError):
        read(text)


def test_a_key_set_that_is_ambiguous_or_too_much_is_refused() -> None:
    nameless = {"kty": "RSA", "kid": 7, **{name: jwk(rsa_key())[name] for name in ("n", "e")}}
    for text in (
        jwks(jwk(rsa_key(), "a"), jwk(ec_key(), "a")),
        jwks(jwk(rsa_key(), "x" * 300)),
        jwks(nameless),
        jwks(*[jwk(rsa_key(), str(number)) for number in range(100)]),
        "[" * 100_000,
    ):
        with pytest.raises(InvalidError):
            read(text)


def test_a07_a_key_that_may_not_verify_is_left_out() -> None:
    for entry in (
        SECRET,
        jwk(rsa_key(), use="enc"),
        jwk(rsa_key(), key_ops=["encrypt"]),
        jwk(rsa_key(), d="AQAB"),
        jwk(rsa_key("short", 1024), "short"),
        jwk(rsa_key(), alg="RSA-OAEP"),
        jwk(rsa_key(), alg="HS256"),
        {"kty": "RSA", "kid": "broken"},
        {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "kid": "x", "crv": "X25519", "x": "AAAA"},
        jwk(ec.generate_private_key(ec.SECP256K1()), "k1"),
    ):
        assert len(read(jwks(entry, jwk(ed_key(), "good")))) == 1, entry


def test_a_key_serves_the_algorithms_of_its_kind_only() -> None:
    keys = read(jwks(jwk(rsa_key(), "r"), jwk(ec_key(), "e"), jwk(ed_key(), "d")))
    assert keys.find("r", "RS256")
    assert keys.find("r", "PS512")
    assert not keys.find("r", "ES256")
    assert not keys.find("r", "HS256")
    assert keys.find("e", "ES256")
    assert not keys.find("e", "ES384")
    assert keys.find("d", "EdDSA")


def test_a_token_without_a_key_name_has_the_only_key_that_fits() -> None:
    assert read(jwks(jwk(rsa_key(), None))).find(None, "RS256")
    assert not read(jwks(jwk(rsa_key(), None), jwk(rsa_key("two"), "two"))).find(None, "RS256")
    assert not read(jwks(jwk(rsa_key(), None))).find("one", "RS256")
