"""What a node's configuration may say of its hypervisor and its hardware, and what of that is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flyinglow.nodectl.errors import InvalidError

DRIVERS = ("qemu", "xen", "libvirt", "simulated")
ACCELERATORS = ("tcg", "kvm", "auto")
PLACEMENTS = ("outside", "inside")
# measured, beside the guest's memory: a QEMU with its translation cache; what xl keeps free when it makes a domain
OVERHEAD_MB = {"qemu": 96, "xen": 2, "libvirt": 96, "simulated": 0}
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\Z")  # domain, bus, slot and function of a PCI device
LIBVIRT = re.compile(r"[a-z][a-z+]*://[^\s\x00-\x1f]*\Z")


def hardware(data: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration's form with the keys about hardware read. Raises InvalidError for what they cannot say."""
    made = dict(data)
    if "devices" in made:
        made["devices"] = _devices(made["devices"])
    if "dedicated_cpus" in made:
        made["dedicated_cpus"] = _cpus(made["dedicated_cpus"])
    return made


def check(driver: str, placement: object, vm_cgroup: str, libvirt: object) -> None:
    """Raise InvalidError for what does not go together."""
    if placement not in PLACEMENTS:
        raise InvalidError(f"configuration key placement must be one of {', '.join(PLACEMENTS)}")
    if placement == "inside" and driver != "qemu":
        raise InvalidError("configuration key placement: only driver qemu can run VMs inside of a job")
    if placement == "inside" and vm_cgroup:
        raise InvalidError("configuration keys placement and vm_cgroup: VMs that are inside of a job stay in its group")
    if not isinstance(libvirt, str) or not LIBVIRT.match(libvirt):
        raise InvalidError(f"configuration key libvirt must be a URI such as qemu:///system, not {libvirt!r}")


def _devices(given: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(given, dict):
        raise InvalidError("devices must be a JSON object")
    made = {}
    seen: set[str] = set()
    for name, addresses in given.items():
        if not DEVICE.match(name) or not isinstance(addresses, list):
            raise InvalidError(f"configuration key devices.{name} must be a name with a list of PCI addresses")
        for address in addresses:
            if not isinstance(address, str) or not ADDRESS.match(address):
                raise InvalidError(f"configuration key devices.{name}: {address!r} is not like 0000:3b:00.0")
            if address in seen:
                raise InvalidError(f"configuration key devices.{name}: {address} is named twice")
            seen.add(address)
        made[name] = tuple(addresses)
    return made


def _cpus(given: object) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(type(cpu) is int and cpu >= 0 for cpu in given):
        raise InvalidError("configuration key dedicated_cpus must be a list of the numbers of CPUs")
    return tuple(sorted(set(given)))
