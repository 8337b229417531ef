"""Bearer tokens: whom a good one stands for, and every way in which one is not good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.access.tokens import LONGEST, TokenError, identity_name
from flyinglow.nodectl.errors import DeniedError
from rigs.tokens import AUDIENCE, NOW, URL, claims, ec_key, ed_key, jwk, jwks, raw, rsa_key, token, verifier

SKEW = 60


def refused(text: str, **terms: Any) -> str:
    """Return why a token is refused."""
    with pytest.raises(TokenError) as caught:
        verifier(**terms).identify(text)
    return caught.value.message


def test_a_good_token_is_its_issuer_and_subject() -> None:
    caller = verifier().identify(token())
    assert caller.name == f"{URL}#alice"
    assert caller.groups == {"physics"}
    assert caller.via == "bearer"
    assert (caller.admin, caller.observer, caller.limited) == (False, False, False)


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", rsa_key), ("ES256", ec_key), ("EdDSA", ed_key)])
def test_each_algorithm_works_with_a_key_of_its_own(algorithm: str, key: Any) -> None:
    keys = jwks(jwk(rsa_key(), "r"), jwk(ec_key(), "e"), jwk(ed_key(), "d"))
    for kid in ({"RS256": "r", "ES256": "e", "EdDSA": "d"}[algorithm], None):
        assert verifier(keys).identify(token(key=key(), algorithm=algorithm, kid=kid)).name == f"{URL}#alice"


def test_groups_come_from_the_claim_that_is_configured_with_a_prefix() -> None:
    found = verifier(groups_claim="roles", group_prefix="grid:").identify(token(claims(roles=["a", "b"])))
    assert found.groups == {"grid:a", "grid:b"}
    assert verifier().identify(token(claims(groups=None))).groups == frozenset()


@pytest.mark.parametrize("groups", ["physics", [1], [""], [["a"]], ["a\nb"], {"a": 1}, ["x"] * 257])
def test_groups_that_are_no_list_of_names_are_refused(groups: Any) -> None:
    assert "groups" in refused(token(claims(groups=groups)))


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)))
def test_two_subjects_never_have_one_name(pair: tuple[str, str]) -> None:
    first, second = (identity_name(URL, subject) for subject in pair)
    assert (first == second) is (pair[0] == pair[1])
    assert first.count("#") == 1


def test_an_issuer_and_a_subject_cannot_stand_for_another_issuer() -> None:
    assert identity_name("https://a.example", "b#c") != identity_name("https://a.example#b", "c")
    assert identity_name("https://a", "%41") != identity_name("https://a", "A")


@pytest.mark.parametrize("word", ["none", "None", "NONE", "nOnE", "", None, 1, ["RS256"], {"a": 1}])
@pytest.mark.parametrize("signature", [b"", b"x"])
def test_a07_no_algorithm_is_no_signature(word: Any, signature: bytes) -> None:
    with pytest.raises(TokenError):
        verifier().identify(raw({"alg": word, "typ": "JWT", "kid": "one"}, claims(), signature))


@pytest.mark.parametrize("kid", [{}, {"kid": "one"}])
def test_a07_none_has_no_key_even_where_somebody_allowed_it(kid: dict[str, str]) -> None:
    for signature in (b"", b"x"):
        refused(raw({"alg": "none", **kid}, claims(), signature), algorithms=frozenset({"none"}))


@pytest.mark.parametrize("form", ["PEM", "DER", "jwk", "modulus"])
@pytest.mark.parametrize("allowed", [{"RS256"}, {"RS256", "HS256"}])
def test_a07_the_public_key_is_no_secret_of_an_hmac(form: str, allowed: set[str]) -> None:
    public = rsa_key().public_key()
    secret = {
        "PEM": public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk(rsa_key())).encode(),
        "modulus": jwk(rsa_key())["n"].encode(),
    }[form]
    unsigned = raw({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims()).rpartition(".")[0]
    forged = base64.urlsafe_b64encode(hmac.digest(secret, unsigned.encode(), hashlib.sha256)).rstrip(b"=").decode()
    with pytest.raises(TokenError):
        verifier(algorithms=frozenset(allowed)).identify(f"{unsigned}.{forged}")


def test_a07_an_algorithm_that_is_not_allowed_is_refused_even_if_the_key_fits() -> None:
    assert "algorithm" in refused(token(algorithm="PS256"))
    assert "algorithm" in refused(token(algorithm="RS512"))


def test_a07_a_key_made_for_one_algorithm_verifies_no_other() -> None:
    keys, both = jwks(jwk(rsa_key(), alg="PS256")), frozenset({"RS256", "PS256"})
    assert "does not have" in refused(token(), document=keys, algorithms=both)
    assert verifier(keys, algorithms=both).identify(token(algorithm="PS256")).name


@pytest.mark.parametrize("audience", ["other", ["other", "flyinglow2"], "", [], AUDIENCE.upper(), f"{AUDIENCE} "])
def test_a07_a_token_for_another_service_is_refused(audience: Any) -> None:
    refused(token(claims(aud=audience)))


def test_a07_an_audience_among_several_is_enough() -> None:
    assert verifier().identify(token(claims(aud=["other", AUDIENCE]))).name


@pytest.mark.parametrize("issuer", [f"{URL}/", URL.upper(), "http://idp.example.org/realms/grid", "", 7, [URL], {}])
def test_a07_another_issuer_is_refused_although_the_key_is_right(issuer: Any) -> None:
    assert "issuer" in refused(token(claims(iss=issuer)))


def test_a07_the_key_of_one_issuer_does_not_sign_for_another() -> None:
    assert "signature" in refused(token(key=rsa_key("evil")))


@pytest.mark.parametrize(
    ("times", "good"),
    [
        ({"exp": -SKEW + 1}, True),
        ({"exp": -SKEW}, False),
        ({"exp": -SKEW - 1}, False),
        ({"iat": SKEW}, True),
        ({"iat": SKEW + 1}, False),
        ({"nbf": SKEW}, True),
        ({"nbf": SKEW + 1}, False),
        ({"iat": -86400, "exp": 0}, True),
        ({"iat": -86400, "exp": 1}, False),
    ],
)
def test_a07_a_token_is_good_in_its_time_and_a_minute_around_it(times: dict[str, int], good: bool) -> None:
    at = int(NOW.timestamp())
    moved: dict[str, Any] = {name: at + offset for name, offset in times.items()}
    text = token(claims(**moved))
    if good:
        assert verifier().identify(text).name
    else:
        refused(text)


def test_a07_a_token_ends_as_time_goes_by() -> None:
    text = token()
    assert verifier(now=NOW + timedelta(seconds=600 + SKEW - 1)).identify(text).name
    assert "expired" in refused(text, now=NOW + timedelta(seconds=600 + SKEW))


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud"])
def test_a07_a_claim_that_is_needed_is_there(claim: str) -> None:
    without: dict[str, Any] = {claim: None}
    assert claim in refused(token(claims(**without)))


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1900000000", True, [1], {}, 10**400, -(10**400), float("inf"), float("nan")])
def test_a07_a_time_is_a_number(claim: str, value: Any) -> None:
    refused(token(claims(**{claim: value})))


@pytest.mark.parametrize("subject", ["", 7, ["alice"], "x" * 256, "a\nb", "a\0", "\u202ealice"])
def test_a07_a_subject_is_a_name(subject: Any) -> None:
    refused(token(claims(sub=subject)))


@pytest.mark.parametrize(
    "kid", ["two", "../../etc/passwd", "one'--", "one\0", "", "https://evil.example/keys", "x" * 4000, "One", " one"]
)
def test_a07_a_key_is_found_by_its_name_and_nothing_is_followed(kid: str) -> None:
    assert "does not have" in refused(token(kid=kid))


@pytest.mark.parametrize("kid", [1, ["one"], {"one": 1}, True])
def test_a07_a_key_name_that_is_no_text_is_refused(kid: Any) -> None:
    refused(raw({"alg": "RS256", "kid": kid}, claims(), b"x"))


def test_a07_keys_that_a_token_brings_along_are_not_looked_at() -> None:
    evil = rsa_key("evil")
    brought: dict[str, Any] = {
        "jwk": jwk(evil),
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/c",
        "x5c": ["AAAA"],
    }
    assert "signature" in refused(token(key=evil, **brought))
    assert verifier().identify(token(**brought)).name


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"typ": "logout+jwt"}, {"typ": "secevent+jwt"}])
def test_a07_a_token_of_another_kind_is_refused(header: dict[str, Any]) -> None:
    assert "kind" in refused(token(**header))


def test_a07_a_token_that_is_bound_to_a_key_is_no_bearer_token() -> None:
    assert "bound" in refused(token(claims(cnf={"jkt": "0ZcOCORZNYy"})))


def test_a07_a_huge_token_is_refused_unread() -> None:
    assert "longer" in refused("a" * (LONGEST + 1))
    assert "longer" in refused(token(claims(more="x" * LONGEST)))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "a b c",
            "é.é.é",
            "a.b.c\n",
            " a.b.c",
            "e30.e30.e30",
            "W10.W10.W10",
        ),
        raw(b"[" * 3000, {}, b"x"),
        raw(b'{"alg":"RS256","alg":"none"}', {}, b"x"),
        raw(b"\xff\xfe", {}, b"x"),
        raw({"alg": "RS256", "kid": "one"}, b'{"iss":"' + URL.encode() + b'","iss":"x"}', b"x"),
        raw({"alg": "RS256", "kid": "one", "b64": False}, claims(), b"x"),
    ],
)
def test_a07_what_is_no_token_is_refused(text: str) -> None:
    refused(text)


def test_a07_a_claim_that_is_there_twice_is_refused_although_it_is_signed() -> None:
    once = json.dumps(claims())
    assert verifier().identify(token(once.encode())).name == f"{URL}#alice"
    refused(token(f'{once[:-1]}, "sub": "root"}}'.encode()))


def test_a07_a_changed_token_is_refused() -> None:
    header, content, signature = token().split(".")
    other = token(claims(sub="root")).split(".")[1]
    refused(f"{header}.{other}.{signature}")
    refused(f"{header}.{content}.{signature[:-8]}")


@given(st.text(alphabet='abcXYZ019-_.=+/ {}"', max_size=200))
def test_a07_no_text_makes_anything_but_a_refusal(text: str) -> None:
    with pytest.raises(DeniedError):
        verifier().identify(text)


def test_a07_reasons_hold_nothing_of_the_token() -> None:
    canary = "c4n4ry"
    bad = [
        token(claims(sub=canary, aud=canary)),
        token(claims(iss=f"https://{canary}")),
        token(claims(sub=canary), kid=canary),
        token(claims(sub=canary), key=rsa_key("evil")),
        token(claims(sub=canary, exp=1)),
        raw({"alg": canary}, claims(), canary.encode()),
        token(claims(groups=canary)),
        f"{canary}.{canary}.{canary}",
    ]
    for text in bad:
        with pytest.raises(TokenError) as caught:
            verifier().identify(text)
        assert canary not in caught.value.message + caught.value.challenge
        assert text not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.challenge.startswith('Bearer realm="flyinglow", error="invalid_token", error_description="')
