"""What a command shows: the options go before the environment, that before client.toml, that before what was left."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from flyinglow.cli import credentials, preferences
from flyinglow.cli.complaint import complain
from flyinglow.cli.credentials import Shown
from flyinglow.client import Credential
from flyinglow.nodectl.errors import BrokenError, InvalidError
from rigs.authority import Authority


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("X509_USER_PROXY", "X509_USER_CERT", "X509_USER_KEY", "X509_CERT_DIR", "FLYINGLOW_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(credentials, "_left_proxy", lambda: "/tmp/left")
    monkeypatch.setattr(credentials, "GRID_AUTHORITIES", tmp_path / "nowhere")


def test_the_nearest_place_that_shows_something_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    file: dict[str, object] = {"certificate": "/f.pem", "private_key": "/f.key", "ca_directory": "/f"}
    assert credentials.choose(Shown(), {}) == Credential(certificate=Path("/tmp/left"))
    assert credentials.choose(Shown(), file) == Credential(
        certificate=Path("/f.pem"), private_key=Path("/f.key"), ca_directory=Path("/f")
    )
    monkeypatch.setenv("X509_USER_PROXY", "/e")
    assert credentials.choose(Shown(), file) == Credential(certificate=Path("/e"), ca_directory=Path("/f"))
    shown = credentials.choose(Shown(certificate="/o.pem", private_key="/o.key", ca_directory="/o"), file)
    assert shown == Credential(certificate=Path("/o.pem"), private_key=Path("/o.key"), ca_directory=Path("/o"))
    with pytest.raises(InvalidError, match="--cert"):
        credentials.choose(Shown(private_key="/o.key"), file)


def test_nothing_is_looked_for_where_it_would_not_be_shown(tmp_path: Path) -> None:
    assert preferences.load("http://127.0.0.1:1").credential is None
    assert preferences.load("https://127.0.0.1:1").credential is not None
    (tmp_path / "flyinglow").mkdir()
    (tmp_path / "flyinglow" / "client.toml").write_text('service = "https://h:1"\nproxy = "/p"\n')
    assert preferences.load().credential == Credential(certificate=Path("/p"))


def test_a_key_that_others_can_read_or_that_is_locked_is_not_used(tmp_path: Path) -> None:
    proxy = Authority.make().issue("Alice").proxy().write_proxy(tmp_path / "x509up")
    Credential(certificate=proxy).context()
    proxy.chmod(0o640)
    with pytest.raises(BrokenError, match="chmod 0600"):
        Credential(certificate=proxy).context()
    proxy.chmod(0o600)
    locked = BestAvailableEncryption(b"sesame")
    key = tmp_path / "locked.key"
    key.touch(0o600)
    key.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    with pytest.raises(InvalidError, match="pass phrase"):
        Credential(certificate=proxy, private_key=key).context()
    proxy.write_text("what")
    with pytest.raises(BrokenError, match="no certificate and its key"):
        Credential(certificate=proxy).context()
    with pytest.raises(BrokenError, match="no directory of authorities"):
        Credential(ca_directory=tmp_path / "none").context()
    with pytest.raises(BrokenError, match="there is no file"):
        Credential(certificate=tmp_path / "none").context()


def test_a_credential_that_cannot_be_used_is_the_callers_own_to_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BrokenError) as caught:
        Credential(certificate=tmp_path / "none").context()
    complain(caught.value, as_json=False)
    told = capsys.readouterr().err
    assert "your side" in told
    assert "grid-proxy-init -rfc" in told
    assert "operator" not in told
