"""What a VM's specification must look like before anything is done with it.

The program may run as root for a service that does not: nothing of an order reaches a command line, a path or a
configuration file that has not passed here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from flyinglow.nodectl.context import files, ways
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.images import blank
from flyinglow.nodectl.messages import DiskSpec, HardwareSpec, NicSpec, VmSpec, vm_spec

TAG = re.compile(r"[a-z][a-z0-9]{0,9}\Z")  # with "fl" before and ".99" behind it still names an interface
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z", re.IGNORECASE)
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z", re.IGNORECASE)
INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}\Z")
FORMATS = ("raw", "qcow2")
DELIVERIES = ("dhcp", "static")
HIGHEST_VLAN = 4094
IPV4 = (ipaddress.IPv4Interface, ipaddress.IPv4Address)
IPV6 = (ipaddress.IPv6Interface, ipaddress.IPv6Address)
GRACE = 30.0  # seconds a guest gets for its shutdown when an order names none
MAX_TEXT = 1 << 20  # bytes of context or user data
MAX_NICS = 16
MAX_DISKS = 16
MAX_DEVICES = 16
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


def check_tag(tag: object) -> str:
    """Return the tag. Raises InvalidError when it is none."""
    if not isinstance(tag, str) or not TAG.match(tag):
        raise InvalidError(f"a tag is up to 10 lower-case letters and digits, starting with a letter, not {tag!r}")
    return tag


def read(body: object) -> VmSpec:
    """Build and check a specification from its JSON form. Raises InvalidError naming the first thing wrong."""
    if not isinstance(body, dict):
        raise InvalidError("a VM's specification is a JSON object")
    if missing := [name for name in ("tag", "name", "memory_mb", "cpus") if name not in body]:
        raise InvalidError(f"a VM's specification lacks {', '.join(missing)}")
    try:
        spec = vm_spec(body)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InvalidError(f"not a VM's specification: {error}") from error
    check(spec)
    return spec


def seconds_of(body: dict[str, Any]) -> float:
    """Return the grace that an order gives a guest. Raises InvalidError for what is no time."""
    value = body.get("seconds", GRACE)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise InvalidError(f"seconds must be a number of at least 0, not {value!r}")
    return float(value)


def whole_of(body: dict[str, Any], name: str, default: int) -> int:
    """Return a figure of an order. Raises InvalidError for what is none."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidError(f"{name} must be a whole number of at least 0, not {value!r}")
    return value


def check(spec: VmSpec) -> None:
    """Raise InvalidError naming the first thing in ``spec`` that cannot be."""
    check_tag(spec.tag)
    _line(spec.name, "name")
    _line(spec.append, "append")
    _number(spec.memory_mb, "memory_mb", 1)
    _number(spec.cpus, "cpus", 1)
    for name in ("context", "user_data"):
        _text(getattr(spec, name), name)
    if "\0" in spec.context:
        raise InvalidError("context has no NUL")
    ways.check(spec.delivery)
    files.check(spec.files)
    for key in spec.keys:
        _line(key, "key")
    for name in ("kernel", "initrd", "ready_mark"):
        if getattr(spec, name) is not None:
            _line(getattr(spec, name), name)
    if spec.initrd is not None and spec.kernel is None:
        raise InvalidError("an initrd needs a kernel")
    if spec.append and spec.kernel is None:
        raise InvalidError("kernel parameters need a kernel")
    if spec.hostname:
        _match(spec.hostname, HOSTNAME, "hostname")
    _hardware(spec.hardware)
    _each(spec.disks, _disk, "disk", MAX_DISKS, lambda disk: disk.name)
    _each(spec.nics, _nic, "NIC", MAX_NICS, lambda nic: nic.mac.lower())


def _each(items: tuple, one: Callable, what: str, most: int, key: Callable) -> None:  # type: ignore[type-arg]
    if len(items) > most:
        raise InvalidError(f"more than {most} {what}s")
    seen = set()
    for item in items:
        one(item)
        if key(item) in seen:
            raise InvalidError(f"{what} {key(item)!r} is there twice")
        seen.add(key(item))


