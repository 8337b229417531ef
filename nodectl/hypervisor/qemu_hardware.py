"""What QEMU is told of the node's hardware, and its threads' places on the node's CPUs.

Words for the command line are pure. Processors are bound while they stand still: nothing of a guest runs elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.hypervisor.hardware import given_to
from flyinglow.nodectl.hypervisor.qmp import Qmp
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.vmdir import VmDir


def memory_words(config: Config, vm: VmDir, spec: VmSpec) -> list[str]:
    """Return the machine with its memory: from huge pages, all at once, or of one NUMA node, where that is asked for.

    Where slots are made of huge pages, all that is in a slot is in them.
    """
    huge = spec.hardware.huge_pages or (config.memory == "hugepages" and vm.slot is not None)
    numa = spec.hardware.numa_node
    words = ["-m", f"{spec.memory_mb}M"]
    if not huge and numa is None:
        return ["-M", config.machine, *words]
    kind = f"file,mem-path={quoted(Path(config.hugepages))},prealloc=on" if huge else "ram"
    bound = "" if numa is None else f",host-nodes={numa},policy=bind"
    backend = f"memory-backend-{kind},id=memory,size={spec.memory_mb}M{bound}"
    return ["-M", f"{config.machine},memory-backend=memory", *words, "-object", backend]


def device_words(vm: VmDir) -> Iterator[str]:
    """Yield the words that hand a VM the devices it was given; the site has bound them to ``vfio-pci``."""
    for address in given_to(vm).devices:
        yield from ("-device", f"vfio-pci,host={address}")


def bind(qmp: Qmp, pid: int, given: Sequence[int], allowed: Sequence[int]) -> None:
    """Bind QEMU's threads to the CPUs that the VM may run on, and each processor to its own where it was given one.

    Raises BrokenError when the job or the node has none of them.
    """
    if not allowed:
        return
    threads = [int(entry.name) for entry in (processes.PROC / str(pid) / "task").iterdir()]
    try:
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):  # QEMU ends threads of its own that have nothing to do
                os.sched_setaffinity(thread, allowed)
        for cpu in qmp.ask("query-cpus-fast") if given else ():
            os.sched_setaffinity(cpu["thread-id"], {given[cpu["cpu-index"]]})
    except OSError as error:
        raise BrokenError(f"the VM cannot be bound to CPUs {', '.join(map(str, allowed))}: {error}") from error


def quoted(path: Path) -> str:
    """Return a path as a value among QEMU's options."""
    return str(path).replace(",", ",,")
