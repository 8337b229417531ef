"""How a specification reads as libvirt's XML: nothing leaves its place, and nothing secret is in it."""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor.hardware import Given
from flyinglow.nodectl.hypervisor.libvirt_xml import Place, domain
from flyinglow.nodectl.hypervisor.mark import mark_of
from flyinglow.nodectl.images.disks import DiskFile
from flyinglow.nodectl.messages import HardwareSpec, NicSpec, VmSpec
from flyinglow.nodectl.vmdir import VmDir

NIC = NicSpec("private", "52:54:00:00:00:01", "10.0.0.5", 24, "ce", bridge="br0")
NONE = Given()
HOSTILE = "</cmdline><devices/>\"'&<!--"


def _made(tmp_path: Path, spec: VmSpec, given: Given = NONE, cpus: Any = (), **settings: Any) -> Element:
    vm = VmDir(tmp_path / spec.tag, Path("/run/x/qmp"))
    vm.path.mkdir()
    (vm.path / "context").write_text(spec.context)
    made = config.build({"state": str(tmp_path), **settings})
    disks = [DiskFile(Path("/d/a&b.qcow2"), "qcow2", read_only=False), DiskFile(Path("/d/c"), "raw", read_only=True)]
    kind = settings.get("accelerator", "qemu")
    text = domain(made, Place(kind, mark_of(tmp_path, spec.tag), vm, given, cpus), spec, disks)
    assert "s3cret" not in text
    return fromstring(text)


def _one(root: Element, path: str) -> Element:
    (found,) = root.findall(path)
    return found


def test_the_domain_of_a_vm(tmp_path: Path) -> None:
    spec = VmSpec("a1", "ce", 96, 2, kernel="/k", initrd="file:///i", append=HOSTILE, context="s3cret", nics=(NIC,))
    root = _made(tmp_path, spec)
    assert [root.findtext(name) for name in ("name", "memory", "vcpu")] == ["fl-a1", "96", "2"]
    assert [root.findtext(f"os/{name}") for name in ("kernel", "initrd", "cmdline")] == ["/k", "/i", HOSTILE]
    assert root.findtext("uuid") == mark_of(tmp_path, "a1").uuid
    assert _one(root, "metadata/{urn:flyinglow:nodectl:1}vm").attrib == {"tag": "a1", "state": str(tmp_path)}
    assert _one(root, "sysinfo/entry").attrib == {"name": "opt/lease/context", "file": f"{tmp_path}/a1/context"}
    assert _one(root, "devices/interface/target").attrib == {"dev": "fla1.0", "managed": "no"}
    first, second = root.findall("devices/disk")
    assert (_one(first, "source").get("file"), _one(first, "driver").get("type")) == ("/d/a&b.qcow2", "qcow2")
    assert (first.find("readonly"), second.find("readonly") is not None) == (None, True)
    assert _one(root, "devices/serial/source").get("path") == f"{tmp_path}/a1/console.log"
    assert _one(root, "devices/memballoon").get("model") == "virtio"
    assert len(root.findall("devices")) == 1
    assert not any(root.findall(name) for name in ("cputune", "numatune", "memoryBacking", "devices/hostdev"))


def test_hardware_as_it_was_given(tmp_path: Path) -> None:
    asked = HardwareSpec(dedicated_cpus=True, numa_node=1, huge_pages=True, devices=("gpu",))
    given = Given((4, 6), ("0000:3b:00.1",))
    root = _made(tmp_path, VmSpec("a1", "ce", 96, 2, hardware=asked), given, (4, 6))
    assert _one(root, "vcpu").get("cpuset") == "4,6"
    assert [pin.attrib for pin in root.findall("cputune/vcpupin")] == [
        {"vcpu": "0", "cpuset": "4"},
        {"vcpu": "1", "cpuset": "6"},
    ]
    assert _one(root, "cputune/emulatorpin").get("cpuset") == "4,6"
    assert _one(root, "numatune/memory").attrib == {"mode": "strict", "nodeset": "1"}
    _one(root, "memoryBacking/hugepages")
    address = {"domain": "0x0000", "bus": "0x3b", "slot": "0x00", "function": "0x1"}
    assert _one(root, "devices/hostdev/source/address").attrib == address


def test_what_configuration_says(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"accelerator": "kvm", "cpu": "host", "machine": "pc", "qemu": "/opt/qemu"}
    root = _made(tmp_path, VmSpec("a1", "ce", 96, 1), **settings)
    assert (root.get("type"), _one(root, "cpu").get("mode")) == ("kvm", "host-passthrough")
    assert (_one(root, "os/type").get("machine"), root.findtext("devices/emulator")) == ("pc", "/opt/qemu")
    assert (_one(root, "os/boot").get("dev"), root.findall("features/tcg")) == ("hd", [])


def test_what_libvirt_cannot_do_is_invalid(tmp_path: Path) -> None:
    nic = NicSpec("private", NIC.mac, NIC.ip, 24, "ce")
    with pytest.raises(InvalidError, match="name a bridge"):
        _made(tmp_path, VmSpec("a1", "ce", 96, 1, nics=(nic,)))
    with pytest.raises(InvalidError, match="are no text"):
        _made(tmp_path, VmSpec("b1", "ce", 96, 1, kernel="/k", append="\ud800"))
