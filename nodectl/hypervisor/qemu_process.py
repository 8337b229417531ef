"""Start a QEMU process, out of the process tree of the job that orders it or inside of it, and tell what it said.

*Outside*: it is nobody's child, and in the control group of VMs where the site has made one: what ends the job does
not reach it. *Inside*: it is the agent's own child and stays in the job's control group, so that the batch system
counts and ends it with the job. Either way it has a session of its own, for notices are sent to sessions.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

from flyinglow.nodectl import processes, tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError
from flyinglow.nodectl.vmdir import ProcessMark, VmDir

SHELL = "/bin/sh"
ORPHAN = '"$@" >&2 & echo $!'
INSIDE = "inside"
DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ)  # which Python ignores, and QEMU would, too


class Launcher:
    """Starts QEMU processes as the configuration places them."""

    def __init__(self, config: Config) -> None:
        self._inside = config.placement == INSIDE
        self._group = config.vm_cgroup

    def launch(self, argv: list[str], vm: VmDir) -> int:
        """Start a process and return its number. Raises BrokenError, ExhaustedError."""
        program = shutil.which(argv[0])
        if program is None:
            raise BrokenError(f"{argv[0]} is not installed on this node, or not in PATH")
        try:
            return self._child(program, argv, vm) if self._inside else self._placed(self._orphan(argv, vm))
        except OSError as error:
            raise tools.from_os(error, f"VM {vm.tag} could not be started") from error

    def _child(self, program: str, argv: list[str], vm: VmDir) -> int:
        out = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        pid = os.posix_spawn(
            program, argv, os.environ, file_actions=[*_quiet(vm), *out], setsid=True, setsigdef=DEFAULTS
        )
        threading.Thread(target=os.waitpid, args=(pid, 0), name=f"reap-{vm.tag}", daemon=True).start()
        return pid

    def _orphan(self, argv: list[str], vm: VmDir) -> int:
        """Start a process that is nobody's: not of this program's session, and not its child either.

        Batch systems send signals to the session, the group or all descendants of what they have started. So a shell
        starts QEMU, says its number and ends.
        """
        number, told = os.pipe()
        out = [(os.POSIX_SPAWN_DUP2, told, 1)]
        try:
            words = [SHELL, "-c", ORPHAN, SHELL, *argv]
            shell = os.posix_spawn(
                SHELL, words, os.environ, file_actions=[*out, *_quiet(vm)], setsid=True, setsigdef=DEFAULTS
            )
            os.waitpid(shell, 0)
        finally:
            os.close(told)
            with os.fdopen(number, "rb") as pipe:
                text = pipe.read()
        if not text.strip():
            raise did_not_start(vm)
        return int(text)

    def _placed(self, pid: int) -> int:
        """Put a QEMU that has not yet touched its guest's memory into the control group of VMs, if there is one."""
        if self._group:
            try:
                with (Path(self._group) / "cgroup.procs").open("r+", encoding="ascii") as file:
                    file.write(f"{pid}\n")
            except OSError as error:
                kill(pid)
                raise BrokenError(f"a VM cannot be put into {self._group}: {error}") from error
        return pid


def did_not_start(vm: VmDir) -> FlyingLowError:
    """Return the error for a QEMU that ended before it answered, with its own words."""
    words = said(vm)
    if "Cannot allocate memory" in words:
        return ExhaustedError(f"VM did not start: the node has too little memory{words}")
    return BrokenError(f"VM did not start{words}")


def said(vm: VmDir) -> str:
    """Return the tail of what QEMU itself said, as the end of a sentence."""
    try:
        text = (vm.path / "qemu.log").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return f": {text[-tools.TAIL :]}" if text else ""


def kill(pid: int) -> None:
    """End a process that was started a moment ago."""
    mark = processes.mark(pid)
    if mark is not None:
        processes.end(mark)


def strays(vms: Path, pids: Path) -> list[ProcessMark]:
    """Return the living QEMU processes that were started for a VM of these directories, whatever their records say."""
    return [mark for _, mark in belonging(vms, pids)]


def belonging(vms: Path, pids: Path) -> list[tuple[str, ProcessMark]]:
    """Return these processes with the tags of their VMs."""
    places = (f"{vms}{os.sep}", f"{pids}{os.sep}")

    def file(words: list[str]) -> str:
        return next((word for word in words if word.startswith(places) and word.endswith("/qemu.pid")), "")

    found = processes.all_marks(lambda words: bool(file(words)))
    named = [(Path(file(processes.arguments(mark.pid))).parent.name, mark) for mark in found]
    return [(tag, mark) for tag, mark in named if tag]  # without: it ended meanwhile


def _quiet(vm: VmDir) -> list[tuple[object, ...]]:
    """Return what gives a process nothing to read, and the VM's own file for its complaints."""
    log = (os.POSIX_SPAWN_OPEN, 2, str(vm.path / "qemu.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), log]
