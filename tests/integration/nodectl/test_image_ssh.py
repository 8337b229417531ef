"""Images on a host that is reached by SSH: a real OpenSSH server, whose key is known and which knows the node's."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyinglow.nodectl.errors import DeniedError, InvalidError, TransientError
from flyinglow.nodectl.images import address
from flyinglow.nodectl.images.cache import sha256
from flyinglow.nodectl.images.meter import Cancelled, Meter
from flyinglow.nodectl.images.sftp import Ssh
from rigs.ports import free_port

MIB = 1 << 20
USER = "root"  # whom the server lets in
DATA = os.urandom(2 * MIB)
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or SSHD is None, reason="needs root and OpenSSH's server"),
]


class Host:
    """The server with its files and keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host", "identity", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "identity.pub", folder / "authorized_keys")
        self.port = free_port()
        self.trust("host")
        (folder / "base.raw").write_bytes(DATA)

    def trust(self, key: str) -> None:
        """Let the node expect this host key."""
        public = (self.folder / f"{key}.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")

    def run(self) -> subprocess.Popen[str]:
        """Start the server and wait until it listens."""
        Path("/run/sshd").mkdir(exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nUsePAM no\nStrictModes no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "Subsystem sftp internal-sftp\n"
        )
        server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, text=True)
        assert server.stderr
        assert any("Server listening" in line for line in server.stderr)
        return server

    def file(self, name: str, identity: str = "identity") -> Ssh:
        """Return a file of the server, as a node reaches it."""
        there = address.read(f"scp://{USER}@127.0.0.1:{self.port}{self.folder}/{name}")
        return Ssh(there, identity=str(self.folder / identity), known_hosts=str(self.folder / "known_hosts"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    found = Host(tmp_path)
    server = found.run()
    yield found
    server.terminate()
    server.wait(120)
    assert server.stderr
    server.stderr.close()


def _meter(limit: int = 10 * MIB) -> Meter:
    return Meter("image x", limit, time.monotonic)


def test_a_file_is_fetched_and_one_that_broke_off_is_gone_on_with(host: Host, tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    host.file("base.raw").fetch(part, _meter())
    assert part.read_bytes() == DATA
    part.write_bytes(DATA[:MIB])
    before = part.stat().st_ino
    host.file("base.raw").fetch(part, _meter())
    assert (sha256(part), part.stat().st_ino) == (hashlib.sha256(DATA).hexdigest(), before)
    part.write_bytes(DATA[:MIB] + b"!" * 2 * MIB)  # longer than what is there: of another file
    host.file("base.raw").fetch(part, _meter())
    assert part.read_bytes() == DATA


def test_what_is_sent_has_its_name_when_it_is_whole(host: Host, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(DATA)
    host.file("saved.raw").send(tmp_path / "mine", _meter())
    assert (tmp_path / "saved.raw").read_bytes() == DATA
    assert not (tmp_path / "saved.raw.part").exists()
    with pytest.raises(InvalidError):
        host.file("none/saved.raw").send(tmp_path / "mine", _meter())
    host.file("saved.raw").remove()
    host.file("saved.raw").remove()
    assert not (tmp_path / "saved.raw").exists()


def test_a14_directories_pipes_devices_and_what_is_not_there_are_refused(host: Host, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "none", "folder", "link", "../../../../../../dev/zero"):
        with pytest.raises(InvalidError):
            host.file(name).fetch(tmp_path / "x.part", _meter())
    assert not (tmp_path / "x.part").exists()


def test_a_long_file_is_not_begun_and_a_transfer_nobody_wants_ends(host: Host, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="more than the 1 MiB"):
        host.file("base.raw").fetch(tmp_path / "x.part", _meter(MIB))
    assert not (tmp_path / "x.part").exists()
    with pytest.raises(Cancelled):
        host.file("base.raw").fetch(tmp_path / "x.part", Meter("x", MIB, time.monotonic, cancelled=lambda: True))


def test_strangers_are_not_believed_and_not_let_in(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DeniedError):
        host.file("base.raw", identity="other").fetch(tmp_path / "x.part", _meter())
    host.trust("other")
    with pytest.raises(DeniedError, match=r"127\.0\.0\.1"):
        host.file("base.raw").fetch(tmp_path / "x.part", _meter())
    nobody = address.read(f"scp://{USER}@127.0.0.1:1{tmp_path}/x")
    with pytest.raises(TransientError):
        Ssh(nobody, identity=str(tmp_path / "identity")).fetch(tmp_path / "x.part", _meter())