def _disk(disk: DiskSpec) -> None:
    _line(disk.name, "disk name")
    if (disk.source is None) == (disk.blank_mb is None):
        raise InvalidError(f"disk {disk.name!r} needs either a source or a size to be made empty")
    if disk.source is not None:
        _line(disk.source, "disk source")
    if disk.blank_mb is not None:
        _number(disk.blank_mb, "blank_mb", 1)
    if disk.most_mb is not None:
        _number(disk.most_mb, "most_mb", 1)
    if disk.format not in FORMATS:
        raise InvalidError(f"disk {disk.name!r} has format {disk.format!r}, not one of {', '.join(FORMATS)}")
    blank.check(disk)
    if disk.sha256 is not None:
        _match(disk.sha256, re.compile(r"[0-9a-fA-F]{64}\Z"), "sha256")


def _hardware(hardware: HardwareSpec) -> None:
    for name in ("dedicated_cpus", "huge_pages"):
        if not isinstance(getattr(hardware, name), bool):
            raise InvalidError(f"{name} of the hardware must be true or false, not {getattr(hardware, name)!r}")
    if hardware.numa_node is not None:
        _number(hardware.numa_node, "numa_node", 0)
    if len(hardware.devices) > MAX_DEVICES:
        raise InvalidError(f"more than {MAX_DEVICES} devices")
    for name in hardware.devices:
        _match(name, DEVICE, "name of a device")


def _nic(nic: NicSpec) -> None:
    _line(nic.network, "network")
    _match(nic.mac, MAC, "MAC address")
    if int(nic.mac[:2], 16) & 1:
        raise InvalidError(f"MAC address {nic.mac} is one of a group, not of a NIC")
    _match(nic.hostname, HOSTNAME, "hostname of a NIC")
    _number(nic.prefix, "prefix", 1)
    _number(nic.prefix6, "prefix6", 1)
    _addresses(nic, IPV4, f"{nic.ip}/{nic.prefix}", nic.gateway, nic.dns)
    if nic.ip6 is not None:
        _addresses(nic, IPV6, f"{nic.ip6}/{nic.prefix6}", nic.gateway6, nic.dns6)
    elif nic.gateway6 is not None or nic.dns6:
        raise InvalidError(f"NIC {nic.mac} has no IPv6 address for its gateway6 or dns6")
    if nic.delivery not in DELIVERIES:
        raise InvalidError(f"NIC {nic.mac}: delivery is one of {', '.join(DELIVERIES)}, not {nic.delivery!r}")
    if nic.vlan is not None:
        _number(nic.vlan, "vlan", 1)
        if nic.vlan > HIGHEST_VLAN:
            raise InvalidError(f"vlan is at most {HIGHEST_VLAN}, not {nic.vlan}")
    if nic.bridge is not None:
        _match(nic.bridge, INTERFACE, "bridge")


def _addresses(
    nic: NicSpec, family: tuple[Any, Any], interface: str, gateway: str | None, servers: tuple[str, ...]
) -> None:
    """Check the addresses of one family. A zone, which IPv6 has, is none of the network's business."""
    try:
        network = family[0](interface).network
        others = [family[1](text) for text in ((gateway,) if gateway is not None else ()) + servers]
    except ValueError as error:
        raise InvalidError(f"NIC {nic.mac}: {error}") from error
    if any("%" in text for text in (interface, str(gateway), *servers)):
        raise InvalidError(f"NIC {nic.mac}: an address with a zone")
    if gateway is not None and others[0] not in network:
        raise InvalidError(f"NIC {nic.mac}: gateway {gateway} is not in {network}")


def _line(value: object, what: str) -> None:
    if not isinstance(value, str) or any(ord(char) < ord(" ") for char in value):
        raise InvalidError(f"{what} must be a text of one line")


def _text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise InvalidError(f"{what} must be a text")
    if len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        raise InvalidError(f"{what} has more than {MAX_TEXT} bytes")


def _number(value: object, what: str, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidError(f"{what} must be a whole number of at least {least}, not {value!r}")


def _match(value: object, pattern: re.Pattern[str], what: str) -> None:
    if not isinstance(value, str) or not pattern.match(value):
        raise InvalidError(f"{value!r} is no {what}")
