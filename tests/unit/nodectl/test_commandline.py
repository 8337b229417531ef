"""How a specification reads as QEMU's words."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor.commandline import command_line, user_network
from flyinglow.nodectl.images.disks import DiskFile
from flyinglow.nodectl.messages import HardwareSpec, NicSpec, VmSpec
from flyinglow.nodectl.vmdir import VmDir

NIC = NicSpec(network="n", mac="02:00:00:00:00:01", ip="10.0.0.5", prefix=24, hostname="ce-n")


def _words(tmp_path: Path, spec: VmSpec, accelerator: str = "tcg", given: Any = None, **settings: Any) -> list[str]:
    made = config.build({"state": str(tmp_path), "run": "/run/x", **settings})
    vm = VmDir(tmp_path / "vms" / spec.tag, Path("/run/x/qmp"))
    vm.path.mkdir(parents=True)
    (vm.path / "context").write_text(spec.context)
    if given is not None:
        (vm.path / "hardware.json").write_text(json.dumps(given))
    disks = [DiskFile(Path("/d/a,b.qcow2"), "qcow2", read_only=False), DiskFile(Path("/d/c"), "raw", read_only=True)]
    return command_line(made, accelerator, vm, spec, disks)


def test_the_words_of_a_vm(tmp_path: Path) -> None:
    spec = VmSpec("a1", "ce", 96, 2, kernel="file:///k", initrd="/i", append="quiet x=1", context="pass=s3cret")
    words = _words(tmp_path, spec)
    pairs = set(itertools.pairwise(words))
    assert {("-m", "96M"), ("-smp", "2"), ("-kernel", "/k"), ("-initrd", "/i"), ("-append", "quiet x=1")} <= pairs
    assert ("-accel", "tcg,tb-size=32") in pairs
    assert ("-M", "q35") in pairs
    assert ("-qmp", "unix:/run/x/qmp/a1.qmp,server=on,wait=off") in pairs
    assert f"name=opt/lease/context,file={tmp_path}/vms/a1/context" in words
    assert any(word.startswith("file=/d/a,,b.qcow2,format=qcow2") and "read-only=off" in word for word in words)
    assert any(word.startswith("file=/d/c,format=raw") and "read-only=on" in word for word in words)
    assert "s3cret" not in " ".join(words)
    assert not {"-no-reboot", "-daemonize", "-sandbox", "-runas"} & set(words)


def test_hardware_as_it_was_given(tmp_path: Path) -> None:
    asked = HardwareSpec(dedicated_cpus=True, numa_node=1, huge_pages=True, devices=("gpu",))
    given = {"cpus": [2], "devices": ["0000:3b:00.0"]}
    words = _words(tmp_path, VmSpec("a1", "ce", 96, 1, hardware=asked), given=given, hugepages="/h,p")
    pairs = set(itertools.pairwise(words))
    assert {("-M", "q35,memory-backend=memory"), ("-device", "vfio-pci,host=0000:3b:00.0")} <= pairs
    backend = "memory-backend-file,mem-path=/h,,p,prealloc=on,id=memory,size=96M,host-nodes=1,policy=bind"
    assert ("-object", backend) in pairs
    plain = _words(tmp_path, VmSpec("b1", "ce", 96, 1))
    assert not [word for word in plain if "memory-backend" in word or "vfio" in word]


def test_what_configuration_adds(tmp_path: Path) -> None:
    spec = VmSpec("a1", "ce", 96, 1)
    words = _words(tmp_path, spec, "kvm", sandbox=True, run_as="vmuser", cpu="host", machine="pc")
    pairs = set(itertools.pairwise(words))
    assert {("-accel", "kvm"), ("-cpu", "host"), ("-M", "pc"), ("-runas", "vmuser")} <= pairs
    assert "-sandbox" in words
    assert "-kernel" not in words


def test_a_bridge_means_a_tap_and_none_a_user_mode_network(tmp_path: Path) -> None:
    other = NicSpec(network="m", mac="02:00:00:00:00:02", ip="10.1.0.5", prefix=24, hostname="ce-m", bridge="br0")
    words = _words(tmp_path, VmSpec("a1", "ce", 96, 1, nics=(NIC, other), hostname="ce"))
    user, tap = (word for word in words if word.startswith(("user,", "tap,")))
    assert "hostname=ce,restrict=on" in user
    assert tap == "tap,id=nic1,ifname=fla1.1,script=no,downscript=no"


@pytest.mark.parametrize(
    ("ip", "prefix", "host", "dns"),
    [
        ("10.0.0.5", 24, "10.0.0.1", "10.0.0.2"),
        ("10.0.0.1", 24, "10.0.0.2", "10.0.0.3"),
        ("10.0.0.2", 29, "10.0.0.1", "10.0.0.3"),
    ],
)
def test_the_guest_of_a_user_mode_network_gets_its_own_address(ip: str, prefix: int, host: str, dns: str) -> None:
    nic = NicSpec(network="n", mac="02:00:00:00:00:01", ip=ip, prefix=prefix, hostname="ce")
    words = user_network(nic, "ce").split(",")
    assert {f"net=10.0.0.0/{prefix}", f"dhcpstart={ip}", f"host={host}", f"dns={dns}"} <= set(words)


def test_a_network_too_small_for_user_mode_is_refused() -> None:
    with pytest.raises(InvalidError, match="at most 29"):
        user_network(NicSpec(network="n", mac="02:00:00:00:00:01", ip="10.0.0.1", prefix=30, hostname="ce"), "ce")


def test_a_socket_path_too_long_for_the_kernel_is_said(tmp_path: Path) -> None:
    vm = VmDir(tmp_path / "a1", Path("/" + "x" * 110))
    with pytest.raises(InvalidError, match="key run"):
        command_line(config.build({"state": str(tmp_path)}), "tcg", vm, VmSpec("a1", "ce", 96, 1), [])
