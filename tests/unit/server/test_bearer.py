"""Requests with tokens: where they are looked for, and that they are taken only where nobody else can read them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.web.http_headers import Headers

from flyinglow.access.refusal import UnauthenticatedError
from flyinglow.server.callers.bearer import Bearer, bearer
from rigs.tokens import token, verifier


def request(*authorization: str, secure: bool = True, host: str = "192.0.2.7") -> Any:
    headers = Headers({"authorization": list(authorization)})
    return SimpleNamespace(
        requestHeaders=headers, isSecure=lambda: secure, getClientAddress=lambda: SimpleNamespace(host=host)
    )


def identify(*authorization: str, **where: Any) -> Any:
    return Bearer(verifier(), {}).identify(request(*authorization, **where))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_says_who_calls(scheme: str) -> None:
    assert identify(f"{scheme} {token()}").name.endswith("#alice")


@pytest.mark.parametrize("headers", [(), ("Basic YWxpY2U6eA==",), ("Negotiate abc",), (token(),)])
def test_a_request_without_a_token_is_another_ways_business(headers: tuple[str, ...]) -> None:
    assert identify(*headers) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_without_tls_a_token_is_taken_from_this_machine(host: str) -> None:
    assert identify(f"Bearer {token()}", secure=False, host=host)


@pytest.mark.parametrize("host", ["192.0.2.7", "10.0.0.1", "::ffff:192.0.2.7", "2001:db8::1", "", "localhost"])
def test_a07_a_token_that_others_can_read_is_refused(host: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        identify(f"Bearer {token()}", secure=False, host=host)
    assert 'error="invalid_request"' in caught.value.challenge


def test_a07_two_headers_are_refused_even_if_one_is_good() -> None:
    for other in ("Basic YWxpY2U6eA==", f"Bearer {token()}"):
        with pytest.raises(UnauthenticatedError, match="more than one"):
            identify(f"Bearer {token()}", other)


@pytest.mark.parametrize("value", ["Bearer x", "Bearer  ", "Bearer a b", "bearer ,"])
def test_a07_a_bad_token_is_refused_not_passed_over(value: str) -> None:
    with pytest.raises(UnauthenticatedError):
        identify(value)


def test_without_issuers_there_is_no_such_way() -> None:
    assert bearer({}, None, None) is None  # type: ignore[arg-type]
