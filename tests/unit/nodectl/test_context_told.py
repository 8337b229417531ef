"""The cluster as files that every system has, and as what cloud-init is told."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.context import cloud_init, delivery, told, ways
from flyinglow.nodectl.context.delivery import Delivery
from flyinglow.nodectl.context.partitions import ext_offset
from flyinglow.nodectl.context.patch import written
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import GuestFile, NicSpec, VmSpec
from flyinglow.nodectl.vmdir import VmDir

CONTEXT = """\
name ce
member ce compute-element,gate 10.1.0.10,192.168.7.2 public=public-10 private=private-2
member se - 10.1.0.11,fd00::11 public=public-11
member far - -
member broken
member odd x 300.1.1.1;rm a=b
what is this
"""
NIC = NicSpec(network="n", mac="02:00:00:00:00:AA", ip="10.0.0.5", prefix=24, hostname="ce", gateway="10.0.0.1",
              dns=("10.0.0.2",))  # fmt: skip
SPEC = VmSpec(
    "a1", "ce", 96, 1, nics=(NIC,), hostname="public-10", context=CONTEXT, keys=("ssh-rsa AA me",),
    files=(GuestFile("/etc/x", base64.b64encode(b"\0\xff").decode(), 0o600),),
)  # fmt: skip


def test_every_member_is_known_by_its_addresses() -> None:
    assert told.hosts(CONTEXT, "public-10").splitlines()[2:] == [
        "10.1.0.10 public-10 ce",
        "192.168.7.2 private-2",
        "10.1.0.11 public-11 se",
        "fd00::11 public-11",
    ]
    assert "127.0.1.1 lonely" in told.hosts("name lonely\n", "lonely")
    assert next(told.members(CONTEXT)).roles == ("compute-element", "gate")


def config_of(data: bytes) -> dict[str, Any]:
    head, _, rest = data.decode().partition("\n")
    assert head == "#cloud-config"
    found: dict[str, Any] = json.loads(rest)
    return found


def test_what_we_have_to_say_is_user_data_unless_the_lessee_has_his_own() -> None:
    ours = cloud_init.seed(SPEC)
    assert set(ours) == {"meta-data", "user-data", "network-config"}
    config = config_of(ours["user-data"])
    assert (config["hostname"], config["ssh_authorized_keys"]) == ("public-10", ["ssh-rsa AA me"])
    assert [(file["path"], file["permissions"]) for file in config["write_files"]] == [
        ("/etc/flyinglow/context", "0600"),
        ("/etc/hosts", "0644"),
        ("/etc/x", "0600"),
    ]
    assert config["write_files"][1]["append"] is True
    assert base64.b64decode(config["write_files"][2]["content"]) == b"\0\xff"
    theirs = cloud_init.seed(VmSpec(**{**vars(SPEC), "user_data": "#!/bin/sh\nhello\n"}))
    assert theirs["user-data"] == b"#!/bin/sh\nhello\n"
    assert theirs["vendor-data"] == ours["user-data"]
    meta = json.loads(theirs["meta-data"])
    assert meta == {"instance-id": "fl-a1", "local-hostname": "public-10", "public-keys": ["ssh-rsa AA me"]}


def test_networks_are_told_by_mac_by_dhcp_or_as_they_are() -> None:
    static = NicSpec(
        network="m", mac="02:00:00:00:00:02", ip="10.1.0.5", prefix=16, hostname="ce", gateway="10.1.0.1",
        dns=("10.1.0.2",), ip6="fd00::5", prefix6=64, gateway6="fd00::1", dns6=("fd00::2",), delivery="static",
    )  # fmt: skip
    six = NicSpec(network="o", mac="02:00:00:00:00:03", ip="10.2.0.5", prefix=16, hostname="ce", ip6="fd01::5")
    assert cloud_init.network_config((NIC, static, six)) == {
        "version": 2,
        "ethernets": {
            "eth0": {"match": {"macaddress": "02:00:00:00:00:aa"}, "set-name": "eth0", "dhcp4": True},
            "eth1": {
                "match": {"macaddress": "02:00:00:00:00:02"},
                "set-name": "eth1",
                "addresses": ["10.1.0.5/16", "fd00::5/64"],
                "gateway4": "10.1.0.1",
                "gateway6": "fd00::1",
                "nameservers": {"addresses": ["10.1.0.2", "fd00::2"]},
            },
            "eth2": {"match": {"macaddress": "02:00:00:00:00:03"}, "set-name": "eth2", "dhcp4": True, "dhcp6": True},
        },
    }


def test_an_image_gets_what_every_system_reads_and_the_lessees_files_win() -> None:
    mine = GuestFile("/etc/hosts", base64.b64encode(b"mine").decode())
    found = {file.path: file for file in written(VmSpec(**{**vars(SPEC), "files": (mine,)}), cloud=False)}
    assert found["/etc/hostname"].data == b"public-10\n"
    assert found["/etc/hosts"].data == b"mine"
    (keys,) = (file for path, file in found.items() if path.endswith("/.ssh/authorized_keys"))
    assert (keys.data, keys.mode) == (b"ssh-rsa AA me\n", 0o600)
    assert found["/etc/flyinglow/context"].mode == 0o600
    assert not any(path.startswith("/var/lib/cloud") for path in found)
    cloudy = {file.path for file in written(SPEC, cloud=True)}
    assert {f"/var/lib/cloud/seed/nocloud/{name}" for name in ("meta-data", "user-data", "network-config")} <= cloudy


def test_the_way_is_the_images_and_auto_is_the_drivers() -> None:
    chosen = {driver: ways.chosen(SPEC, driver).value for driver in ("qemu", "xen", "simulated")}
    assert chosen == {"qemu": "fw_cfg", "xen": "seed", "simulated": "fw_cfg"}
    assert ways.chosen(VmSpec("a1", "ce", 96, 1, delivery="patch"), "xen") is ways.Way.PATCH
    with pytest.raises(InvalidError, match="Xen has no fw_cfg"):
        ways.chosen(VmSpec("a1", "ce", 96, 1, delivery="fw_cfg"), "xen")


def test_the_doctor_says_which_ways_a_node_has(tmp_path: Path) -> None:
    programs = {"xorrisofs": "/bin/true", "debugfs": "/nowhere/debugfs"}
    made = config.build({"state": str(tmp_path), **programs})
    words = "patch needs /nowhere/debugfs (Debian: apt-get install e2fsprogs)"
    assert delivery.possible(made) == f"fw_cfg, seed; {words}"
    assert delivery.possible(config.build({"state": str(tmp_path), "driver": "xen", **programs})) == f"seed; {words}"


def test_large_archives_are_shown_in_parts_and_made_anew(tmp_path: Path) -> None:
    vm = VmDir(tmp_path / "a1", tmp_path)
    vm.path.mkdir()
    made = Delivery(config.build({"state": str(tmp_path)}))
    data = bytes(range(256)) * 1200
    large = GuestFile("/x", base64.b64encode(data).decode())
    made.deliver(vm, VmSpec(**{**vars(SPEC), "files": (large,), "user_data": "u"}))
    names = [name for name, _ in delivery.items(vm)]
    assert names == ["opt/lease/context", "opt/flyinglow/user-data", *(f"opt/flyinglow/files/{n:02}" for n in range(3))]
    whole = b"".join(path.read_bytes() for name, path in delivery.items(vm) if "/files/" in name)
    assert data in whole
    made.deliver(vm, SPEC)
    assert [name for name, _ in delivery.items(vm)] == ["opt/lease/context", "opt/flyinglow/files/00"]
    assert len(list(vm.path.iterdir())) == 2


def _ext(size: int = 2048) -> bytes:
    return b"\0" * (1024 + 0x38) + b"\x53\xef" + b"\0" * (size - 1024 - 0x3A)


def _table(*entries: tuple[int, int]) -> bytes:
    body = b"".join(struct.pack("<8xII", start, 8).replace(b"\0" * 8, b"\0\0\0\0" + bytes([kind]) + b"\0\0\0", 1)
                    for kind, start in entries)  # fmt: skip
    return b"\0" * 446 + body.ljust(64, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize(
    ("image", "offset"),
    [
        (_ext(), 0),
        (_table((0x83, 4)) + b"\0" * 512 * 3 + _ext(), 2048),
        (_table((0x82, 1), (0x83, 4), (0x83, 2**32 - 1)) + b"\0" * 512 * 3 + _ext(), 2048),
        (
            _table((0xEE, 1))
            + (b"EFI PART" + b"\0" * 64 + struct.pack("<QII", 2, 128, 128)).ljust(512, b"\0")
            + (b"\1" * 32 + struct.pack("<Q", 4)).ljust(1024, b"\0")
            + _ext(),
            2048,
        ),
    ],
)
def test_the_file_system_is_found_behind_a_partition_table(tmp_path: Path, image: bytes, offset: int) -> None:
    (tmp_path / "i").write_bytes(image)
    assert ext_offset(tmp_path / "i") == offset


@pytest.mark.parametrize(
    ("image", "count"),
    [
        (b"", 0),
        (b"QFI\xfb" * 200, 0),
        (_table((0x83, 4), (0x83, 8)) + b"\0" * 512 * 3 + _ext() + _ext(), 2),
        (_table((0xEE, 1)), 0),
        (_table((0xEE, 1)) + b"EFI PART" + b"\xff" * 504, 0),
        (_table((0x83, 2**32 - 1)), 0),
    ],
)
def test_an_image_without_exactly_one_is_refused(tmp_path: Path, image: bytes, count: int) -> None:
    (tmp_path / "i").write_bytes(image)
    with pytest.raises(InvalidError, match=f"this image has {count} of them"):
        ext_offset(tmp_path / "i")
