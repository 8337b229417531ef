"""A Debian guest whose own, unchanged cloud-init takes our seed: what it says of itself when it is done."""

import base64
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.debian_guest import Debian, debian
from rigs.node import Subject

__all__ = ["debian"]
pytestmark = [
    pytest.mark.full,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("xorrisofs") is None, reason="needs xorriso"),
]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOiNVEbDO8ZHIAHbOaYkmmRDxUmAVX2E0kPoWq6ENQQR me@home"
CONTEXT = "name ce\nmember ce - 10.0.0.5 n=public-10\nmember se storage 10.1.0.11 public=public-11\n"
DATA = bytes(range(256))
SECONDS = 1500  # of a whole Debian's boot, emulated, on a machine that has other work
USER_DATA = """#cloud-config
runcmd:
 - [sh, -c, 'echo "SAYS name $(hostname)" > /dev/ttyS0']
 - [sh, -c, 'cd /etc; echo "SAYS file $(sha256sum < "app conf" | cut -c-64) $(stat -c %a-%u "app conf")" > /dev/ttyS0']
 - [sh, -c, 'echo "SAYS hosts $(grep -c "public-1[01]" /etc/hosts)" > /dev/ttyS0']
 - [sh, -c, 'echo "SAYS context $(stat -c %a /etc/flyinglow/context)" > /dev/ttyS0']
 - [sh, -c, 'echo "SAYS key $(cut -d " " -f 3- /home/debian/.ssh/authorized_keys)" > /dev/ttyS0']
 - [sh, -c, 'echo "SAYS address $(ip -4 -o address show dev eth0 | tr -s " " | cut -d " " -f 4)" > /dev/ttyS0']
 - [sh, -c, 'echo "SAYS source $(cat /run/cloud-init/cloud-id)" > /dev/ttyS0; echo "SAYS done" > /dev/ttyS0']
"""


@pytest.fixture
def node(tmp_path: Path, debian: Debian) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory(prefix="fl") as run:
        made = Subject("qemu", tmp_path / "state", Path(run) / "run", debian.spec)
        yield made
        assert made.kill_all()["failed"] == []


def test_a_stock_image_becomes_what_it_is_told(node: Subject) -> None:
    nic = {"network": "n", "mac": "02:00:00:00:00:01", "ip": "10.0.0.5", "prefix": 24, "hostname": "public-10"}
    file = {"path": "/etc/app conf", "content": base64.b64encode(DATA).decode(), "mode": 0o640}
    told = {"context": CONTEXT, "user_data": USER_DATA, "keys": [KEY], "files": [file], "hostname": "public-10"}
    node.create("a1", **told, nics=[nic], delivery="seed")
    node.node.start("a1")
    node.until(lambda info: info.ready, "a1", SECONDS)
    text = (node.node.state.vm("a1").path / "console.log").read_text(errors="replace")
    lines = [line.strip().removeprefix("SAYS ") for line in text.splitlines() if line.startswith("SAYS ")]
    said = dict(line.split(" ", 1) for line in lines if line != "done")
    assert said == {
        "name": "public-10",
        "file": f"{hashlib.sha256(DATA).hexdigest()} 640-0",
        "hosts": "2",
        "context": "600",
        "key": "me@home",
        "address": "10.0.0.5/24",
        "source": "nocloud",
    }
