"""Tokens as the client library shows them: read anew for each request, and never where others can listen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flyinglow.client.bearer import read, shower
from flyinglow.client.credential import Credential
from flyinglow.nodectl.errors import BrokenError, InvalidError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "token"
    made.write_text("a.b-c_d.e\n")
    made.chmod(0o600)
    return made


def request(url: str) -> Any:
    return SimpleNamespace(url=url, headers={})


@pytest.mark.parametrize(
    "url", ["https://vm.example/factory", "http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost/x"]
)
def test_a_token_is_shown_and_renewed(file: Path, url: str) -> None:
    show = shower(file)
    assert show(request(url)).headers == {"Authorization": "Bearer a.b-c_d.e"}
    file.write_text("new")
    assert show(request(url)).headers == {"Authorization": "Bearer new"}


@pytest.mark.parametrize(
    "url", ["http://vm.example/x", "http://127.0.0.1.evil.example/x", "http://10.0.0.1/", "ftp://h/"]
)
def test_a_token_is_not_shown_where_others_can_listen(file: Path, url: str) -> None:
    with pytest.raises(InvalidError, match="https only"):
        shower(file)(request(url))


@pytest.mark.parametrize("text", ["", "two words", "a\nb", "a\r\nX-Evil: 1", "ä", "\x00"])
def test_what_is_no_token_is_not_sent(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(BrokenError) as caught:
        read(file)
    assert "Evil" not in caught.value.message


def test_a_token_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(BrokenError, match="chmod 0600"):
        read(file)
    with pytest.raises(BrokenError, match="cannot be read"):
        read(file.with_name("none"))


def test_to_sign_takes_a_certificate(tmp_path: Path) -> None:
    assert Credential().signing() is None
    with pytest.raises(InvalidError, match="none is named"):
        Credential(sign=True).signing()
    with pytest.raises(BrokenError, match="cannot be read"):
        Credential(sign=True, certificate=tmp_path / "none.pem").signing()
