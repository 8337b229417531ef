"""Put a node together from its configuration: which driver, which disks, which networks, which memory."""

from __future__ import annotations

import os
from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.hypervisor.accelerator import Accelerator
from flyinglow.nodectl.hypervisor.api import Driver, Hypervisor
from flyinglow.nodectl.hypervisor.qemu import Qemu
from flyinglow.nodectl.hypervisor.simulated import Script, Simulated, SimulatedDisks, SimulatedNetworks
from flyinglow.nodectl.hypervisor.xen import Xen as XenDriver
from flyinglow.nodectl.hypervisor.xen_disks import RawDisks
from flyinglow.nodectl.image import Disks, Images
from flyinglow.nodectl.images.saving import Saver
from flyinglow.nodectl.ledger import Limits
from flyinglow.nodectl.memory.accounted import Accounted
from flyinglow.nodectl.memory.api import NodeMemory, machine_mb
from flyinglow.nodectl.memory.cgroup import Cgroup
from flyinglow.nodectl.memory.hugepages import HugePages
from flyinglow.nodectl.memory.simulated import SimulatedMemory
from flyinglow.nodectl.memory.xen import Xen
from flyinglow.nodectl.network import BridgeNetworks, Networks
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.scope import Scope
from flyinglow.nodectl.slot_ports import Pace
from flyinglow.nodectl.slots import Slots
from flyinglow.nodectl.vmdir import StateDir

MIB = 1 << 20
MEMORY_FILE = "memory.json"


def node_of(config: Config, scope: Scope | None = None, patience: float | None = None) -> Node:
    """Return the node ``config`` describes, with its directories made. Raises BrokenError when they cannot be.

    ``scope`` None: all of it. ``patience``: seconds after which a lock that somebody holds is gone past.
    """
    state = StateDir(config.state, config.run, config.run_as, patience)
    state.prepare()
    seen = Scope(everything=True) if scope is None else scope
    longest = config.console_max_mb * MIB
    saver = None if config.driver == "simulated" else Saver(config)
    return Node(state, *_parts(config, state), scope=seen, console_max=longest, saver=saver)


def hypervisor_of(config: Config) -> Driver:
    """Return the driver of the node's VMs."""
    if config.driver == "simulated":
        return Simulated(Script(config.simulated))
    return XenDriver(config) if config.driver == "xen" else Qemu(config, Accelerator(config))


def _parts(config: Config, state: StateDir) -> tuple[Hypervisor, Disks, Networks]:
    """Return what runs VMs, what makes their disks and what connects them."""
    if config.driver == "simulated":
        script = Script(config.simulated)
        return Simulated(script), SimulatedDisks(script), SimulatedNetworks()
    driver, images = hypervisor_of(config), Images(config)
    if config.driver == "xen":
        return driver, RawDisks(config, images), BridgeNetworks(config, state, taps=False)
    return driver, images, BridgeNetworks(config, state)


def memory_of(config: Config) -> NodeMemory:
    """Return the driver of the node's memory."""
    total = config.memory_mb or machine_mb()
    file = config.state / MEMORY_FILE
    if config.memory == "cgroup":
        return Cgroup(Path(config.memory_cgroup), total)
    if config.memory == "hugepages":
        return HugePages()
    if config.memory == "xen":
        return Xen(config.xl)
    if config.memory == "simulated":
        return SimulatedMemory(file, total, config.simulated.memory)
    return Accounted(file, total)


def slots_of(config: Config, node: Node) -> Slots:
    """Return the slots of a node, as this process takes and gives them back."""
    me = processes.mark(os.getpid())
    if me is None:
        raise BrokenError("this process does not find itself below /proc")
    limits = Limits(config.minimum_node_mb, config.cpus or os.cpu_count() or 1)
    return Slots(node.state, memory_of(config), limits, node, me, Pace(config.settle_seconds))
