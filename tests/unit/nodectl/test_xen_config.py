"""What Xen is told of a VM: nothing of an order leaves its place in the configuration."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor.hardware import Given
from flyinglow.nodectl.hypervisor.mark import Mark, mark_of
from flyinglow.nodectl.hypervisor.xen_config import configuration, hardware, quoted
from flyinglow.nodectl.images.disks import DiskFile
from flyinglow.nodectl.messages import HardwareSpec, NicSpec, VmSpec

MARK = Mark("fl-kx3b9q2z", "5b0f6b1e-52a7-4f0e-9d86-0d0c7f3a2c11")
NIC = NicSpec("private", "52:54:00:00:00:01", "10.0.0.5", 24, "ce", bridge="br-private")
SPEC = VmSpec("kx3b9q2z", "ce", 128, 2, kernel="/boot/k", initrd="/boot/i", append="console=hvc0", nics=(NIC,))
DISKS = (DiskFile(Path("/x/disk0.raw"), "raw", read_only=False), DiskFile(Path("/y/b.raw"), "raw", read_only=True))
STRING = r'"(?:[^"\\]|\\.)*"'
LINE = re.compile(rf"[a-z_]+ = (?:\d+|{STRING}|\[ (?:{STRING}(?:, {STRING})*)? \])\Z")


def test_a_vm_reads_as_xen_wants_it() -> None:
    text = configuration(MARK, SPEC, DISKS)
    disks = ["format=raw,vdev=xvda,access=rw,target=/x/disk0.raw", "format=raw,vdev=xvdb,access=ro,target=/y/b.raw"]
    for line in (
        'name = "fl-kx3b9q2z"',
        'type = "pv"',
        "memory = 128",
        "vcpus = 2",
        'cmdline = "console=hvc0"',
        f'disk = [ "{disks[0]}", "{disks[1]}" ]',
        'vif = [ "type=vif,mac=52:54:00:00:00:01,bridge=br-private,vifname=flkx3b9q2z.0" ]',
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    "hostile",
    ['"', '"\nkernel = "/etc/shadow', "\\", 'a\\"', "', '", '" ] disk = [ "x', "$(reboot)", "#", ";name=x", "\\x41"],
)
def test_what_an_order_says_stays_inside_of_one_string(hostile: str) -> None:
    if "\n" in hostile:
        with pytest.raises(InvalidError, match="cannot be told to Xen"):
            quoted(hostile)
        return
    spec = VmSpec("k", "k", 64, 1, kernel=f"/boot/{hostile}", append=hostile)
    lines = configuration(MARK, spec, [DiskFile(Path(f"/x/{hostile}"), "raw", read_only=True)]).splitlines()
    assert all(LINE.match(line) for line in lines), lines
    assert [line.split(" = ")[0] for line in lines].count("kernel") == 1


@pytest.mark.parametrize(
    ("asked", "given", "lines"),
    [
        (HardwareSpec(), Given(), ['cpus = "all,^2,^3"']),
        (HardwareSpec(numa_node=1), Given(), ['cpus = "node:1"']),
        (HardwareSpec(dedicated_cpus=True), Given((2, 3)), ['cpus = [ "2", "3" ]']),
        (
            HardwareSpec(devices=("gpu",)),
            Given((2,), ("0000:3b:00.0",)),
            ['cpus = [ "2" ]', 'pci = [ "0000:3b:00.0" ]'],
        ),
    ],
)
def test_hardware_as_it_was_given(asked: HardwareSpec, given: Given, lines: list[str]) -> None:
    assert hardware(replace(SPEC, hardware=asked), given, (2, 3)).splitlines() == lines
    assert hardware(SPEC, Given(), ()) == ""


@pytest.mark.parametrize("char", ["\0", "\n", "\r", "\x1b", "\x7f"])
def test_control_characters_are_refused(char: str) -> None:
    with pytest.raises(InvalidError):
        quoted(f"a{char}b")


def test_what_xen_cannot_do_is_invalid() -> None:
    with pytest.raises(InvalidError, match="needs a kernel"):
        configuration(MARK, VmSpec("k", "k", 64, 1), [])
    user_mode = NicSpec("private", NIC.mac, NIC.ip, 24, "ce")
    with pytest.raises(InvalidError, match="needs a bridge"):
        configuration(MARK, VmSpec("k", "k", 64, 1, kernel="/k", nics=(user_mode,)), [])


def test_a_mark_tells_state_directories_and_tags_apart() -> None:
    marks = {mark_of(Path(state), tag).uuid for state in ("/a", "/b") for tag in ("k1", "k2")}
    assert len(marks) == 4
    assert mark_of(Path("/a"), "k1") == mark_of(Path("/a"), "k1")
