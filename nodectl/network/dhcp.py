"""Answer a guest's broadcast with the address the service chose for its MAC (section 3.3 of the paper).

One dnsmasq serves one bridge, knows nothing but our MACs, and stays silent to all others, so that it can stand on a
wire with the site's own DHCP server. A new host is a file that dnsmasq sees at once. What a network's guests are told
alike stands in its configuration: a new network, like a host that goes, makes it start anew, which takes milliseconds
and costs no guest its address.

A NIC whose network is ``static`` is only written down here: its guest reads its context, and nobody answers it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import time
from collections.abc import Collection
from pathlib import Path

from flyinglow.nodectl import processes, tools
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import NicSpec
from flyinglow.nodectl.network.dnsmasq import Served, configuration, host_line, read_served, served
from flyinglow.nodectl.vmdir import ProcessMark

START_SECONDS = 10.0
ANSWERED, TOLD, WRITTEN = "hosts", "networks", "static"  # folders of one file a NIC


class Dhcp:
    """The DHCP delivery of one bridge. Whoever calls holds the bridge's lock."""

    def __init__(self, bridge: str, folder: Path, program: str) -> None:
        self._bridge = bridge
        self._folder = folder
        self._program = program
        self._file = folder / "conf"

    def add(self, name: str, nic: NicSpec, hostname: str, addresses: Collection[object] = ()) -> None:
        """Let a NIC be answered by this bridge, which has these addresses. May be repeated.

        Raises BrokenError when dnsmasq cannot be had.
        """
        for path in (self._folder, *(self._folder / part for part in (ANSWERED, TOLD))):
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._write(TOLD, name, json.dumps(dataclasses.asdict(served(nic, addresses))))
        self._write(ANSWERED, name, host_line(nic, hostname))
        wanted = self._configuration()
        known = self._file.read_text(encoding="ascii") if self._file.exists() else ""
        if wanted != known or self.process() is None:
            self.stop()
            self._start(wanted)

    def write_down(self, name: str, nic: NicSpec) -> None:
        """Know a NIC that nobody answers. May be repeated."""
        (self._folder / WRITTEN).mkdir(mode=0o755, parents=True, exist_ok=True)
        self._write(WRITTEN, name, nic.mac.lower())

    def remove(self, name: str) -> None:
        """Forget a NIC, and end dnsmasq with the last one that it answers. May be repeated."""
        (self._folder / WRITTEN / name).unlink(missing_ok=True)
        if name in self._in(ANSWERED):
            (self._folder / TOLD / name).unlink(missing_ok=True)
            (self._folder / ANSWERED / name).unlink(missing_ok=True)
            self.stop()  # it does not forget a host whose file is gone, and told to read again 2.90 may crash
        if not self.names():
            self.remove_all()
        elif self._in(ANSWERED) and self.process() is None:
            self._start(self._configuration())

    def remove_all(self) -> None:
        """Forget every NIC of this bridge and end dnsmasq."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the names of the NICs that are answered or written down."""
        return sorted(self._in(ANSWERED) + self._in(WRITTEN))

    def macs(self) -> dict[str, str]:
        """Return the MAC of every NIC, by name."""
        found = {}
        for part in (ANSWERED, WRITTEN):
            for name in self._in(part):
                with contextlib.suppress(FileNotFoundError):
                    found[name] = (self._folder / part / name).read_text(encoding="ascii").partition(",")[0]
        return found

    def process(self) -> ProcessMark | None:
        """Return the running dnsmasq of this bridge, told by its configuration file, or None."""
        try:
            pid = int((self._folder / "pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return processes.mark(pid) if self._argument in processes.arguments(pid) else None

    def stop(self) -> None:
        """End dnsmasq; it may be gone already."""
        running = self.process()
        if running is not None and not processes.end(running, signal.SIGTERM, 2.0):
            processes.end(running)

    @property
    def _argument(self) -> str:
        return f"--conf-file={self._file}"

    def _start(self, text: str) -> None:
        self._file.write_text(text, encoding="ascii")
        with contextlib.suppress(FileNotFoundError):
            (self._folder / "pid").unlink()
        tools.run([self._program, self._argument], seconds=START_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while self.process() is None:
            if time.monotonic() > deadline:
                raise BrokenError(f"dnsmasq for bridge {self._bridge} did not start; see {self._folder / 'log'}")
            time.sleep(0.01)

    def _write(self, part: str, name: str, text: str) -> None:
        path = self._folder / part / name
        if path.exists() and path.read_text(encoding="ascii") == text:
            return
        path.write_text(text, encoding="ascii")

    def _configuration(self) -> str:
        return configuration(self._bridge, self._folder, self._networks())

    def _networks(self) -> set[Served]:
        texts = (path.read_text(encoding="ascii") for path in (self._folder / TOLD).iterdir())
        return {read_served(json.loads(text)) for text in texts if text}

    def _in(self, part: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(self._folder / part)  # noqa: PTH208 - names are all that is wanted
        return []
