"""Which CPUs and devices of the node are whose: the ledger of its hardware.

There is no book besides the VMs' own directories: what a VM was given is in its ``hardware.json``, from the creation of
its directory to its removal. Whoever gives something out holds one lock and looks at all of them, so no two VMs get the
same CPU or device, whatever is killed when; and what a VM had is free when its directory is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, InvalidError, NeverError
from flyinglow.nodectl.messages import HardwareSpec, VmSpec
from flyinglow.nodectl.vmdir import StateDir, VmDir, read_json, write_json

FILE = "hardware.json"
LOCK = ":hardware"  # no tag of a VM begins like this
TOPOLOGY = Path("/sys/devices/system/node")
MEMORY = Path("/proc/meminfo")
# what of it each driver can do
ABLE = {
    "qemu": ("dedicated_cpus", "numa_node", "huge_pages", "devices"),
    "libvirt": ("dedicated_cpus", "numa_node", "huge_pages", "devices"),
    "xen": ("dedicated_cpus", "numa_node", "devices"),
    "simulated": ("dedicated_cpus", "numa_node", "huge_pages", "devices"),
}


@dataclass(frozen=True)
class Given:
    """What a VM was given: CPUs, one for each of its own, and the PCI addresses of devices."""

    cpus: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()


class Hardware:
    """The hardware of one node."""

    def __init__(self, config: Config, state: StateDir, topology: Path = TOPOLOGY, memory: Path = MEMORY) -> None:
        """``topology`` and ``memory`` are where the kernel tells of NUMA nodes and of huge pages."""
        self._config = config
        self._state = state
        self._topology = topology
        self._memory = memory
        self._hidden = config.driver == "xen"  # domain 0 sees processors of its own, not the machine's

    def give(self, vm: VmDir, spec: VmSpec) -> None:
        """Give a VM what its specification asks for; done already when it has it.

        Raises InvalidError for a device this node does not know, NeverError for more than it has or for what its
        driver cannot do, ExhaustedError when others have it now.
        """
        asked = spec.hardware
        if asked == HardwareSpec():
            return
        self._check(asked, spec)
        with self._state.locked(LOCK):
            if read_json(vm.path / FILE) is None:
                others = [given_to(other) for other in self._state.vms() if other.tag != vm.tag]
                given = Given(tuple(self._cpus(asked, spec, others)), tuple(self._devices(asked, others)))
                write_json(vm.path / FILE, asdict(given), durable=True)

    def cpus_of(self, vm: VmDir, spec: VmSpec) -> tuple[int, ...]:
        """Return the CPUs that a VM may run on; empty: all there are."""
        given = given_to(vm).cpus
        if given:
            return given
        kept = set(self._config.dedicated_cpus)
        numa = spec.hardware.numa_node
        if numa is not None:
            return tuple(cpu for cpu in self._numa(numa) if cpu not in kept) or tuple(self._numa(numa))
        return tuple(cpu for cpu in self._all() if cpu not in kept) if kept else ()

    def _check(self, asked: HardwareSpec, spec: VmSpec) -> None:
        driver = self._config.driver
        for name, value in asdict(asked).items():
            if value not in (False, None, ()) and name not in ABLE[driver]:
                raise NeverError(f"a VM asks for {name}, which driver {driver} of node {self._config.node} cannot do")
        if self._hidden and asked.dedicated_cpus and asked.numa_node is not None:
            raise NeverError(f"driver {driver} of node {self._config.node} dedicates no CPUs of a certain NUMA node")
        known = self._config.devices
        for name, count in Counter(asked.devices).items():
            if name not in known:
                there = ", ".join(sorted(known)) or "none"
                raise InvalidError(f"node {self._config.node} has no device {name!r} (there are: {there})")
            if count > len(known[name]):
                figures = {"devices.asked": count, "devices.max": len(known[name])}
                raise NeverError(f"node {self._config.node} has {len(known[name])} devices {name!r}", figures)
        if asked.huge_pages:
            self._check_pages(spec)

    def _check_pages(self, spec: VmSpec) -> None:
        lines = (line.split(":", 1) for line in self._memory.read_text(encoding="ascii").splitlines())
        figures = {name: int(rest.split()[0]) for name, rest in lines if name.startswith("Huge")}
        pool = figures.get("HugePages_Total", 0) * figures.get("Hugepagesize", 0) >> 10
        if self._config.memory != "hugepages" and self._config.driver != "simulated" and spec.memory_mb > pool:
            raise ExhaustedError(
                f"node {self._config.node} has {pool} MiB of huge pages, {spec.memory_mb} are needed",
                {"huge_pages_mb.asked": spec.memory_mb, "huge_pages_mb.pool": pool},
            )

    def _cpus(self, asked: HardwareSpec, spec: VmSpec, others: Sequence[Given]) -> Sequence[int]:
        numa = None if self._hidden else asked.numa_node
        if numa is not None:
            self._numa(numa)  # which must be there
        if not asked.dedicated_cpus:
            return ()
        pool = self._within(self._config.dedicated_cpus, numa)
        if spec.cpus > len(pool):
            figures = {"cpus.asked": spec.cpus, "cpus.max": len(pool)}
            raise NeverError(f"node {self._config.node} has {len(pool)} CPUs to dedicate there", figures)
        taken = {cpu for given in others for cpu in given.cpus}
        free = [cpu for cpu in pool if cpu not in taken]
        if spec.cpus > len(free):
            figures = {"cpus.asked": spec.cpus, "cpus.free": len(free)}
            raise ExhaustedError(f"node {self._config.node} has {len(free)} CPUs left to dedicate there", figures)
        return next(self._together(free, spec.cpus), free[: spec.cpus])

    def _together(self, free: Sequence[int], count: int) -> Iterator[list[int]]:
        """Yield choices of CPUs that are on one NUMA node."""
        for number in self._numas():
            near = self._within(free, number)
            if len(near) >= count:
                yield near[:count]

    def _within(self, cpus: Sequence[int], numa: int | None) -> list[int]:
        return list(cpus) if numa is None else [cpu for cpu in self._numa(numa) if cpu in cpus]

    def _devices(self, asked: HardwareSpec, others: Sequence[Given]) -> Iterator[str]:
        taken = {address for given in others for address in given.devices}
        for name, count in Counter(asked.devices).items():
            free = [address for address in self._config.devices[name] if address not in taken]
            if count > len(free):
                figures = {"devices.asked": count, "devices.free": len(free)}
                raise ExhaustedError(f"node {self._config.node} has {len(free)} devices {name!r} left", figures)
            yield from free[:count]

    def _numas(self) -> list[int]:
        return [] if self._hidden else sorted(int(path.name[4:]) for path in self._topology.glob("node[0-9]*"))

    def _numa(self, number: int) -> list[int]:
        """Return the CPUs of a NUMA node. Raises NeverError when there is none by this number."""
        path = self._topology / f"node{number}" / "cpulist"
        if not path.exists():
            numbers = ", ".join(map(str, self._numas())) or "none"
            raise NeverError(f"node {self._config.node} has no NUMA node {number} (there are: {numbers})")
        return list(listed(path.read_text(encoding="ascii")))

    def _all(self) -> list[int]:
        return sorted(cpu for number in self._numas() for cpu in self._numa(number))


def given_to(vm: VmDir) -> Given:
    """Return what a VM was given. Raises BrokenError when that cannot be read: nothing is given out then."""
    data = read_json(vm.path / FILE)
    try:
        return Given() if data is None else Given(tuple(data["cpus"]), tuple(data["devices"]))
    except (TypeError, KeyError) as error:
        raise BrokenError(f"what VM {vm.tag} was given of this node cannot be understood: {error!r}") from error


def listed(text: str) -> Iterator[int]:
    """Yield the numbers of a list as the kernel writes it: ``0-3,8``."""
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
