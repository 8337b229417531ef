"""How a VM's specification reads as QEMU's command line. Pure: the same specification gives the same words.

Context and user data are handed over as files, never as words: everybody on the node can read a command line.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import delivery
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor.qemu_hardware import device_words, memory_words, quoted
from flyinglow.nodectl.images.disks import DiskFile, path_of
from flyinglow.nodectl.messages import NicSpec, VmSpec
from flyinglow.nodectl.network.bridges import hostname_of
from flyinglow.nodectl.network.dnsmasq import network_of
from flyinglow.nodectl.network.ports import tap_name
from flyinglow.nodectl.vmdir import VmDir

LONGEST_SOCKET_PATH = 107
SMALLEST_USER_NETWORK = 29
SANDBOX = "on,obsolete=deny,spawn=deny,resourcecontrol=deny"


def command_line(config: Config, accelerator: str, vm: VmDir, spec: VmSpec, disks: Sequence[DiskFile]) -> list[str]:
    """Return the words that start ``spec`` with its processors stopped. Raises InvalidError for what QEMU cannot do."""
    if len(str(vm.qmp).encode()) > LONGEST_SOCKET_PATH:
        raise InvalidError(f"the path {vm.qmp} is too long for a socket: set a shorter directory with the key run")
    words = [config.qemu, "-name", f"fl-{spec.tag},process=fl-{spec.tag}", "-pidfile", str(vm.pid_file), "-S"]
    words += ["-accel", _accelerator(config, accelerator), "-cpu", config.cpu, *memory_words(config, vm, spec)]
    words += ["-smp", str(spec.cpus)]
    words += ["-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-qmp", f"unix:{quoted(vm.qmp)},server=on,wait=off"]
    words += ["-chardev", f"file,id=console,path={quoted(vm.console)},append=on", "-serial", "chardev:console"]
    words += _kernel(spec)
    words += ["-device", "virtio-balloon-pci"]
    words += itertools.chain.from_iterable(_disk(number, disk) for number, disk in enumerate(disks))
    words += itertools.chain.from_iterable(_nic(spec, number, nic) for number, nic in enumerate(spec.nics))
    words += device_words(vm)
    return words + _files(vm) + rights(config)


def rights(config: Config) -> list[str]:
    """Return the words by which QEMU gives up what it needs no more once it has opened its files."""
    words = ["-sandbox", SANDBOX] if config.sandbox else []
    return words + (["-runas", config.run_as] if config.run_as else [])


def user_network(nic: NicSpec, hostname: str) -> str:
    """Return the options of a user-mode network in which the guest gets exactly the leased address and name.

    QEMU's own two addresses there are the first ones that are neither the guest's nor the site's gateway.
    """
    network = network_of(nic)
    if nic.prefix > SMALLEST_USER_NETWORK:
        raise InvalidError(f"NIC {nic.mac}: without a bridge a network needs a prefix of at most 29, not {nic.prefix}")
    taken = {ipaddress.IPv4Address(nic.ip)}
    free = (address for address in network.hosts() if address not in taken)
    host, dns = next(free), next(free)
    return f"net={network},dhcpstart={nic.ip},host={host},dns={dns},hostname={hostname},restrict=on"


def _accelerator(config: Config, name: str) -> str:
    return f"tcg,tb-size={config.tb_size}" if name == "tcg" else name


def _kernel(spec: VmSpec) -> list[str]:
    if spec.kernel is None:
        return []
    words = ["-kernel", str(path_of(spec.kernel))]
    words += ["-initrd", str(path_of(spec.initrd))] if spec.initrd else []
    return words + (["-append", spec.append] if spec.append else [])


def _disk(number: int, disk: DiskFile) -> list[str]:
    node = f"disk{number}"
    options = f"file={quoted(disk.path)},format={disk.format},if=none,id={node},read-only={_switch(disk.read_only)}"
    options += ",cache=writeback,discard=unmap"
    return ["-drive", options, "-device", f"virtio-blk-pci,drive={node}"]


def _nic(spec: VmSpec, number: int, nic: NicSpec) -> list[str]:
    name = f"nic{number}"
    if nic.bridge is not None:
        backend = f"tap,id={name},ifname={tap_name(spec.tag, number)},script=no,downscript=no"
    else:
        backend = f"user,id={name},ipv6=off,{user_network(nic, hostname_of(spec))}"
    return ["-netdev", backend, "-device", f"virtio-net-pci,netdev={name},romfile=,mac={nic.mac}"]


def _files(vm: VmDir) -> list[str]:
    words = []
    for name, path in delivery.items(vm):
        words += ["-fw_cfg", f"name={name},file={quoted(path)}"]
    return words


def _switch(value: bool) -> str:
    return "on" if value else "off"
