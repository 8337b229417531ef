"""Answer a guest's broadcast with the address the service chose for its MAC (section 3.3 of the paper).

One dnsmasq serves one bridge, knows nothing but our MACs, and stays silent to all others, so that it can stand on a
wire with the site's own DHCP server. A host and its options are files that dnsmasq sees at once; only a removed file
has to be brought to its notice.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import signal
import time
from pathlib import Path

from flyinglow.nodectl import processes, tools
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import NicSpec
from flyinglow.nodectl.vmdir import ProcessMark

LEASE_TIME = "12h"
START_SECONDS = 10.0


def network_of(nic: NicSpec) -> ipaddress.IPv4Network:
    """Return the network a NIC's address lies in."""
    return ipaddress.IPv4Interface(f"{nic.ip}/{nic.prefix}").network


def host_line(name: str, nic: NicSpec, hostname: str) -> str:
    """Return dnsmasq's line for one NIC; ``name`` is the label its options go by."""
    return f"{nic.mac.lower()},set:{name},{nic.ip},{hostname}\n"


def option_lines(name: str, nic: NicSpec) -> str:
    """Return the options of one NIC: a router or name servers only where the network has them."""
    lines = []
    if nic.gateway is not None:
        lines.append(f"tag:{name},option:router,{nic.gateway}")
    if nic.dns:
        lines.append(f"tag:{name},option:dns-server,{','.join(nic.dns)}")
    return "".join(f"{line}\n" for line in lines)


def configuration(bridge: str, folder: Path, networks: set[ipaddress.IPv4Network]) -> str:
    """Return dnsmasq's configuration for one bridge."""
    lines = [
        "port=0",
        "bind-dynamic",
        f"interface={bridge}",
        "except-interface=lo",
        "no-ping",
        "no-resolv",
        "no-hosts",
        "quiet-dhcp",
        "dhcp-authoritative",
        "dhcp-ignore=tag:!known",
        "dhcp-leasefile=/dev/null",
        "leasefile-ro",
        "dhcp-option=option:router",  # without a value: dnsmasq would name itself
        "dhcp-option=option:dns-server",
        f"dhcp-hostsdir={folder / 'hosts'}",
        f"dhcp-optsdir={folder / 'options'}",
        f"pid-file={folder / 'pid'}",
        f"log-facility={folder / 'log'}",
    ]
    lines += [f"dhcp-range={net.network_address},static,{net.netmask},{LEASE_TIME}" for net in sorted(networks)]
    return "".join(f"{line}\n" for line in lines)


class Dhcp:
    """The DHCP delivery of one bridge. Whoever calls holds the bridge's lock."""

    def __init__(self, bridge: str, folder: Path, program: str) -> None:
        self._bridge = bridge
        self._folder = folder
        self._program = program
        self._file = folder / "conf"

    def add(self, name: str, nic: NicSpec, hostname: str) -> None:
        """Let a NIC be answered. May be repeated. Raises BrokenError when dnsmasq cannot be had."""
        for path in (self._folder, *(self._folder / part for part in ("hosts", "options", "networks"))):
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._write("networks", name, str(network_of(nic)))
        self._write("options", name, option_lines(name, nic))  # before the host: whoever is answered gets them
        self._write("hosts", name, host_line(name, nic, hostname))
        wanted = configuration(self._bridge, self._folder, self._networks())
        known = self._file.read_text(encoding="ascii") if self._file.exists() else ""
        if wanted != known or self.process() is None:
            self.stop()
            self._start(wanted)

    def remove(self, name: str) -> None:
        """Forget a NIC, and end dnsmasq with the last one. May be repeated."""
        for part in ("hosts", "options", "networks"):
            with contextlib.suppress(FileNotFoundError):
                (self._folder / part / name).unlink()
        running = self.process()
        if not self._names():
            self.stop()
            shutil.rmtree(self._folder, ignore_errors=True)
        elif running is not None:
            os.kill(running.pid, signal.SIGHUP)  # it does not notice that a file is gone

    def remove_all(self) -> None:
        """Forget every NIC of this bridge and end dnsmasq."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the names of the NICs that are answered."""
        return self._names()

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

    def _names(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self._folder / "hosts"))  # noqa: PTH208 - names are all that is wanted
        return []

    def _networks(self) -> set[ipaddress.IPv4Network]:
        texts = (path.read_text(encoding="ascii") for path in (self._folder / "networks").iterdir())
        return {ipaddress.IPv4Network(text) for text in texts if text}
