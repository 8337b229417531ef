"""What a hypervisor driver must do, and what it may rely on.

The caller holds the VM's lock for every verb but ``status``, has made disks and network before ``start``, and removes
them after ``destroy``. A driver keeps all it knows in the VM's directory: the program may be killed at any moment, and
another one goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flyinglow.nodectl.messages import VmSpec, VmStatus
from flyinglow.nodectl.vmdir import StateDir, VmDir


@dataclass(frozen=True)
class Sight:
    """What a driver sees of a VM: its status, why it is so, and the process that ends when it ends, if there is one."""

    status: VmStatus
    reason: str = ""
    pid: int | None = None
    ready: bool | None = None  # None: the console tells


class Hypervisor(Protocol):
    """A driver. Every verb may be repeated, and is called only in a state that allows it."""

    def start(self, vm: VmDir, spec: VmSpec, *, paused: bool) -> None:
        """Run a VM that does not run.

        Raises BrokenError with the hypervisor's own words, ExhaustedError, TransientError.
        """

    def shutdown(self, vm: VmDir, seconds: float) -> None:
        """Press the power button, wait for the guest at most so long, then end it all the same."""

    def destroy(self, vm: VmDir) -> None:
        """End a VM at once, whatever state it is in. Raises BrokenError when it cannot be ended."""

    def pause(self, vm: VmDir) -> None:
        """Stop a running VM's processors. Raises TransientError when the hypervisor does not answer."""

    def resume(self, vm: VmDir) -> None:
        """Let a paused VM go on. Raises TransientError when the hypervisor does not answer."""

    def reboot(self, vm: VmDir) -> None:
        """Reset a running VM. Raises TransientError when the hypervisor does not answer."""

    def status(self, vm: VmDir) -> Sight:
        """Look at a VM that was made completely. Never raises for a VM that is gone in a bad way: it says so."""


class Strays(Protocol):
    """What runs on this node for VMs of ours, whatever their directories say, or fail to say."""

    def end_strays(self, state: StateDir) -> list[str]:
        """End it all at once, with force, and return a sentence for each that resists. May be repeated."""


class Snapshots(Protocol):
    """Keep a VM's memory in a file, and let it go on from there."""

    def save(self, vm: VmDir, file: Path) -> None:
        """Write the memory of a VM that is up to a file of its owner's only; it does not run any more.

        The VM is ended only when the file is whole. Raises BrokenError, ExhaustedError or TransientError; the VM is
        then as it was, and there is no file.
        """

    def restore(self, vm: VmDir, spec: VmSpec, file: Path, *, paused: bool) -> None:
        """Let a VM that does not run go on where it was saved. Raises as ``start`` does."""


class Driver(Hypervisor, Strays, Snapshots, Protocol):
    """All that a driver can do."""
