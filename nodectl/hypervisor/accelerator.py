"""Choose what QEMU runs guests with: by configuration, or by a boot that is watched.

That ``/dev/kvm`` exists and answers proves nothing: there are hosts on which it does and guests hang or crawl all the
same. So ``auto`` boots the VM's own kernel once with KVM, waits until that kernel has come to its first program, and
remembers the answer until the node starts anew. Whatever goes wrong on the way, emulation works.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from flyinglow.nodectl import processes
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.images.disks import path_of
from flyinglow.nodectl.vmdir import read_json, write_json

EMULATION = "tcg"
FIRST_PROGRAM = b"as init process"
POLL = 0.05
PROBE_MEMORY_MB = 256


class Accelerator:
    """The accelerator of a node."""

    def __init__(self, config: Config, device: Path = Path("/dev/kvm")) -> None:
        self._config = config
        self._device = device
        self._file = config.state / "accelerator.json"
        self._lock = threading.Lock()

    def choose(self, kernel: str | None, initrd: str | None) -> str:
        """Return ``tcg`` or ``kvm`` for a VM with this kernel. A VM without one is emulated while nothing is known."""
        if self._config.accelerator != "auto":
            return self._config.accelerator
        with self._lock:
            known = self._remembered()
            if known is None and kernel is not None:
                known = self._probe(kernel, initrd)
                write_json(self._file, {"accelerator": known, "boot": processes.boot_id()})
        return known or EMULATION

    def _remembered(self) -> str | None:
        try:
            facts = read_json(self._file) or {}
        except FlyingLowError:
            return None  # what cannot be read is found out again
        return str(facts["accelerator"]) if facts.get("boot") == processes.boot_id() else None

    def _probe(self, kernel: str, initrd: str | None) -> str:
        if not os.access(self._device, os.R_OK | os.W_OK):
            return EMULATION
        with tempfile.TemporaryDirectory(dir=self._config.state) as folder:
            console = Path(folder) / "console"
            try:
                child = subprocess.Popen(
                    self._argv(kernel, initrd, console),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                return EMULATION
            try:
                return "kvm" if self._boots(child, console) else EMULATION
            finally:
                child.kill()
                child.wait()

    def _argv(self, kernel: str, initrd: str | None, console: Path) -> list[str]:
        words = [self._config.qemu, "-accel", "kvm", "-cpu", self._config.cpu, "-M", self._config.machine]
        words += ["-m", str(PROBE_MEMORY_MB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        words += ["-serial", f"file:{console}", "-kernel", str(path_of(kernel)), "-append", "console=ttyS0 panic=-1"]
        return words + (["-initrd", str(path_of(initrd))] if initrd else [])

    def _boots(self, child: subprocess.Popen[bytes], console: Path) -> bool:
        deadline = time.monotonic() + self._config.probe_seconds
        while time.monotonic() < deadline and child.poll() is None:
            if console.exists() and FIRST_PROGRAM in console.read_bytes():
                return True
            time.sleep(POLL)
        return False
