"""Answer a guest's broadcast with the address the service chose for its MAC (section 3.3 of the paper).

One dnsmasq serves one bridge, knows nothing but our MACs, and stays silent to all others, so that it can stand on a
wire with the site's own DHCP server. A new host is a file that dnsmasq sees at once. What a network's guests are told
alike stands in its configuration: a new network, like a host that goes, makes it start anew, which takes milliseconds
and costs no guest its address.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import ipaddress
import itertools
import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
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


@dataclass(frozen=True, order=True)
class Served:
    """What all NICs of one network are told alike."""

    network: str
    gateway: str | None
    dns: tuple[str, ...]

    @property
    def label(self) -> str:
        """The tag that dnsmasq knows these options by."""
        return "n" + hashlib.sha256(repr(self).encode()).hexdigest()[:8]


def served(nic: NicSpec) -> Served:
    """Return what a NIC is told besides its own address and name."""
    return Served(str(network_of(nic)), nic.gateway, tuple(nic.dns))


def host_line(nic: NicSpec, hostname: str) -> str:
    """Return dnsmasq's line for one NIC."""
    return f"{nic.mac.lower()},set:{served(nic).label},{nic.ip},{hostname}\n"


def network_lines(known: Served) -> list[str]:
    """Return dnsmasq's lines for one network: a router or name servers only where it has them."""
    network = ipaddress.IPv4Network(known.network)
    lines = [f"dhcp-range={network.network_address},static,{network.netmask},{LEASE_TIME}"]
    if known.gateway is not None:
        lines.append(f"dhcp-option=tag:{known.label},option:router,{known.gateway}")
    if known.dns:
        lines.append(f"dhcp-option=tag:{known.label},option:dns-server,{','.join(known.dns)}")
    return lines


def configuration(bridge: str, folder: Path, networks: set[Served]) -> str:
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
        "dhcp-option=option:router",  # without a value: dnsmasq would name itself
        "dhcp-option=option:dns-server",
        f"dhcp-hostsdir={folder / 'hosts'}",
        f"pid-file={folder / 'pid'}",
        f"log-facility={folder / 'log'}",
    ]
    lines += itertools.chain.from_iterable(network_lines(known) for known in sorted(networks, key=repr))
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


class Dhcp:
    """The DHCP delivery of one bridge. Whoever calls holds the bridge's lock."""

    def __init__(self, bridge: str, folder: Path, program: str) -> None:
        self._bridge = bridge
        self._folder = folder
        self._program = program
        self._file = folder / "conf"

    def add(self, name: str, nic: NicSpec, hostname: str) -> None:
        """Let a NIC be answered. May be repeated. Raises BrokenError when dnsmasq cannot be had."""
        for path in (self._folder, *(self._folder / part for part in ("hosts", "networks"))):
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._write("networks", name, json.dumps(dataclasses.asdict(served(nic))))
        self._write("hosts", name, host_line(nic, hostname))
        wanted = self._configuration()
        known = self._file.read_text(encoding="ascii") if self._file.exists() else ""
        if wanted != known or self.process() is None:
            self.stop()
            self._start(wanted)

    def remove(self, name: str) -> None:
        """Forget a NIC, and end dnsmasq with the last one. May be repeated."""
        for part in ("hosts", "networks"):
            with contextlib.suppress(FileNotFoundError):
                (self._folder / part / name).unlink()
        self.stop()  # it does not forget a host whose file is gone, and told to read again version 2.90 may crash
        if self.names():
            self._start(self._configuration())
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    def remove_all(self) -> None:
        """Forget every NIC of this bridge and end dnsmasq."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the names of the NICs that are answered."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self._folder / "hosts"))  # noqa: PTH208 - names are all that is wanted
        return []

    def macs(self) -> dict[str, str]:
        """Return the MAC of every NIC that is answered, by name."""
        found = {}
        for name in self.names():
            with contextlib.suppress(FileNotFoundError):
                found[name] = (self._folder / "hosts" / name).read_text(encoding="ascii").partition(",")[0]
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
        texts = (path.read_text(encoding="ascii") for path in (self._folder / "networks").iterdir())
        found = (json.loads(text) for text in texts if text)
        return {Served(item["network"], item["gateway"], tuple(item["dns"])) for item in found}
