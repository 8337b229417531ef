"""Proxies that the grids' own programs make: grid-proxy-init of Globus, voms-proxy-fake of VOMS."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from flyinglow.access import attribute_certificates
from flyinglow.nodectl.errors import DeniedError
from rigs import authority
from rigs.authority import Authority, Credential
from rigs.reactor import reactor_thread
from rigs.tls_door import Opener, opened

__all__ = ["opened", "reactor_thread"]

ALICE = "CN=Alice,O=Grid"
LSC = "/O=Grid/CN=voms.example\n/O=Grid/CN=Test CA\n"


def person(root: Authority, called: str = "Alice") -> Credential:
    """Issue what those programs can read: RSA."""
    return root.issue(
        called,
        usage=(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
        key=rsa.generate_private_key(65537, 2048),
    )


@pytest.fixture
def root() -> Authority:
    """One that those programs can read, too."""
    return Authority.make(rsa_bits=2048)


@dataclass
class Desk:
    """Where a user sits: certificate, key, and the directory of authorities."""

    directory: Path
    certificate: Path
    key: Path

    def run(self, program: str, *words: str, secret: str = "") -> Credential:
        """Make a proxy, and return it."""
        out = self.directory / "x509up"
        out.unlink(missing_ok=True)
        assert shutil.which(program), f"there is no {program}: it is installed by tools/system-packages.sh"
        authorities = str(self.directory / "certificates")
        # it keeps random numbers of its own at home
        environment = {**os.environ, "HOME": str(self.directory), "X509_CERT_DIR": authorities}
        argv = [program, "-cert", str(self.certificate), "-key", str(self.key), "-out", str(out), "-bits", "2048"]
        done = subprocess.run(
            [*argv, *words], env=environment, input=secret, capture_output=True, text=True, timeout=180, check=False
        )
        assert out.exists(), done.stdout + done.stderr
        text = out.read_bytes()
        leaf, *above = x509.load_pem_x509_certificates(text)
        return Credential(leaf, load_pem_private_key(text, None), tuple(above))


@pytest.fixture
def desk(root: Authority, tmp_path: Path) -> Desk:
    """Alice's."""
    root.install(tmp_path / "certificates")
    return Desk(tmp_path, *person(root).write(tmp_path, "alice"))


def test_a06_what_a_real_grid_proxy_init_makes(opened: Opener, desk: Desk) -> None:
    door = opened()
    assert door.ask(desk.run("grid-proxy-init", "-rfc")) == ALICE
    assert door.ask(desk.run("grid-proxy-init", "-rfc", "-path-length", "0", "-valid", "1:00")) == ALICE
    assert door.ask(desk.run("grid-proxy-init", "-rfc", "-limited")) == ALICE
    assert [caller.limited for caller in door.shelf.callers] == [False, False, True]
    assert "independent" in door.ask(desk.run("grid-proxy-init", "-rfc", "-independent"))
    for old in ("-old", "-draft"):
        assert door.ask(desk.run("grid-proxy-init", old)).startswith("alert:")
    assert ["legacy" in door.refusals[-2], "draft" in door.refusals[-1]] == [True, True]


def test_a06_a_real_proxy_of_a_key_with_a_pass_phrase(opened: Opener, desk: Desk) -> None:
    locked = desk.directory / "locked.key"
    argv = ["openssl", "rsa", "-aes128", "-passout", "stdin", "-in", str(desk.key), "-out", str(locked)]
    subprocess.run(argv, input=b"open sesame", capture_output=True, check=True, timeout=120)
    desk.key = locked
    assert opened().ask(desk.run("grid-proxy-init", "-rfc", "-pwstdin", secret="open sesame\n")) == ALICE


def fake(desk: Desk, server: tuple[Path, Path], *words: str) -> Credential:
    certificate, key = server
    voms = ["-certdir", str(desk.directory / "certificates"), "-hostcert", str(certificate), "-hostkey", str(key)]
    granted = ["-fqan", "/testvo/Role=NULL/Capability=NULL", "-fqan", "/testvo/physics/Role=pilot/Capability=NULL"]
    names = [] if "-uri" in words else ["-uri", "voms.example:15000"]
    return desk.run("voms-proxy-fake", "-rfc", "-newformat", "-voms", "testvo", *voms, *granted, *names, *words)


def test_attributes_of_a_voms_server_that_the_site_believes_are_groups(
    opened: Opener, desk: Desk, root: Authority
) -> None:
    server = person(root, "voms.example").write(desk.directory, "voms")
    believed = desk.directory / "vomsdir" / "testvo"
    believed.mkdir(parents=True)
    (believed / "voms.example.lsc").write_text(LSC)
    mapfile = desk.directory / "mapfile"
    mapfile.write_text('"/testvo/physics/*" physicists\n"/O=Grid/CN=Alice" alice\n')
    door = opened(voms_directory=believed.parent, mapfile=mapfile)
    made = fake(desk, server)
    assert door.ask(made) == ALICE
    assert door.shelf.callers[-1].groups == {"/testvo", "/testvo/physics/Role=pilot", "physicists", "alice"}
    assert door.ask(made.proxy()) == ALICE
    assert "/testvo" in door.shelf.callers[-1].groups


