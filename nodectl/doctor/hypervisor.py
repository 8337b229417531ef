"""Look whether this node can run VMs as its libvirtd's domains, and whether it has the hardware it is to give out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.hypervisor.libvirt_link import Link, told

DEVICES = Path("/sys/bus/pci/devices")
PASSING = "vfio-pci"


def libvirt(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is to be looked at of a libvirtd; each raises a FlyingLowError, or says what it found."""
    yield "libvirt", lambda: _daemon(config)


def hardware(config: Config, devices: Path = DEVICES) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is to be looked at of the hardware that VMs may have for themselves."""
    if config.dedicated_cpus and config.driver != "xen":
        yield "dedicated CPUs", lambda: _cpus(config)
    for name, addresses in sorted(config.devices.items()):
        yield f"device {name}", lambda addresses=addresses: _devices(config, addresses, devices)  # type: ignore[misc]


def _daemon(config: Config) -> str:
    link = Link(config.libvirt).connection()
    with told("libvirt does not answer"):
        version = int(link.getLibVersion())
        return f"{link.getType()} at {config.libvirt}, libvirt {version // 10**6}.{version // 1000 % 1000}"


def _cpus(config: Config) -> str:
    there = set(range(os.cpu_count() or 1))
    missing = [str(cpu) for cpu in config.dedicated_cpus if cpu not in there]
    if missing:
        raise BrokenError(f"this node has no CPU {', '.join(missing)} (configuration key dedicated_cpus)")
    if there <= set(config.dedicated_cpus):
        raise BrokenError("no CPU is left for the node itself (configuration key dedicated_cpus)")
    return ", ".join(map(str, config.dedicated_cpus))


def _devices(config: Config, addresses: tuple[str, ...], devices: Path) -> str:
    for address in addresses:
        if not (devices / address).exists():
            raise BrokenError(f"this node has no PCI device {address} (configuration key devices)")
        bound = devices / address / "driver"
        if config.driver == "qemu" and not (bound.is_symlink() and bound.readlink().name == PASSING):
            raise BrokenError(
                f"PCI device {address} is not bound to {PASSING}: bind it (driverctl set-override does it)"
            )
    return ", ".join(addresses) or "none"
