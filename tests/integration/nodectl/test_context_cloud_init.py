"""Our seed volume, read by Debian's own cloud-init: what it makes of names, keys, files and networks."""

import base64
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.context.delivery import Delivery
from flyinglow.nodectl.messages import GuestFile, NicSpec, VmSpec
from flyinglow.nodectl.vmdir import VmDir
from rigs.cloud_init import CloudInit, cloud_init

__all__ = ["cloud_init"]
pytestmark = pytest.mark.skipif(
    shutil.which("xorrisofs") is None or os.geteuid() != 0, reason="needs xorriso, and root for files' owners"
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOiNVEbDO8ZHIAHbOaYkmmRDxUmAVX2E0kPoWq6ENQQR user@\u00e9\U0001f600: #home"
DATA = bytes(range(256))
DHCP = NicSpec("n", "02:00:00:00:00:01", "10.0.0.5", 24, "ce", ip6="fd01::5")
STATIC = NicSpec(
    "m", "02:00:00:00:00:02", "10.1.0.5", 16, "ce", gateway="10.1.0.1", dns=("10.1.0.2",), ip6="fd00::5",
    gateway6="fd00::1", dns6=("fd00::2",), delivery="static",
)  # fmt: skip
SPEC = VmSpec(
    "a1", "ce", 96, 1, nics=(DHCP, STATIC), hostname="public-10", keys=(KEY,), delivery="seed",
    context="name ce\nmember se storage 10.1.0.11 public=public-11\n",
    files=(GuestFile("/opt/a: 'b' \"c\" #", base64.b64encode(DATA).decode(), 0o750),),
)  # fmt: skip


def seed(tmp_path: Path, spec: VmSpec) -> Path:
    vm = VmDir(tmp_path / "vms/a1", tmp_path / "run")
    vm.path.mkdir(parents=True, exist_ok=True)
    Delivery(config.build({"state": str(tmp_path)})).deliver(vm, spec)
    return vm.path / "seed.img"


def test_cloud_init_understands_what_we_say(tmp_path: Path, cloud_init: CloudInit) -> None:
    told = cloud_init.reads(seed(tmp_path, SPEC), tmp_path)
    assert (told["instance"], told["hostname"], told["keys"]) == ("fl-a1", "public-10", [KEY])
    assert (told["user"]["hostname"], told["user"]["ssh_authorized_keys"]) == ("public-10", [KEY])
    written = tmp_path / "root/written"
    assert (written / "etc/hosts").read_text() == "10.1.0.11 public-11 se\n"
    assert (written / "etc/flyinglow/context").read_text() == SPEC.context
    assert stat.S_IMODE((written / "etc/flyinglow/context").stat().st_mode) == 0o600
    file = written / "opt/a: 'b' \"c\" #"
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (DATA, 0o750)
    network = {name.rpartition("/")[2]: _lines(text) for name, text in told["network"].items()}
    assert {"iface eth0 inet dhcp", "iface eth0 inet6 dhcp", "iface eth1 inet static", "iface eth1 inet6 static"} <= (
        network["interfaces"]
    )
    there = {"address 10.1.0.5/16", "gateway 10.1.0.1", "address fd00::5/64", "gateway fd00::1"}
    assert there <= network["interfaces"]
    there = {"MACAddress=02:00:00:00:00:02", "Address=fd00::5/64", "Gateway=10.1.0.1", "Gateway=fd00::1"}
    assert {*there, "DNS=10.1.0.2 fd00::2"} <= network["10-cloud-init-eth1.network"]
    assert {"macaddress: 02:00:00:00:00:01", "dhcp6: true", "gateway6: fd00::1"} <= network["50-cloud-init.yaml"]


def _lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines()}


def test_the_lessees_user_data_goes_through_as_it_is_and_ours_is_beside_it(
    tmp_path: Path, cloud_init: CloudInit
) -> None:
    own = "#cloud-config\npackages: [slurmd]\nruncmd:\n - [ls, -l]\n"
    told = cloud_init.reads(seed(tmp_path, replace(SPEC, user_data=own)), tmp_path)
    assert told["user_data"] == own
    assert told["user"] == {"packages": ["slurmd"], "runcmd": [["ls", "-l"]]}
    assert told["vendor"]["hostname"] == "public-10"
    assert told["keys"] == [KEY]
    assert (tmp_path / "root/written/etc/flyinglow/context").exists()
