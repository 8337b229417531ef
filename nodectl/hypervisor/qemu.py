"""The driver ``qemu``: every VM is a QEMU process of its own, steered over its control socket.

The process belongs to no session or family of the program that started it, and so outlives it. Another program finds it
again by the mark in the VM's record, or, had the first one died between start and record, by its argument list. QEMU
removes its pid file when it ends in order: a pid file without a process means that it was killed or crashed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import seed
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, TransientError
from flyinglow.nodectl.hypervisor.accelerator import Accelerator
from flyinglow.nodectl.hypervisor.api import Sight
from flyinglow.nodectl.hypervisor.commandline import command_line
from flyinglow.nodectl.hypervisor.hardware import Hardware, given_to
from flyinglow.nodectl.hypervisor.qemu_hardware import bind
from flyinglow.nodectl.hypervisor.qemu_process import Launcher, did_not_start, kill, said, strays
from flyinglow.nodectl.hypervisor.qemu_state import being_written, carry
from flyinglow.nodectl.hypervisor.qmp import Qmp
from flyinglow.nodectl.images.disks import disk_files
from flyinglow.nodectl.messages import VmSpec, VmStatus
from flyinglow.nodectl.vmdir import ProcessMark, Record, StateDir, VmDir

POLL = 0.004
JUST_NOW = 1.0  # seconds for which what QEMU answered when it began is good enough
LONGEST_NUMBER = 20  # bytes of a pid file
QUIT_SECONDS = 3.0
PRESS_SECONDS = 5.0  # a guest that is still booting does not feel its power button: press again
PAUSED = frozenset({"paused", "prelaunch", "suspended"})
FAILED = {
    "internal-error": "QEMU stopped it after an internal error",
    "io-error": "QEMU stopped it because a disk could not be read or written (is the node's disk full?)",
    "guest-panicked": "the guest's kernel panicked",
}


class Qemu:
    """Runs VMs as QEMU processes of this node."""

    def __init__(self, config: Config, accelerator: Accelerator, hardware: Hardware) -> None:
        self._config = config
        self._accelerator = accelerator
        self._hardware = hardware
        self._launcher = Launcher(config)
        self._begun: dict[str, tuple[Sight, ProcessMark, float]] = {}  # what was just seen of those that began

    def start(self, vm: VmDir, spec: VmSpec, *, paused: bool) -> None:
        """Run a VM. Raises BrokenError with QEMU's own words, ExhaustedError, TransientError."""
        mark = self._bring_up(vm, spec, self._words(vm, spec), lambda qmp: None if paused else qmp.ask("cont"))
        sight = Sight(VmStatus.PAUSED if paused else VmStatus.RUNNING, "", mark.pid)
        self._begun[vm.tag] = sight, mark, time.monotonic()

    def save(self, vm: VmDir, file: Path) -> None:
        """Write the memory of a VM that is up to a file of its owner's only; it does not run any more.

        The file is there when it is whole, and only then the process ends. Raises BrokenError or TransientError; the VM
        is then as it was.
        """
        with Qmp(vm.qmp) as qmp:
            running = qmp.ask("query-status")["status"] == "running"
            try:
                with being_written(file) as out:
                    carry(qmp, "migrate", out)
            except FlyingLowError:
                if running:
                    qmp.ask("cont")
                raise
        self.destroy(vm)

    def restore(self, vm: VmDir, spec: VmSpec, file: Path, *, paused: bool) -> None:
        """Let a VM that does not run go on where it was saved. Raises as ``start`` does."""

        def load(qmp: Qmp) -> None:
            try:
                with file.open("rb") as source:
                    carry(qmp, "migrate-incoming", source.fileno())
            except TransientError as error:
                raise BrokenError(f"VM did not go on from {file}{said(vm)}") from error  # QEMU ends over it
            if not paused:
                qmp.ask("cont")

        self._bring_up(vm, spec, [*self._words(vm, spec), "-incoming", "defer"], load)

    def _words(self, vm: VmDir, spec: VmSpec) -> list[str]:
        accelerator = self._accelerator.choose(spec.kernel, spec.initrd)
        return command_line(self._config, accelerator, vm, spec, [*disk_files(vm, spec), *seed.volumes(vm)])

    def _bring_up(self, vm: VmDir, spec: VmSpec, argv: list[str], begin: Callable[[Qmp], object]) -> ProcessMark:
        """Start a process, bind it to its CPUs, note it, and let it ``begin``."""
        self.destroy(vm)  # a process that was started and never came into the record would hold the disks
        vm.clear_pid_file()
        vm.qmp.unlink(missing_ok=True)
        child = self._launcher.launch(argv, vm)
        try:
            with contextlib.ExitStack() as stack:
                mark, qmp = self._wait_for_answer(child, vm, stack)
                bind(qmp, mark.pid, given_to(vm).cpus, self._hardware.cpus_of(vm, spec))
                vm.update(process=mark, started=True)
                vm.release_pid_file()
                begin(qmp)
        except (FlyingLowError, OSError):
            kill(child)
            raise
        return mark

    def shutdown(self, vm: VmDir, seconds: float) -> None:
        """Press the power button, wait for the guest at most so long, then end it all the same."""
        mark = self._process(vm)
        if mark is None:
            vm.pid_file.unlink(missing_ok=True)  # that it ended in a bad way is settled now
            return
        deadline = time.monotonic() + seconds
        left = seconds
        while left > 0 and self._press(vm):
            if self._gone(mark, min(left, PRESS_SECONDS)):
                return
            left = deadline - time.monotonic()
        self._end(vm, mark)

    def destroy(self, vm: VmDir) -> None:
        """End a VM at once. Raises BrokenError when its process does not die."""
        for mark in list(processes.with_argument(*map(str, vm.pid_files))):  # whatever the record says
            self._end(vm, mark)

    def end_strays(self, state: StateDir) -> list[str]:
        """Kill every QEMU process that was started for a VM of these directories; name those that do not die."""
        marks = strays(state.path / "vms", state.pids)
        processes.end_all(marks)
        return [f"QEMU process {mark.pid} cannot be ended" for mark in marks if processes.alive(mark)]

    def pause(self, vm: VmDir) -> None:
        """Stop a running VM's processors. Raises TransientError when QEMU does not answer."""
        self._ask(vm, "stop")

    def resume(self, vm: VmDir) -> None:
        """Let a paused VM go on. Raises TransientError when QEMU does not answer."""
        self._ask(vm, "cont")

    def reboot(self, vm: VmDir) -> None:
        """Reset a running VM. Raises TransientError when QEMU does not answer."""
        self._ask(vm, "system_reset")

    def status(self, vm: VmDir) -> Sight:
        """Look at a VM: at its process first, then ask QEMU itself."""
        begun, mark, at = self._begun.pop(vm.tag, (None, None, 0.0))
        if begun is not None and time.monotonic() - at < JUST_NOW and processes.alive(mark):
            return begun
        record = vm.record() or Record()
        mark = self._process(vm)
        if mark is not None:
            return self._ask_status(vm, mark)
        if record.process is None:
            return Sight(VmStatus.CREATED)
        if record.process.boot != processes.boot_id():
            return Sight(VmStatus.STOPPED, "the node was started anew")
        if vm.pid_file.exists():
            return Sight(VmStatus.BROKEN, f"its QEMU process ended in a bad way{said(vm)}")
        return Sight(VmStatus.STOPPED)

    def _press(self, vm: VmDir) -> bool:
        """Press the power button of a running VM; tell whether there is anything to be hoped for."""
        try:
            with Qmp(vm.qmp) as qmp:
                running = qmp.ask("query-status")["status"] == "running"
                if running:
                    qmp.ask("system_powerdown")
        except TransientError:
            return True  # QEMU may be on its way out
        return bool(running)

    def _ask_status(self, vm: VmDir, mark: ProcessMark) -> Sight:
        try:
            with Qmp(vm.qmp, 2.0) as qmp:
                state = qmp.ask("query-status")["status"]
        except (TransientError, BrokenError) as error:
            if not processes.alive(mark):
                return self.status(vm)
            return Sight(VmStatus.RUNNING, error.message, mark.pid)
        if state in FAILED:
            return Sight(VmStatus.BROKEN, FAILED[state], mark.pid)
        return Sight(VmStatus.PAUSED if state in PAUSED else VmStatus.RUNNING, "", mark.pid)

    def _process(self, vm: VmDir) -> ProcessMark | None:
        """Return the VM's living process; one that never came into the record is told by its pid file."""
        record = vm.record()
        if record is not None and processes.alive(record.process):
            return record.process
        pid = _number(vm.pid_file)
        return processes.mark(pid) if pid and str(vm.pid_file) in processes.arguments(pid) else None

    def _wait_for_answer(self, child: int, vm: VmDir, stack: contextlib.ExitStack) -> tuple[ProcessMark, Qmp]:
        """Return the process and a conversation with it, which ends with ``stack``."""
        deadline = time.monotonic() + self._config.start_seconds
        while True:
            mark = processes.mark(child)
            if mark is None:
                raise did_not_start(vm)
            if vm.qmp.exists() and vm.pid_file.exists():
                qmp = self._answering(vm, max(1.0, deadline - time.monotonic()), stack)
                if qmp is not None:
                    return mark, qmp
            if time.monotonic() > deadline:
                raise TransientError(f"VM did not start: QEMU said nothing for {self._config.start_seconds:g} s")
            time.sleep(POLL)

    def _answering(self, vm: VmDir, seconds: float, stack: contextlib.ExitStack) -> Qmp | None:
        """Return a QEMU that answers; its socket stands in the directory a moment before anybody listens on it."""
        try:
            qmp = stack.enter_context(Qmp(vm.qmp, seconds))
            qmp.greet()
        except TransientError:
            return None  # nobody there yet, or nobody there any more: the next look at the process tells which
        return qmp

    def _ask(self, vm: VmDir, command: str) -> None:
        with Qmp(vm.qmp) as qmp:
            qmp.ask(command)

    def _end(self, vm: VmDir, mark: ProcessMark) -> None:
        """Ask QEMU to end, which closes its disks in order on this signal; kill it when it does not."""
        if not processes.end(mark, signal.SIGTERM, QUIT_SECONDS) and not processes.end(mark):
            raise BrokenError(f"the QEMU process {mark.pid} of VM {vm.tag} cannot be ended")
        vm.pid_file.unlink(missing_ok=True)

    def _gone(self, mark: ProcessMark, seconds: float) -> bool:
        return processes.gone(mark, seconds)


def _number(path: Path) -> int | None:
    """Read a pid file without trust in it: a user that QEMU became may have put anything there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return int(os.read(handle, LONGEST_NUMBER))
    except (OSError, ValueError):
        return None
    finally:
        os.close(handle)
