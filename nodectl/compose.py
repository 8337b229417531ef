"""Put a node together from its configuration: which driver, which disks, which networks, which memory.

Only what the configuration names is imported: a lease waits for its agents to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flyinglow.nodectl import processes
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context.delivery import Delivery
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.hypervisor.hardware import Hardware
from flyinglow.nodectl.memory.api import NodeMemory, machine_mb
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.slots.ledger import Limits
from flyinglow.nodectl.slots.ports import Admits, Pace
from flyinglow.nodectl.slots.scope import Scope
from flyinglow.nodectl.slots.taking import Slots
from flyinglow.nodectl.vmdir import StateDir

if TYPE_CHECKING:
    from flyinglow.nodectl.hypervisor.api import Driver, Hypervisor
    from flyinglow.nodectl.hypervisor.keeper import Keeper
    from flyinglow.nodectl.images.disks import Disks
    from flyinglow.nodectl.images.peers import Peers
    from flyinglow.nodectl.images.saving import Saver
    from flyinglow.nodectl.network.bridges import Networks

MIB = 1 << 20
MEMORY_FILE = "memory.json"


def node_of(
    config: Config, scope: Scope | None = None, patience: float | None = None, peers: Peers | None = None
) -> Node:
    """Return the node ``config`` describes, with its directories made. Raises BrokenError when they cannot be.

    ``scope`` None: all of it. ``patience``: seconds after which a lock that somebody holds is gone past. ``peers`` are
    asked for images.
    """
    state = StateDir(config.state, config.run, config.run_as, patience)
    state.prepare()
    seen = Scope(everything=True) if scope is None else scope
    longest = config.console_max_mb * MIB
    parts, told = _parts(config, state, peers), Delivery(config)
    saver, hardware = _saver(config), _hardware(config)
    return Node(state, *parts, scope=seen, contexts=told, console_max=longest, saver=saver, hardware=hardware)


def hypervisor_of(config: Config) -> Driver:
    """Return the driver of the node's VMs."""
    if config.driver == "simulated":
        from flyinglow.nodectl.hypervisor.simulated import Script, Simulated  # noqa: PLC0415 - see above

        return Simulated(Script(config.simulated))
    if config.driver == "xen":
        from flyinglow.nodectl.hypervisor.xen import Xen  # noqa: PLC0415 - see above

        return Xen(config)
    from flyinglow.nodectl.hypervisor.accelerator import Accelerator  # noqa: PLC0415 - see above

    if config.driver == "libvirt":
        from flyinglow.nodectl.hypervisor.libvirt import Libvirt  # noqa: PLC0415

        return Libvirt(config, Accelerator(config), _hardware(config))
    from flyinglow.nodectl.hypervisor.qemu import Qemu  # noqa: PLC0415

    return Qemu(config, Accelerator(config), _hardware(config))


def keeper_of(config: Config) -> Keeper:
    """Return what keeps whole states of VMs."""
    from flyinglow.nodectl.hypervisor.keeper import Keeper  # noqa: PLC0415 - see above

    state = StateDir(config.state, config.run, config.run_as)
    state.prepare()
    return Keeper(state, hypervisor_of(config), _parts(config, state, None)[2])


def peers_of(config: Config) -> Peers | None:
    """Return what passes images from and to other nodes; None where the configuration names no address for it."""
    if not config.peer_address or config.driver == "simulated":
        return None
    from flyinglow.nodectl.images.peers import Peers  # noqa: PLC0415 - see above

    return Peers(config, StateDir(config.state, config.run))


def _hardware(config: Config) -> Hardware:
    return Hardware(config, StateDir(config.state, config.run))


def _saver(config: Config) -> Saver | None:
    if config.driver == "simulated":
        return None
    from flyinglow.nodectl.images.saving import Saver  # noqa: PLC0415 - see above

    return Saver(config)


def _parts(config: Config, state: StateDir, peers: Peers | None) -> tuple[Hypervisor, Disks, Networks]:
    """Return what runs VMs, what makes their disks and what connects them."""
    if config.driver == "simulated":
        from flyinglow.nodectl.hypervisor.simulated import (  # noqa: PLC0415 - see above
            Script,
            Simulated,
            SimulatedDisks,
            SimulatedNetworks,
        )

        script = Script(config.simulated)
        return Simulated(script), SimulatedDisks(script), SimulatedNetworks()
    from flyinglow.nodectl.images.disks import Images  # noqa: PLC0415 - see above
    from flyinglow.nodectl.network.bridges import BridgeNetworks  # noqa: PLC0415

    driver, images = hypervisor_of(config), Images(config, peers=peers)
    if config.driver == "xen":
        from flyinglow.nodectl.hypervisor.xen_disks import RawDisks  # noqa: PLC0415 - see above

        return driver, RawDisks(config, images), BridgeNetworks(config, state, taps=False)
    return driver, images, BridgeNetworks(config, state)


def memory_of(config: Config) -> NodeMemory:
    """Return the driver of the node's memory."""
    total = config.memory_mb or machine_mb()
    file = config.state / MEMORY_FILE
    if config.memory == "cgroup":
        from flyinglow.nodectl.memory.cgroup import Cgroup  # noqa: PLC0415 - see above

        return Cgroup(Path(config.memory_cgroup), total)
    if config.memory == "hugepages":
        from flyinglow.nodectl.memory.hugepages import HugePages  # noqa: PLC0415 - see above

        return HugePages()
    if config.memory == "xen":
        from flyinglow.nodectl.memory.xen import Xen  # noqa: PLC0415 - see above

        return Xen(config.xl)
    if config.memory == "simulated":
        from flyinglow.nodectl.memory.simulated import SimulatedMemory  # noqa: PLC0415 - see above

        return SimulatedMemory(file, total, config.simulated.memory)
    from flyinglow.nodectl.memory.accounted import Accounted  # noqa: PLC0415 - see above

    return Accounted(file, total)


def gate_of(config: Config, state: StateDir, now: Callable[[], float]) -> Admits | None:
    """Return what judges the tickets for slots; None where slots are taken without."""
    if config.ticket_signers is None:
        return None
    from flyinglow.nodectl.slots.gate import Gate  # noqa: PLC0415 - see above

    return Gate(Path(config.ticket_signers), config.node, state, now, config.ssh_keygen)


def slots_of(config: Config, node: Node) -> Slots:
    """Return the slots of a node, as this process takes and gives them back."""
    me = processes.mark(os.getpid())
    if me is None:
        raise BrokenError("this process does not find itself below /proc")
    limits = Limits(config.minimum_node_mb, config.cpus or os.cpu_count() or 1)
    return Slots(node.state, memory_of(config), limits, node, me, Pace(config.settle_seconds))
