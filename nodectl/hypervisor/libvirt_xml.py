"""How a VM's specification reads as libvirt's domain XML. Pure: the same gives the same text.

The XML is built as a tree, so nothing that an order says leaves its place. Context and user data are named as files:
what is written into a domain can be read by everybody who may look at the daemon, and on QEMU's command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import delivery
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor.hardware import Given
from flyinglow.nodectl.hypervisor.mark import Mark
from flyinglow.nodectl.images.disks import DiskFile, path_of
from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.network.ports import tap_name
from flyinglow.nodectl.vmdir import VmDir

OURS = "urn:flyinglow:nodectl:1"
FIRST_DISK = ord("a")
ENDINGS = {"on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "destroy"}
MODELS = {"max": {"mode": "maximum"}, "host": {"mode": "host-passthrough"}}


@dataclass(frozen=True)
class Place:
    """Where a domain is to be: its kind (``qemu``, ``kvm``), its mark, its directory, and the node's own for it."""

    kind: str
    mark: Mark
    vm: VmDir
    given: Given = Given()
    cpus: Sequence[int] = ()  # that it may run on; empty: all


def domain(config: Config, place: Place, spec: VmSpec, disks: Sequence[DiskFile]) -> str:
    """Return a domain's XML. Raises InvalidError for what libvirt's driver cannot do."""
    root = Element("domain", type=place.kind)
    for name, text in (("name", place.mark.name), ("uuid", place.mark.uuid)):
        _text(root, name, text)
    _add(_add(root, "metadata"), f"{{{OURS}}}vm", tag=spec.tag, state=str(config.state))
    _memory(root, config, place.vm, spec)
    _processors(root, config, place, spec)
    _boot(root, config, place, spec)
    for name, text in ENDINGS.items():
        _text(root, name, text)
    _devices(_add(root, "devices"), config, place, spec, disks)
    text = tostring(root, encoding="unicode")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"VM {spec.tag} has words that are no text: {error.reason}") from error
    return text


def _memory(root: Element, config: Config, vm: VmDir, spec: VmSpec) -> None:
    _text(root, "memory", str(spec.memory_mb), unit="MiB")
    if spec.hardware.huge_pages or (config.memory == "hugepages" and vm.slot is not None):
        _add(_add(root, "memoryBacking"), "hugepages")
    if spec.hardware.numa_node is not None:
        _add(_add(root, "numatune"), "memory", mode="strict", nodeset=str(spec.hardware.numa_node))


def _processors(root: Element, config: Config, place: Place, spec: VmSpec) -> None:
    among = {"cpuset": _list(place.cpus)} if place.cpus else {}
    _text(root, "vcpu", str(spec.cpus), placement="static", **among)
    if place.given.cpus:
        tuning = _add(root, "cputune")
        for number, cpu in enumerate(place.given.cpus):
            _add(tuning, "vcpupin", vcpu=str(number), cpuset=str(cpu))
        _add(tuning, "emulatorpin", cpuset=_list(place.given.cpus))
    model = MODELS.get(config.cpu)
    if model is not None:
        _add(root, "cpu", **model)
    else:
        _text(_add(root, "cpu", mode="custom", match="exact"), "model", config.cpu)


def _boot(root: Element, config: Config, place: Place, spec: VmSpec) -> None:
    shown = delivery.items(place.vm)
    if shown:
        told = _add(root, "sysinfo", type="fwcfg")
        for name, path in shown:
            _add(told, "entry", name=name, file=str(path))
    system = _add(root, "os")
    _text(system, "type", "hvm", arch="x86_64", **({} if place.kind == "test" else {"machine": config.machine}))
    if spec.kernel is None:
        _add(system, "boot", dev="hd")
    else:
        _text(system, "kernel", str(path_of(spec.kernel)))
        for name, value in (("initrd", spec.initrd and str(path_of(spec.initrd))), ("cmdline", spec.append)):
            if value:
                _text(system, name, value)
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if place.kind == "qemu":
        _text(_add(features, "tcg"), "tb-cache", str(config.tb_size), unit="MiB")


def _devices(devices: Element, config: Config, place: Place, spec: VmSpec, disks: Sequence[DiskFile]) -> None:
    if "/" in config.qemu:
        _text(devices, "emulator", config.qemu)
    for number, disk in enumerate(disks):
        _disk(devices, number, disk)
    for number, nic in enumerate(spec.nics):
        _nic(devices, spec, number, nic)
    serial = _add(devices, "serial", type="file")
    _add(serial, "source", path=str(place.vm.console), append="on")
    _add(serial, "target", port="0")
    for address in place.given.devices:
        _pass_through(devices, address)
    _add(devices, "controller", type="usb", model="none")
    _add(devices, "memballoon", model="virtio")


def _disk(devices: Element, number: int, disk: DiskFile) -> None:
    made = _add(devices, "disk", type="file", device="disk")
    _add(made, "driver", name="qemu", type=disk.format, cache="writeback", discard="unmap")
    _add(made, "source", file=str(disk.path))
    _add(made, "target", dev=f"vd{chr(FIRST_DISK + number)}", bus="virtio")
    if disk.read_only:
        _add(made, "readonly")


def _nic(devices: Element, spec: VmSpec, number: int, nic: NicSpec) -> None:
    if nic.bridge is None:
        raise InvalidError(f"NIC {nic.mac}: libvirt gives no guest of a user-mode network its address: name a bridge")
    made = _add(devices, "interface", type="ethernet")
    _add(made, "mac", address=nic.mac)
    _add(made, "target", dev=tap_name(spec.tag, number), managed="no")  # the tap is ours, and guarded
    _add(made, "model", type="virtio")
    _add(made, "rom", enabled="no")


def _pass_through(devices: Element, address: str) -> None:
    head, _, function = address.partition(".")
    parts = dict(zip(("domain", "bus", "slot"), head.split(":")))
    made = _add(devices, "hostdev", mode="subsystem", type="pci", managed="yes")
    words = {name: f"0x{value}" for name, value in parts.items()}
    _add(_add(made, "source"), "address", **words, function=f"0x{function}")


def _list(cpus: Sequence[int]) -> str:
    return ",".join(map(str, cpus))


def _add(parent: Element, kind: str, /, **attributes: str) -> Element:
    return SubElement(parent, kind, attributes)


def _text(parent: Element, kind: str, text: str, /, **attributes: str) -> None:
    SubElement(parent, kind, attributes).text = text
