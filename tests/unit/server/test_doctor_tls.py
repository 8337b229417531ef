"""What the doctor says of certificates, keys, authorities and CRLs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flyinglow.server.configuration.settings import ClientListener, Config, Listen, Server
from flyinglow.server.doctor import tls as doctor_tls
from flyinglow.server.doctor.finding import Finding
from rigs.authority import Authority, now

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


def findings(root: Authority, directory: Path, *, days: int = 90, **keys: Any) -> dict[str, Finding]:
    host = root.issue("host", ends=now() + days * DAY, begins=now() - 400 * DAY)
    certificate, key = host.write(directory, "host")
    keys.setdefault("private_key", key)
    if not (directory / "ca").exists():
        root.install(directory / "ca")
    listener = ClientListener(certificate=certificate, ca_directory=directory / "ca", **keys)
    config = Config(server=Server(user="root"), listen=Listen(client=listener))
    return {each.name: each for each in doctor_tls.examine(config)}


def test_a_site_in_order(root: Authority, tmp_path: Path) -> None:
    root.install(tmp_path / "ca", crl=root.crl())
    mapfile = tmp_path / "mapfile"
    mapfile.write_text('"/O=Grid/CN=Alice" alice\n')
    found = findings(root, tmp_path, crl="required", mapfile=mapfile)
    assert list(found) == ["certificate client", "authorities", "CRLs", "mapfile"]
    assert [each.detail for each in found.values() if not each.ok] == []
    assert "1 subjects" in found["mapfile"].detail


@pytest.mark.parametrize(("days", "said"), [(-1, "expired"), (3, "is valid until")])
def test_a_certificate_that_expires(root: Authority, tmp_path: Path, days: int, said: str) -> None:
    found = findings(root, tmp_path, days=days)["certificate client"]
    assert not found.ok
    assert said in found.detail


def test_a_key_that_everyone_can_read(root: Authority, tmp_path: Path) -> None:
    key = tmp_path / "loose.key"
    key.write_text("what")
    key.chmod(0o644)
    found = findings(root, tmp_path, private_key=key)["certificate client"]
    assert not found.ok
    assert "chmod 0600" in found.detail


def test_authorities_and_crls_that_do_not_count(root: Authority, tmp_path: Path) -> None:
    root.install(tmp_path / "ca", crl=root.crl(ends=now() - DAY))
    (tmp_path / "ca" / "00000000.0").write_text(root.certificate_pem)
    mapfile = tmp_path / "mapfile"
    mapfile.write_text("what\n")
    found = findings(root, tmp_path, mapfile=mapfile)
    assert "00000000.0 is not named after what it holds" in found["authorities"].detail
    assert "CN=Test CA,O=Grid ran out" in found["CRLs"].detail
    assert "line 1" in found["mapfile"].detail
    assert [found[name].ok for name in ("authorities", "CRLs", "mapfile")] == [False] * 3
    assert findings(root, tmp_path, crl_grace=2 * 86400)["CRLs"].ok


def test_an_authority_without_a_crl_where_one_is_required(root: Authority, tmp_path: Path) -> None:
    assert "has none" in findings(root, tmp_path, crl="required")["CRLs"].detail
    assert findings(root, tmp_path)["CRLs"].ok


def test_a_directory_that_is_not_there(root: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    assert not findings(root, tmp_path)["authorities"].ok
