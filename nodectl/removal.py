"""Removes VMs: from their processes to their directories, whoever else is at work on them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from flyinglow.nodectl import tools
from flyinglow.nodectl.crew import side_by_side
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.hypervisor.api import Hypervisor
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.network.bridges import Networks
from flyinglow.nodectl.vmdir import StateDir, VmDir

ENDERS = 16  # VMs that are removed at once


@dataclass(frozen=True)
class Removal:
    """Ends VMs of a node and removes all that is theirs. Done again, it finds its work done."""

    state: StateDir
    hypervisor: Hypervisor
    networks: Networks

    def end(self, vms: list[VmDir]) -> tuple[list[str], list[str]]:
        """Remove these VMs side by side, whatever else is being done with them: it is cut short.

        Returns the tags of those that are gone, and a sentence for each that resists.
        """
        words = side_by_side(self._end, vms, ENDERS)
        ended = [vm.tag for vm, word in zip(vms, words) if not word]
        return ended, [f"{vm.tag}: {word}" for vm, word in zip(vms, words) if word]

    def remove(self, vm: VmDir) -> None:
        """Remove all that is one's. Its directory must be locked."""
        with tools.os_errors(f"VM {vm.tag} could not be removed"):
            self.hypervisor.destroy(vm)
            vm.forget()  # cut short from here on, it is no VM that a creation takes for made
            self.networks.detach(vm.tag)
            vm.remove()

    def _end(self, vm: VmDir) -> str:
        try:
            with contextlib.suppress(BlockingIOError), self.state.locked(vm.tag, wait=False):
                return self._removed(vm)
            notes.cut_short(vm.path)
            self.hypervisor.destroy(vm)  # so that whoever works on it comes to an end
            with self.state.locked(vm.tag):
                return self._removed(vm)
        except FlyingLowError as error:
            return error.message

    def _removed(self, vm: VmDir) -> str:
        self.remove(vm)
        return ""