@pytest.mark.parametrize(
    ("lsc", "server", "words", "reason"),
    [
        (LSC.replace("voms", "other"), "voms.example", (), "does not believe"),
        (LSC, "liar.example", (), "does not believe"),
        (LSC, "voms.example", ("-uri", "elsewhere.example:15000"), "does not believe"),
        (LSC, "voms.example", ("-target", "another.example"), "meant for certain services"),
        (LSC, "voms.example", ("-fqan", "/atlas/Role=NULL/Capability=NULL"), "not its to grant"),
        (LSC, "voms.example", ("-pastac", "48:00", "-vomslife", "1"), "in force from"),
    ],
    ids=["other server", "other certificate", "other host", "targets", "other organisation", "expired"],
)
def test_a06_attributes_that_are_not_right_keep_their_holder_out(
    opened: Opener, desk: Desk, root: Authority, lsc: str, server: str, words: tuple[str, ...], reason: str
) -> None:
    believed = desk.directory / "vomsdir" / "testvo"
    believed.mkdir(parents=True)
    (believed / "voms.example.lsc").write_text(lsc)
    files = person(root, server).write(desk.directory, "voms")
    answer = opened(voms_directory=believed.parent).ask(fake(desk, files, *words))
    assert answer.startswith("403: ")
    assert reason in answer


def test_a06_attributes_that_another_key_has_signed_keep_their_holder_out(
    opened: Opener, desk: Desk, root: Authority
) -> None:
    believed = desk.directory / "vomsdir" / "testvo"
    believed.mkdir(parents=True)
    (believed / "voms.example.lsc").write_text(LSC)
    certificate, _ = person(root, "voms.example").write(desk.directory, "voms")
    _, key = person(root, "liar").write(desk.directory, "liar")
    answer = opened(voms_directory=believed.parent).ask(fake(desk, (certificate, key)))
    assert "signature of the attribute certificate is wrong" in answer


def test_a06_attributes_that_cannot_be_understood_are_refused_whatever_bytes_they_are(
    desk: Desk, root: Authority
) -> None:
    real = fake(desk, person(root, "voms.example").write(desk.directory, "voms")).certificate
    value: Any = real.extensions.get_extension_for_oid(attribute_certificates.EXTENSION).value
    data, chance = value.value, random.Random(7)
    assert attribute_certificates.carried(real)
    spoilt = [data.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x1d"), b"", b"0", data[:-1]]
    for _ in range(200):
        at = chance.randrange(len(data))
        spoilt.append(data[:at] + chance.randbytes(chance.randrange(3)) + data[at + chance.randrange(3) :])
    alice, denied = root.issue("Alice"), 0
    for each in spoilt:
        shown = x509.UnrecognizedExtension(attribute_certificates.EXTENSION, each)
        try:
            attribute_certificates.carried(certify(alice, shown))
        except DeniedError:
            denied += 1
    assert denied >= len(spoilt) // 2


def certify(alice: Credential, shown: x509.UnrecognizedExtension) -> x509.Certificate:
    """Make a proxy of no more than an extension; one key does for all, because keys take long."""
    name, key = alice.certificate.subject, alice.key
    made = authority.certify(name, name, key, key=key, extensions=[(shown, False)])
    return made.certificate


def test_a06_attributes_end_with_their_own_certificate_on_a_kept_connection_too(
    opened: Opener, desk: Desk, root: Authority
) -> None:
    believed = desk.directory / "vomsdir" / "testvo"
    believed.mkdir(parents=True)
    (believed / "voms.example.lsc").write_text(LSC)
    door = opened(voms_directory=believed.parent)
    made = fake(desk, person(root, "voms.example").write(desk.directory, "voms"), "-vomslife", "1")
    with closing(door.connect(made)) as connection:
        assert door.send(connection) == ALICE
        door.later(timedelta(hours=2))
        assert "in force from" in door.send(connection)


def test_attributes_of_an_organisation_that_the_site_does_not_know_count_for_nothing(
    opened: Opener, desk: Desk, root: Authority
) -> None:
    (desk.directory / "vomsdir" / "atlas").mkdir(parents=True)
    server = person(root, "voms.example").write(desk.directory, "voms")
    door = opened(voms_directory=desk.directory / "vomsdir")
    assert door.ask(fake(desk, server)) == ALICE
    assert door.shelf.callers[-1].groups == set()
