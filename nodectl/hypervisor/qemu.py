"""The driver ``qemu``: every VM is a QEMU process of its own, steered over its control socket.

The process belongs to no session or family of the program that started it, and so outlives it. Another program finds it
again by the mark in the VM's record, or, had the first one died between start and record, by its argument list. QEMU
removes its pid file when it ends in order: a pid file without a process means that it was killed or crashed.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from flyinglow.nodectl import processes, tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import seed
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, TransientError
from flyinglow.nodectl.hypervisor.accelerator import Accelerator
from flyinglow.nodectl.hypervisor.api import Sight
from flyinglow.nodectl.hypervisor.commandline import command_line
from flyinglow.nodectl.hypervisor.qmp import Qmp
from flyinglow.nodectl.images.disks import disk_files
from flyinglow.nodectl.messages import VmSpec, VmStatus
from flyinglow.nodectl.vmdir import ProcessMark, Record, StateDir, VmDir

POLL = 0.01
SHELL = "/bin/sh"
ORPHAN = '"$@" >&2 & echo $!'
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

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator

    def start(self, vm: VmDir, spec: VmSpec, *, paused: bool) -> None:
        """Run a VM. Raises BrokenError with QEMU's own words, ExhaustedError, TransientError."""
        accelerator = self._accelerator.choose(spec.kernel, spec.initrd)
        argv = command_line(self._config, accelerator, vm, spec, [*disk_files(vm, spec), *seed.volumes(vm)])
        self.destroy(vm)  # a process that was started and never came into the record would hold the disks
        vm.clear_pid_file()
        vm.qmp.unlink(missing_ok=True)
        child = self._spawn(argv, vm)
        try:
            vm.update(process=self._wait_for_answer(child, vm), started=True)
            vm.release_pid_file()
            if not paused:
                with Qmp(vm.qmp) as qmp:
                    qmp.ask("cont")
        except (FlyingLowError, OSError):
            self._kill(child)
            raise

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
        for path in vm.pid_files:
            for mark in list(processes.with_argument(str(path))):  # whatever the record says, or fails to say
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
        record = vm.record() or Record()
        mark = self._process(vm)
        if mark is not None:
            return self._ask_status(vm, mark)
        if record.process is None:
            return Sight(VmStatus.CREATED)
        if record.process.boot != processes.boot_id():
            return Sight(VmStatus.STOPPED, "the node was started anew")
        if vm.pid_file.exists():
            return Sight(VmStatus.BROKEN, f"its QEMU process ended in a bad way{_words(vm)}")
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

    def _spawn(self, argv: list[str], vm: VmDir) -> int:
        """Start a process that is nobody's: not of this program's session, and not its child either.

        Batch systems send signals to the session, the group or all descendants of what they have started. So a shell
        starts QEMU, says its number and ends.
        """
        if shutil.which(argv[0]) is None:
            raise BrokenError(f"{argv[0]} is not installed on this node, or not in PATH")
        number, told = os.pipe()
        redirected = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, told, 1),
            (os.POSIX_SPAWN_OPEN, 2, str(vm.path / "qemu.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        words = [SHELL, "-c", ORPHAN, SHELL, *argv]
        defaults = [signal.SIGPIPE, signal.SIGXFSZ]  # which Python ignores, and QEMU would, too
        try:
            shell = os.posix_spawn(SHELL, words, os.environ, file_actions=redirected, setsid=True, setsigdef=defaults)
            os.waitpid(shell, 0)
        except OSError as error:
            raise tools.from_os(error, f"VM {vm.tag} could not be started") from error
        finally:
            os.close(told)
            with os.fdopen(number, "rb") as pipe:
                text = pipe.read()
        if not text.strip():
            raise self._did_not_start(vm)
        return self._placed(int(text))

    def _placed(self, pid: int) -> int:
        """Put a QEMU that has not yet touched its guest's memory into the control group of VMs, if there is one."""
        if self._config.vm_cgroup:
            try:
                with (Path(self._config.vm_cgroup) / "cgroup.procs").open("r+", encoding="ascii") as file:
                    file.write(f"{pid}\n")
            except OSError as error:
                self._kill(pid)
                raise BrokenError(f"a VM cannot be put into {self._config.vm_cgroup}: {error}") from error
        return pid

    def _wait_for_answer(self, child: int, vm: VmDir) -> ProcessMark:
        deadline = time.monotonic() + self._config.start_seconds
        while True:
            mark = processes.mark(child)
            if mark is None:
                raise self._did_not_start(vm)
            if vm.qmp.exists() and vm.pid_file.exists() and self._listens(vm, max(1.0, deadline - time.monotonic())):
                return mark
            if time.monotonic() > deadline:
                raise TransientError(f"VM did not start: QEMU said nothing for {self._config.start_seconds:g} s")
            time.sleep(POLL)

    def _listens(self, vm: VmDir, seconds: float) -> bool:
        """Say whether QEMU answers; its socket stands in the directory a moment before anybody listens on it."""
        try:
            with Qmp(vm.qmp, seconds):
                return True
        except TransientError:
            return False  # nobody there yet, or nobody there any more: the next look at the process tells which

    def _kill(self, child: int) -> None:
        mark = processes.mark(child)
        if mark is not None:
            processes.end(mark)

    def _did_not_start(self, vm: VmDir) -> FlyingLowError:
        words = _words(vm)
        if "Cannot allocate memory" in words:
            return ExhaustedError(f"VM did not start: the node has too little memory{words}")
        return BrokenError(f"VM did not start{words}")

    def _ask(self, vm: VmDir, command: str) -> None:
        with Qmp(vm.qmp) as qmp:
            qmp.ask(command)

    def _end(self, vm: VmDir, mark: ProcessMark) -> None:
        """Ask QEMU to end, so that it closes its disks in order; kill it when it does not."""
        try:
            with Qmp(vm.qmp, 1.0) as qmp:
                qmp.ask("quit")
        except FlyingLowError:
            pass  # it may end before it has answered; what counts is that it is gone
        if not self._gone(mark, QUIT_SECONDS) and not processes.end(mark):
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


def _words(vm: VmDir) -> str:
    """Return the tail of what QEMU itself said, as the end of a sentence."""
    try:
        text = (vm.path / "qemu.log").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return f": {text[-tools.TAIL :]}" if text else ""


def strays(vms: Path, pids: Path) -> list[ProcessMark]:
    """Return the living QEMU processes that were started for a VM of these directories, whatever their records say."""
    places = (f"{vms}{os.sep}", f"{pids}{os.sep}")
    found = []
    for entry in processes.PROC.iterdir():
        words = processes.arguments(int(entry.name)) if entry.name.isdigit() else []
        if any(word.startswith(places) and word.endswith("/qemu.pid") for word in words):
            mark = processes.mark(int(entry.name))
            found += [mark] if mark is not None else []
    return found
