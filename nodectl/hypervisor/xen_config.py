"""How a VM's specification reads as a configuration file of Xen's ``xl``. Pure: the same gives the same text.

Whatever an order says stands inside of one quoted string and cannot leave it. Context and user data are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor.hardware import Given
from flyinglow.nodectl.hypervisor.mark import Mark
from flyinglow.nodectl.images.disks import DiskFile, path_of
from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.network.ports import tap_name

FIRST_DISK = ord("a")
# A domain that ended by itself stays to be asked why; one that reboots is xl's own business.
ENDINGS = {"on_poweroff": "preserve", "on_reboot": "restart", "on_crash": "preserve", "on_watchdog": "preserve"}


def configuration(mark: Mark, spec: VmSpec, disks: Sequence[DiskFile], script: str = "") -> str:
    """Return the configuration of a paravirtualized domain. Raises InvalidError for what Xen cannot do.

    ``script`` is what gives files to loop devices; empty: Xen's own.
    """
    if spec.kernel is None:
        raise InvalidError("a paravirtualized VM needs a kernel of the site's: its image must name one")
    lines = [f"{name} = {quoted(value)}" for name, value in _words(mark, spec).items()]
    lines += [f"memory = {spec.memory_mb}", f"maxmem = {spec.memory_mb}", f"vcpus = {spec.cpus}"]
    lines.append(_list("disk", [_disk(number, disk, script) for number, disk in enumerate(disks)]))
    lines.append(_list("vif", [_vif(spec, number, nic) for number, nic in enumerate(spec.nics)]))
    return "".join(f"{line}\n" for line in lines)


def hardware(spec: VmSpec, given: Given, dedicated: Sequence[int]) -> str:
    """Return what a domain's configuration says of CPUs and devices; empty: nothing.

    CPUs are the machine's, which domain 0 sees only some of. Memory follows the CPUs' NUMA node by itself.
    """
    lines = []
    if given.cpus:
        lines.append(_list("cpus", [str(cpu) for cpu in given.cpus]))
    elif spec.hardware.numa_node is not None:
        lines.append(f"cpus = {quoted(f'node:{spec.hardware.numa_node}')}")
    elif dedicated:
        lines.append(f"cpus = {quoted(','.join(['all', *(f'^{cpu}' for cpu in dedicated)]))}")
    if given.devices:
        lines.append(_list("pci", list(given.devices)))
    return "".join(f"{line}\n" for line in lines)


def quoted(text: str) -> str:
    """Return a text as a string of xl's configuration language. Raises InvalidError for one that cannot be one."""
    if any(ord(char) < ord(" ") or ord(char) == 0x7F for char in text):  # noqa: PLR2004 - DEL
        raise InvalidError(f"{text[:80]!r} cannot be told to Xen")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def device(number: int) -> str:
    """Return how a guest knows its disk of this number."""
    return f"xvd{chr(FIRST_DISK + number)}"


def _words(mark: Mark, spec: VmSpec) -> dict[str, str]:
    words = {"name": mark.name, "uuid": mark.uuid, "type": "pv", "kernel": str(path_of(spec.kernel or ""))}
    if spec.initrd is not None:
        words["ramdisk"] = str(path_of(spec.initrd))
    if spec.append:
        words["cmdline"] = spec.append
    return {**words, **ENDINGS}


def _list(name: str, items: list[str]) -> str:
    return f"{name} = [ {', '.join(map(quoted, items))} ]"


def _disk(number: int, disk: DiskFile, script: str) -> str:
    """Return a disk; its file stands last, where a comma in it does no harm."""
    access = "ro" if disk.read_only else "rw"
    by = f"script={script}," if script else ""
    return f"{by}format={disk.format},vdev={device(number)},access={access},target={disk.path}"


def _vif(spec: VmSpec, number: int, nic: NicSpec) -> str:
    if nic.bridge is None:
        raise InvalidError(f"NIC {nic.mac}: Xen has no user-mode network, it needs a bridge")
    return f"type=vif,mac={nic.mac},bridge={nic.bridge},vifname={tap_name(spec.tag, number)}"
