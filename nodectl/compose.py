"""Put a node together from its configuration: which driver, which disks, which networks."""

from __future__ import annotations

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.hypervisor.accelerator import Accelerator
from flyinglow.nodectl.hypervisor.qemu import Qemu, strays
from flyinglow.nodectl.hypervisor.simulated import Script, Simulated, SimulatedDisks, SimulatedNetworks
from flyinglow.nodectl.image import Images
from flyinglow.nodectl.network import BridgeNetworks
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.processes import end
from flyinglow.nodectl.vmdir import StateDir

MIB = 1 << 20


def node_of(config: Config) -> Node:
    """Return the node ``config`` describes, with its directories made. Raises BrokenError when they cannot be."""
    state = StateDir(config.state, config.run, config.run_as)
    state.prepare()
    longest = config.console_max_mb * MIB
    if config.driver == "simulated":
        script = Script(config.simulated)
        parts = (Simulated(script), SimulatedDisks(script), SimulatedNetworks())
        return Node(state, *parts, console_max=longest)
    qemu = Qemu(config, Accelerator(config))
    return Node(state, qemu, Images(config), BridgeNetworks(config, state), console_max=longest)


def kill_all(config: Config) -> dict[str, list[str]]:
    """Remove every VM of this node, and what serves them. Safe to repeat.

    One VM that resists does not keep the others; it is named in the answer: ``{"destroyed": [...], "failed": [...]}``.
    """
    node = node_of(config)
    destroyed, failed = [], []
    for vm in node.state.vms():
        try:
            node.destroy(vm.tag)
            destroyed.append(vm.tag)
        except FlyingLowError as error:
            failed.append(f"{vm.tag}: {error.message}")
    if config.driver == "qemu":
        failed += [
            f"QEMU process {mark.pid}" for mark in strays(config.state / "vms", node.state.pids) if not end(mark)
        ]
    node.networks.detach_all()
    node.state.tidy()
    return {"destroyed": destroyed, "failed": failed}
