"""The driver ``xen``: every VM is a paravirtualized domain, made and steered by ``xl``.

``xl list`` is the truth about what runs: a program that died between a domain's creation and its own record finds the
domain by its mark. A domain that ends by itself is kept by Xen until it is asked why; a note in the VM's directory
tells one that was taken away behind our back from one that was never there. The guest's console is written by
``xenconsoled``, through a link that leads from its own directory to the VM's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import seed
from flyinglow.nodectl.errors import BrokenError, FlyingLowError
from flyinglow.nodectl.hypervisor import xen_block
from flyinglow.nodectl.hypervisor.api import Sight
from flyinglow.nodectl.hypervisor.hardware import given_to
from flyinglow.nodectl.hypervisor.mark import Mark, mark_of
from flyinglow.nodectl.hypervisor.xen_config import configuration, hardware
from flyinglow.nodectl.hypervisor.xen_disks import raw_files
from flyinglow.nodectl.hypervisor.xl import Domain, Xl
from flyinglow.nodectl.messages import VmSpec, VmStatus
from flyinglow.nodectl.vmdir import ProcessMark, Record, StateDir, VmDir

FILE = "xen.cfg"
ENDERS = 8  # domains that are taken away at once
POLL = 0.2
PRESS_SECONDS = 5.0  # a guest that is still booting does not listen: ask again
SAVE_SECONDS = 600.0  # a guest's memory goes to a disk
PRIVATE = 0o600
GONE_SECONDS = 30.0  # until the back-ends have let a dead domain's memory go
REBOOT_SECONDS = 30.0  # a guest that has not gone down by then is reset
ENDED, REBOOTED, CRASHED = 0, 1, 3
PAUSED, SHUT, CRASHING = "p", "s", "c"


class Xen:
    """Runs VMs as paravirtualized domains of this machine."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._xl = Xl(config.xl)
        self._consoles = Path(config.xen_consoles)
        self._none_left = False  # all domains of ours were just ended: to ask for each again takes long

    def start(self, vm: VmDir, spec: VmSpec, *, paused: bool) -> None:
        """Run a VM. Raises BrokenError with Xen's own words, ExhaustedError, TransientError."""
        self._bring_up(vm, spec, ["create", "-q", *_pausing(paused), str(_file(vm))], self._config.start_seconds)

    def save(self, vm: VmDir, file: Path) -> None:
        """Write a VM's memory to a file, which only its owner may read; the VM does not run any more.

        Raises BrokenError or TransientError; the VM then runs on, or is as it was.
        """
        domain = self._mark(vm).name
        running = self.status(vm).status is VmStatus.RUNNING
        part = file.with_name(f"{file.name}.part")
        part.touch(mode=PRIVATE)  # xl would let everybody read a guest's memory
        part.chmod(PRIVATE)
        try:
            self._xl.run("save", "-p", domain, str(part), seconds=SAVE_SECONDS)  # which leaves it paused
            part.replace(file)
        except FlyingLowError:
            part.unlink(missing_ok=True)
            with contextlib.suppress(FlyingLowError):
                if running and self.status(vm).status is VmStatus.PAUSED:
                    self._xl.run("unpause", domain)
            raise
        self._end(vm)

    def restore(self, vm: VmDir, spec: VmSpec, file: Path, *, paused: bool) -> None:
        """Let a VM go on where ``save`` has left it. Raises as ``start`` does."""
        self._bring_up(vm, spec, ["restore", *_pausing(paused), str(_file(vm)), str(file)], SAVE_SECONDS)

    def _bring_up(self, vm: VmDir, spec: VmSpec, words: list[str], seconds: float) -> None:
        self._none_left = False
        disks = [*raw_files(vm, spec), *seed.volumes(vm)]
        text = configuration(self._mark(vm), spec, disks, xen_block.place(self._config.state))
        text += hardware(spec, given_to(vm), self._config.dedicated_cpus)
        self.destroy(vm)  # a domain that was made and never came into the record would hold the disks
        _file(vm).write_text(text, encoding="utf-8")
        self._lead_console(vm)
        try:
            self._xl.run(*words, seconds=seconds)
            _note(vm).write_text(processes.boot_id(), encoding="ascii")
            vm.update(started=True)
        except (FlyingLowError, OSError) as error:
            with contextlib.suppress(FlyingLowError):
                self._end(vm)  # a creation that failed may leave half a domain behind
            if isinstance(error, BrokenError):
                raise BrokenError(f"VM did not start: {error.message}") from error
            raise

    def shutdown(self, vm: VmDir, seconds: float) -> None:
        """Ask the guest to end, wait for it at most so long, then end it all the same."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._press(vm):
            if self._went_down(vm, min(left, PRESS_SECONDS)):
                break
        self._end(vm)

    def destroy(self, vm: VmDir) -> None:
        """End a VM at once. Raises BrokenError when its domain does not go."""
        self._end(vm)
        self._forget(self._mark(vm).name)

    def pause(self, vm: VmDir) -> None:
        """Stop a running VM's processors. Raises BrokenError or TransientError when Xen does not do it."""
        self._xl.run("pause", self._mark(vm).name)

    def resume(self, vm: VmDir) -> None:
        """Let a paused VM go on. Raises BrokenError or TransientError when Xen does not do it."""
        self._xl.run("unpause", self._mark(vm).name)

    def reboot(self, vm: VmDir) -> None:
        """Ask the guest to boot anew, and reset it when it does not. Raises BrokenError, TransientError."""
        before = self._domain(vm)
        with contextlib.suppress(BrokenError):  # a guest that cannot be asked is reset
            self._xl.run("reboot", self._mark(vm).name)
            if before is not None and self._went_down(vm, REBOOT_SECONDS, before.id) and self._came_back(vm, before.id):
                return
        self.start(vm, vm.spec(), paused=False)

    def status(self, vm: VmDir) -> Sight:
        """Look at a VM: at Xen's list first, then at what was noted of it."""
        domain = self._domain(vm)
        if domain is not None:
            return self._sight(vm, domain)
        boot = _boot(vm)
        if boot is None:
            return Sight(VmStatus.STOPPED if (vm.record() or Record()).started else VmStatus.CREATED)
        if boot != processes.boot_id():
            return Sight(VmStatus.STOPPED, "the node was started anew")
        return Sight(VmStatus.BROKEN, "its domain is gone: somebody else has destroyed it")

    def end_strays(self, state: StateDir) -> list[str]:
        """End all domains of this node's VMs, with whatever makes them; name those that resist."""
        processes.end_all(list(_makers(state.path)))
        domains = self._xl.all_of(state.path)
        with ThreadPoolExecutor(ENDERS) as pool:
            list(pool.map(self._take_away, [domain.id for domain in domains]))
        left = self._xl.gone({domain.id for domain in domains}, GONE_SECONDS) if domains else set()
        for domain in domains:
            self._forget(domain.name)
        self._none_left = not left
        return [f"domain {domain.name} cannot be ended" for domain in domains if domain.id in left]

    def _sight(self, vm: VmDir, domain: Domain) -> Sight:
        if CRASHING in domain.flags or (domain.reason or ENDED) >= CRASHED:
            return Sight(VmStatus.BROKEN, "the guest's kernel crashed")
        watching = next(processes.with_argument(str(_file(vm))), None)  # the xl that waits for the domain's end
        pid = None if watching is None else watching.pid
        if domain.reason == REBOOTED and pid is not None:
            return Sight(VmStatus.RUNNING, "it is booting anew", pid)
        if SHUT in domain.flags:
            return Sight(VmStatus.STOPPED, "it ended by itself" if domain.reason == ENDED else "nobody booted it anew")
        return Sight(VmStatus.PAUSED if PAUSED in domain.flags else VmStatus.RUNNING, "", pid)

    def _press(self, vm: VmDir) -> bool:
        """Ask a running guest to end; tell whether there is anything to be hoped for."""
        domain = self._domain(vm)
        if domain is None or PAUSED in domain.flags or SHUT in domain.flags:
            return False
        with contextlib.suppress(BrokenError):  # it may be on its way out
            self._xl.run("shutdown", domain.name)
        return True

    def _went_down(self, vm: VmDir, seconds: float, number: int | None = None) -> bool:
        """Wait for the end of a VM's domain, of the one with this number if one is named."""
        deadline = time.monotonic() + seconds
        while (domain := self._domain(vm)) is not None and SHUT not in domain.flags and number in (None, domain.id):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    def _came_back(self, vm: VmDir, number: int) -> bool:
        """Wait for the domain that follows one which reboots, as long as the xl is there that makes it."""
        deadline = time.monotonic() + self._config.start_seconds
        while time.monotonic() < deadline:
            watched = any(processes.with_argument(str(_file(vm))))
            now = self._domain(vm)
            if now is not None and now.id != number and PAUSED not in now.flags:
                return True
            if not watched:
                return False
            time.sleep(POLL)
        return False

    def _end(self, vm: VmDir) -> None:
        """Take a VM's domain away, whatever makes or watches it first, and the note that there is one last."""
        if self._none_left:
            _note(vm).unlink(missing_ok=True)
            return
        for found in list(processes.with_argument(str(_file(vm)))):
            processes.end(found)
        mark = self._mark(vm)
        found_ids = {domain.id for domain in self._xl.domains() if mark.fits(domain)}
        for number in found_ids:
            self._take_away(number)
        if found_ids and self._xl.gone(found_ids, GONE_SECONDS):
            raise BrokenError(f"domain {mark.name} of VM {vm.tag} cannot be ended")
        _note(vm).unlink(missing_ok=True)

    def _take_away(self, number: int) -> None:
        with contextlib.suppress(BrokenError):  # it may have gone meanwhile; what counts is that it is gone
            self._xl.run("destroy", str(number))

    def _forget(self, name: str) -> None:
        """Remove what Xen's own programs keep of a domain."""
        (self._consoles / f"guest-{name}.log").unlink(missing_ok=True)
        for path in self._consoles.parent.glob(f"xl-{name}.log*"):
            path.unlink(missing_ok=True)

    def _lead_console(self, vm: VmDir) -> None:
        """Let ``xenconsoled`` write to the VM's own file."""
        link = self._consoles / f"guest-{self._mark(vm).name}.log"
        self._consoles.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        vm.console.touch(mode=0o600)
        link.symlink_to(vm.console)

    def _domain(self, vm: VmDir) -> Domain | None:
        return self._xl.find(self._mark(vm))

    def _mark(self, vm: VmDir) -> Mark:
        return mark_of(self._config.state, vm.tag)


def _pausing(paused: bool) -> list[str]:
    return ["-p"] if paused else []


def _makers(state: Path) -> Iterator[ProcessMark]:
    """Yield the living processes that make or watch domains of this state directory."""
    place = f"{state / 'vms'}/"
    for entry in processes.PROC.iterdir():
        words = processes.arguments(int(entry.name)) if entry.name.isdigit() else []
        if any(word.startswith(place) and word.endswith(f"/{FILE}") for word in words):
            mark = processes.mark(int(entry.name))
            if mark is not None:
                yield mark


def _boot(vm: VmDir) -> str | None:
    """Return since which start of the node there has been a domain that we did not take away, or None."""
    try:
        return _note(vm).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None


def _note(vm: VmDir) -> Path:
    return vm.path / "domain"


def _file(vm: VmDir) -> Path:
    return vm.path / FILE
