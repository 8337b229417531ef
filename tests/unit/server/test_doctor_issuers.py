"""What the doctor says of token issuers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyinglow.server.configuration.settings import ClientListener, Config, Listen
from flyinglow.server.configuration.tokens import TokenIssuer
from flyinglow.server.doctor import issuers
from flyinglow.server.doctor.finding import Finding
from rigs.tokens import jwk, jwks, rsa_key


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(jwks(jwk(rsa_key(), "one")))
    return path


def findings(*issuer: TokenIssuer, **listener: Any) -> dict[str, Finding]:
    config = Config(
        issuer={f"i{at}": each for at, each in enumerate(issuer)}, listen=Listen(client=ClientListener(**listener))
    )
    return {each.name: each for each in issuers.examine(config)}


def issuer(keys: Path, **more: Any) -> TokenIssuer:
    return TokenIssuer(url="https://issuer.example", audience="flyinglow", keys_file=keys, **more)


def test_an_issuer_in_order(keys: Path) -> None:
    found = findings(issuer(keys))
    assert list(found) == ["issuer i0"]
    assert found["issuer i0"].ok
    assert "1 keys, for PS256" in found["issuer i0"].detail


def test_keys_that_cannot_be_had(tmp_path: Path) -> None:
    found = findings(issuer(tmp_path / "none.json"))["issuer i0"]
    assert not found.ok
    assert "cannot be read" in found.detail


def test_keys_that_fit_no_algorithm_that_is_allowed(keys: Path) -> None:
    found = findings(issuer(keys, algorithms=("EdDSA",)))["issuer i0"]
    assert not found.ok
    assert "[issuer.i0] algorithms" in found.fix


def test_an_issuer_that_may_name_the_groups_of_others(keys: Path, tmp_path: Path) -> None:
    assert "groups" not in findings(issuer(keys))
    assert "groups" not in findings(issuer(keys, group_prefix="a:"), issuer(keys, group_prefix="b:"))
    assert "mapfile" in findings(issuer(keys), mapfile=tmp_path / "m")["groups"].detail
    shared = findings(issuer(keys), issuer(keys, group_prefix="b:"))["groups"]
    assert (shared.ok, "[issuer.i0]" in shared.detail, "[issuer.i1]" in shared.detail) == (True, True, False)
