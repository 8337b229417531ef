"""Keep a VM's whole state, memory and all, in its directory, and let it go on from there: for people at the node.

No order of the service does this: a lease that is to be kept is saved as an image of its disk, with which any node can
go on. A kept state needs this node, its taps and its disks as they were; a VM that is started anew has none any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import ConflictError, UnknownError
from flyinglow.nodectl.hypervisor.api import Driver
from flyinglow.nodectl.messages import VmInfo
from flyinglow.nodectl.network.bridges import Networks
from flyinglow.nodectl.spec import check_tag
from flyinglow.nodectl.view import UP, View
from flyinglow.nodectl.vmdir import StateDir, VmDir


@dataclass(frozen=True)
class Keeper:
    """Keeps states of the VMs of one node."""

    state: StateDir
    driver: Driver
    networks: Networks

    def save(self, tag: str) -> VmInfo:
        """Keep the state of a VM that is up; it does not run any more. Done already when it is down with its state.

        Raises UnknownError, ConflictError when there is nothing to be kept, BrokenError, ExhaustedError.
        """
        with self.state.locked(check_tag(tag)):
            vm = self._there(tag)
            down = self._view.made(vm).status not in UP
            if not (down and vm.memory_state.exists()):
                self._view.up(vm, "have its state saved")
                with tools.os_errors(f"the state of VM {tag} could not be saved"):
                    self.driver.save(vm, vm.memory_state)
                vm.update(ready=False)
            return self._view.look(vm)

    def restore(self, tag: str, *, paused: bool = False) -> VmInfo:
        """Let a VM go on where its state was saved; the state is gone then. Done already when it is up.

        Raises UnknownError, ConflictError when no state is kept, and what the driver's ``start`` raises.
        """
        with self.state.locked(check_tag(tag)):
            vm = self._there(tag)
            if self._view.made(vm).status not in UP:
                if not vm.memory_state.exists():
                    raise ConflictError(f"VM {tag} cannot be restored: no state of it is kept on this node")
                spec = vm.spec()
                self.networks.attach(spec)
                with tools.os_errors(f"the state of VM {tag} could not be restored"), _used(vm.memory_state) as file:
                    self.driver.restore(vm, spec, file, paused=paused)
            return self._view.look(vm)

    @property
    def _view(self) -> View:
        return View(self.driver, self.networks)

    def _there(self, tag: str) -> VmDir:
        vm = self.state.vm(tag)
        if not vm.exists():
            raise UnknownError(f"there is no VM {tag} on this node")
        return vm


@contextlib.contextmanager
def _used(kept: Path) -> Iterator[Path]:
    """Yield the file of a state that is being used up: it is kept again when that fails, and never used twice."""
    using = kept.with_name(f"{kept.name}.used")
    kept.replace(using)
    try:
        yield using
    except BaseException:
        using.replace(kept)
        raise
    using.unlink()
