"""Nothing of an order gets past here that could become an option, a path or a line of somebody's configuration."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import DiskSpec, NicSpec, VmSpec, encode, vm_spec
from flyinglow.nodectl.network.ports import tap_name
from flyinglow.nodectl.spec import TAG, check_tag, read
from flyinglow.nodectl.vmdir import StateDir

NIC = {"network": "n", "mac": "02:00:00:00:00:01", "ip": "10.0.0.5", "prefix": 24, "hostname": "ce", "bridge": "br0"}
DISK = {"name": "root", "source": "/images/a.raw"}
GOOD: dict[str, Any] = {"tag": "a1", "name": "ce", "memory_mb": 96, "cpus": 1, "disks": [DISK], "nics": [NIC]}


def test_a_good_one_is_read() -> None:
    spec = read(GOOD)
    assert (spec.tag, spec.nics[0].dns, spec.disks[0].format) == ("a1", (), "raw")


FIRST = {  # the keys of the first release, which takes no others
    VmSpec: "tag name memory_mb cpus disks nics kernel initrd append hostname context user_data ready_mark",
    DiskSpec: "name source format sha256 blank_mb read_only mount",
    NicSpec: "network mac ip prefix hostname bridge gateway dns",
}


def test_a_plain_one_is_sent_as_the_first_release_takes_it() -> None:
    spec = read({**GOOD, "kernel": "/k", "append": "quiet", "context": "x", "ready_mark": "up"})
    told = encode(spec)
    assert set(told) == {
        "tag",
        "name",
        "memory_mb",
        "cpus",
        "disks",
        "nics",
        "kernel",
        "append",
        "context",
        "ready_mark",
    }
    assert set(told) <= set(FIRST[VmSpec].split())
    assert told["disks"] == [DISK]
    assert told["nics"] == [NIC]
    assert set(DISK) <= set(FIRST[DiskSpec].split())
    assert set(NIC) <= set(FIRST[NicSpec].split())
    assert vm_spec(told) == spec


def test_what_is_asked_for_is_sent() -> None:
    body = {**GOOD, "files": [{"path": "/x", "content": "eA==", "mode": 420}], "keys": ["k"], "delivery": "iso"}
    body |= {"hardware": {"dedicated_cpus": True, "numa_node": None, "huge_pages": False, "devices": ["gpu"]}}
    body |= {"nics": [{**NIC, "vlan": 7, "dns": ["10.0.0.1"]}], "disks": [{**DISK, "public": True, "sha256": "a" * 64}]}
    assert encode(vm_spec(body)) == body


def test_one_that_an_older_program_wrote_down_is_the_same(tmp_path: Path) -> None:
    spec = read(GOOD)
    vm = StateDir(tmp_path, tmp_path / "run").vm("a1")
    vm.create(spec)
    (vm.path / "spec.json").write_text(json.dumps(dataclasses.asdict(spec)))
    assert "hardware" in (vm.path / "spec.json").read_text()
    assert vm.spec() == spec


@pytest.mark.parametrize("tag", ["", "A", "1a", "a" * 11, "a-b", "../x", "a\n", "a.b", None, 7])
def test_tags_name_directories_and_interfaces_so_they_are_strict(tag: object) -> None:
    with pytest.raises(InvalidError):
        check_tag(tag)


def test_the_longest_tag_still_names_a_tap() -> None:
    assert TAG.match("a" * 10)
    assert len(tap_name("a" * 10, 15)) <= 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory_mb": 0}, "memory_mb"),
        ({"memory_mb": "96"}, "memory_mb"),
        ({"cpus": True}, "cpus"),
        ({"name": "a\nb"}, "name"),
        ({"append": "quiet\0", "kernel": "/k"}, "append"),
        ({"append": "quiet"}, "need a kernel"),
        ({"initrd": "/i"}, "needs a kernel"),
        ({"hostname": "a,b"}, "hostname"),
        ({"hostname": "-a"}, "hostname"),
        ({"context": 7}, "context"),
        ({"user_data": "x" * ((1 << 20) + 1)}, "user_data"),
        ({"surprise": 1}, "surprise"),
        ({"disks": [{"name": "a"}]}, "either a source or a size"),
        ({"disks": [{**DISK, "blank_mb": 5}]}, "either a source or a size"),
        ({"disks": [{"name": "a", "blank_mb": -1}]}, "blank_mb"),
        ({"disks": [{**DISK, "format": "vmdk"}]}, "format"),
        ({"disks": [{**DISK, "sha256": "beef"}]}, "sha256"),
        ({"disks": [DISK, DISK]}, "twice"),
        ({"disks": ["root"]}, "not a VM's specification"),
        ({"nics": [NIC, {**NIC, "mac": "02:00:00:00:00:01".upper()}]}, "twice"),
        ({"nics": [{**NIC, "mac": "03:00:00:00:00:01"}]}, "of a group"),
        ({"nics": [{**NIC, "mac": "02:00:00:00:00:0g"}]}, "MAC"),
        ({"nics": [{**NIC, "mac": "02:00:00:00:00:01,script=/x"}]}, "MAC"),
        ({"nics": [{**NIC, "ip": "10.0.0.500"}]}, "10.0.0.500"),
        ({"nics": [{**NIC, "prefix": 33}]}, "NIC"),
        ({"nics": [{**NIC, "gateway": "10.0.1.1"}]}, "not in 10.0.0.0/24"),
        ({"nics": [{**NIC, "dns": ["example.org"]}]}, "example.org"),
        ({"nics": [{**NIC, "hostname": "a\nb"}]}, "hostname"),
        ({"nics": [{**NIC, "bridge": "br0,script=/x"}]}, "bridge"),
        ({"nics": [{**NIC, "bridge": "b" * 16}]}, "bridge"),
        ({"nics": [{**NIC, "ip6": "fd00::g"}]}, "fd00::g"),
        ({"nics": [{**NIC, "ip6": "fd00::5", "prefix6": 129}]}, "NIC"),
        ({"nics": [{**NIC, "ip6": "fe80::5%eth0"}]}, "zone"),
        ({"nics": [{**NIC, "ip6": "10.0.0.5"}]}, "10.0.0.5"),
        ({"nics": [{**NIC, "ip6": "fd00::5", "gateway6": "fd01::1"}]}, "not in fd00::/64"),
        ({"nics": [{**NIC, "ip6": "fd00::5", "dns6": ["10.0.0.1"]}]}, "10.0.0.1"),
        ({"nics": [{**NIC, "gateway6": "fd00::1"}]}, "no IPv6 address"),
        ({"nics": [{**NIC, "delivery": "pigeon"}]}, "delivery is one of dhcp, static"),
        ({"nics": [{**NIC, "vlan": 0}]}, "vlan"),
        ({"nics": [{**NIC, "vlan": 4095}]}, "vlan"),
        ({"nics": [{**NIC, "vlan": "7"}]}, "vlan"),
        ({"nics": [{**NIC, "mac": f"02:00:00:00:00:{n:02x}"} for n in range(17)]}, "more than 16"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words.replace("(", r"\(")):
        read({**GOOD, **change})


@pytest.mark.parametrize("body", [None, [], "x", {}, {"nics": 5}])
def test_what_is_no_specification_at_all(body: object) -> None:
    with pytest.raises(InvalidError):
        read(body)
