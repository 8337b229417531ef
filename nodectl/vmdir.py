"""The directory of a VM is the node's truth about it: what it was made from, and what became of it.

``STATE/vms/TAG/`` holds ``spec.json`` (as ordered), ``vm.json`` (the record below; written last, so that a directory
without it is one whose creation was cut short), disks, context, console and QEMU's own messages. Every file is replaced
as a whole, so that a reader never sees half of one. ``locked`` keeps two programs from working on one VM at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyinglow.nodectl import locks
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import VmSpec, encode, vm_spec

PRIVATE = 0o700
REMOVALS = 20  # a note is written once an order, so that few repetitions are ever needed


@dataclass(frozen=True)
class ProcessMark:
    """What tells one process from every other: its number, its start in clock ticks, and the boot it belongs to."""

    pid: int
    start: int
    boot: str


@dataclass(frozen=True)
class Record:
    """What is known of a VM beyond its specification."""

    started: bool = False  # was started at least once
    process: ProcessMark | None = None
    simulated: dict[str, Any] = field(default_factory=dict)  # the simulated driver's own notes
    ready: bool = False
    ready_from: int = 0  # where in the console the present run of the guest begins
    console_base: int = 0  # bytes of the console that were cut off because it grew too long
    seconds: dict[str, float] = field(default_factory=dict)


def write_json(path: Path, value: object, *, durable: bool = False) -> None:
    """Replace a file as a whole, readable by its owner only; ``durable``: it outlives a power failure from now on."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(name, path)  # noqa: PTH105 - one name for both sides
        if durable:
            _sync(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - as above
        raise


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> Any:
    """Return a file's JSON value, or None when there is no such file. Raises BrokenError when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BrokenError(f"{path} cannot be read: {error}") from error


@dataclass(frozen=True)
class VmDir:
    """One VM's directory, whether it exists or not."""

    path: Path
    sockets: Path
    run_as: str | None = None  # the user its hypervisor becomes, who cannot write to ``path``

    @property
    def tag(self) -> str:
        """The VM's tag, which is the directory's name."""
        return self.path.name

    @property
    def console(self) -> Path:
        """What the guest wrote on its serial console: bytes, of any kind."""
        return self.path / "console.log"

    @property
    def memory_state(self) -> Path:
        """Where the VM's whole state is kept while it is down, if somebody wanted it kept (``hypervisor.keeper``)."""
        return self.path / "memory.state"

    @property
    def qmp(self) -> Path:
        """QEMU's control socket, in the short run directory."""
        return self.sockets / f"{self.tag}.qmp"

    @property
    def pid_file(self) -> Path:
        """Return the file QEMU writes its number to, and removes when it ends in order, with the rights it then has."""
        return self.pid_files[1 if self.run_as else 0]

    @property
    def pid_files(self) -> tuple[Path, Path]:
        """Where the pid file may be: the second place is for a QEMU that became another user."""
        return self.path / "qemu.pid", self.sockets.parent / "pids" / self.tag / "qemu.pid"

    def clear_pid_file(self) -> None:
        """Remove the pid file of an earlier run, and all that a user QEMU had become may have put beside it."""
        self.pid_files[0].unlink(missing_ok=True)
        folder = self.pid_files[1].parent
        if folder.exists():
            shutil.rmtree(folder)
        if self.run_as:
            folder.mkdir(mode=PRIVATE)  # root's own while QEMU is root and writes there

    def release_pid_file(self) -> None:
        """Let a QEMU that has become another user remove its pid file."""
        if self.run_as:
            shutil.chown(self.pid_file.parent, self.run_as)

    def exists(self) -> bool:
        """Tell whether there is anything of this VM."""
        return self.path.is_dir()

    @property
    def slot(self) -> str | None:
        """The slot of this node that the VM is in; None for one that is in no slot."""
        try:
            return (self.path / "slot").read_text(encoding="ascii") or None
        except OSError:
            return None

    def create(self, spec: VmSpec, slot: str | None = None) -> None:
        """Make the directory and write the specification; the record follows when all else is done."""
        self.path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        if slot is not None:
            (self.path / "slot").write_text(slot, encoding="ascii")
        write_json(self.path / "spec.json", encode(spec))

    def spec(self) -> VmSpec:
        """Return what the VM was ordered as. Raises BrokenError when that cannot be known."""
        data = read_json(self.path / "spec.json")
        try:
            if data is None:
                raise KeyError("spec.json")
            return vm_spec(data)
        except (TypeError, KeyError, AttributeError) as error:
            raise BrokenError(f"the specification of VM {self.tag} cannot be understood: {error}") from error

    def record(self) -> Record | None:
        """Return the VM's record; None when its creation was cut short. Raises BrokenError when unreadable."""
        data = read_json(self.path / "vm.json")
        if data is None:
            return None
        try:
            mark = data.pop("process", None)
            return Record(process=ProcessMark(**mark) if mark else None, **data)
        except (TypeError, AttributeError) as error:
            raise BrokenError(f"the record of VM {self.tag} cannot be understood: {error}") from error

    def update(self, record: Record | None = None, **changes: Any) -> Record:
        """Write the record with some fields changed and return it; ``record`` None means the stored or a new one."""
        current = record if record is not None else (self.record() or Record())
        new = dataclasses.replace(current, **changes)
        write_json(self.path / "vm.json", dataclasses.asdict(new))
        return new

    def forget(self) -> None:
        """Remove the record: what is left is a VM that was made in part."""
        (self.path / "vm.json").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all files of the VM; it may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            self.qmp.unlink()
        for path in (self.pid_files[1].parent, self.path):
            _remove_tree(path)


def _remove_tree(path: Path) -> None:
    """Remove a folder, also while another program writes a last note into it (``notes.cut_short`` takes no lock)."""
    for _ in range(REMOVALS):
        try:
            return shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return None
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    return shutil.rmtree(path)


class StateDir:
    """All VM directories of a node, and the facts it remembers."""

    def __init__(self, state: Path, run: Path, run_as: str | None = None, patience: float | None = None) -> None:
        self.path = state
        self._patience = patience  # seconds after which a lock is no longer waited for, nor held; None: it is
        self.run = run
        self.pids = run / "pids"
        self._run_as = run_as
        self._vms = state / "vms"
        self._locks = state / "locks"
        self._sockets = run / "qmp"

    def prepare(self) -> None:
        """Make the directories. Raises BrokenError when they are not to be had or belong to somebody else."""
        try:
            for path in (self.path, self._vms, self._locks):
                path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        except OSError as error:
            raise BrokenError(f"the directories of this node cannot be made: {error}") from error

    def prepare_run(self) -> None:
        """Make the run directory, before something is put there. Raises BrokenError when it is somebody else's."""
        try:
            self.run.mkdir(mode=0o755, parents=True, exist_ok=True)  # dnsmasq reads below it without being root
            self._sockets.mkdir(mode=PRIVATE, exist_ok=True)
            if self._run_as:
                pwd.getpwnam(self._run_as)
                self.pids.mkdir(mode=0o755, exist_ok=True)
            owner = self.run.lstat().st_uid
        except LookupError as error:
            raise BrokenError(f"there is no user {self._run_as} on this node (configuration key run_as)") from error
        except OSError as error:
            raise BrokenError(f"the run directory of this node cannot be made: {error}") from error
        if owner != os.geteuid() or self.run.is_symlink():
            raise BrokenError(f"{self.run} belongs to user {owner}: set another directory with the key run")

    def tidy(self) -> None:
        """Remove the run directory if nothing is in it."""
        for path in (self._sockets, self.pids, self.run / "dhcp", self.run):
            with contextlib.suppress(OSError):
                path.rmdir()

    def vm(self, tag: str) -> VmDir:
        """Return the directory of one VM, which need not exist."""
        return VmDir(self._vms / tag, self._sockets, self._run_as)

    def vms(self) -> list[VmDir]:
        """Return the directories that exist, by tag."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._vms) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []
        return [self.vm(name) for name in names]

    def is_locked(self, name: str) -> bool:
        """Tell whether a program or thread holds a lock just now."""
        return locks.is_taken(self._locks / name)

    @contextlib.contextmanager
    def locked(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock of one VM, bridge or book, across threads and programs.

        Raises BlockingIOError when not to wait.
        """
        path = self._locks / name
        patience = self._patience if wait else None
        handle = locks.take(path, wait=wait) if patience is None else locks.take_soon(path, patience)
        if handle is None:
            yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            os.close(handle)
