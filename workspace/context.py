"""The context text of a workspace: what its guest is told about itself and the cluster that it is part of.

One fact a line, words separated by single spaces (section 3.3 of the paper: contextualization information)::

    name ce
    hostname public-10
    role compute-element
    requires storage-element
    nic eth0 public 10.1.0.10/24 public-10 52:54:00:0a:01:0a gateway=10.1.0.1 dns=10.1.0.2,10.1.0.3
    ssh-ed25519 AAAA... user@home
    endpoint http://10.1.0.1:8482
    token 6f1d3c0a9be24d7f8f0c2b7a51e8d934
    disk 1 scratch ext4 /mnt/scratch rw
    member ce compute-element 10.1.0.10,192.168.7.2 public=public-10 private=private-2
    member se storage-element 10.1.0.11,192.168.7.3 public=public-11 private=private-3

A ``disk`` line tells a disk that is to be mounted: its number among the disks that the guest sees (0 is the first),
its name, file system and mount point (``-`` for ``swap``), and whether it can be written to; these lines come last.
``endpoint`` and ``token`` tell where the guest reports to and what it is known by there; a site without a context
endpoint has neither. ``role``, ``requires`` and key lines stand once for each. There is one ``member`` line for each
workspace of the launch set, itself included: its name, its roles (comma between them, ``-`` for none), its addresses
(likewise; IPv6 behind all others), and the network and host name that belongs to each. A ``nic`` line with IPv6 goes
on with ``ip6=fd00:1::a01:a/64 gateway6=fd00:1::1 dns6=...``, and with ``delivery=static`` where the guest is told of
its addresses here only; a gateway stands where the guest's default route goes through this NIC. No value has white
space but a key's own, and no key begins with a word that a line of ours begins with, so nothing a lessee writes can
forge a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.model import Nic, Workspace

OURS = frozenset(
    ("name", "hostname", "role", "requires", "nic", "disk", "member", "value", "endpoint", "token", "peer", "spoof")
)
"""The words that lines of a context begin with; what begins with none of them is a key."""


def is_ours(line: str) -> bool:
    """Tell whether a guest would take a line for one of the service's."""
    return line.split(" ", 1)[0] in OURS


def members_text(members: Iterable[Workspace]) -> str:
    """Return the lines that every member is told alike; made once for a launch set."""
    return "".join(_member(member) + "\n" for member in sorted(members, key=lambda m: (m.part, len(m.name), m.name)))


def context_text(row: Workspace, members: str, endpoint: Endpoint | None = None) -> str:
    """Return the whole text for one workspace; ``members`` is the launch set's ``members_text``."""
    lines = [
        _line("name", row.name),
        _line("hostname", hostname_of(row)),
        *(_line("role", role) for role in row.context.provides),
        *(_line("requires", role) for role in row.context.requires),
        *(_nic(nic) for nic in row.nics),
        *(_key(key) for key in row.context.keys),
        *([_line("endpoint", endpoint.url), _line("token", endpoint.token(row.id))] if endpoint else []),
    ]
    return "".join(line + "\n" for line in lines) + members


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A disk that a guest is to mount, or to swap on."""

    number: int
    name: str
    file_system: str
    mount: str | None
    read_only: bool


def disks_text(disks: Iterable[Mounted | None]) -> str:
    """Return the lines of the disks that are to be mounted."""
    return "".join(
        _line(
            "disk", str(disk.number), disk.name, disk.file_system, disk.mount or "-", "ro" if disk.read_only else "rw"
        )
        + "\n"
        for disk in disks
        if disk is not None
    )


def hostname_of(row: Workspace) -> str:
    """Return the host name a guest takes: that of its first interface, or its own name when it has none."""
    return next((nic.hostname for nic in row.nics if nic.hostname), row.name)


def _member(row: Workspace) -> str:
    roles = _list(row.context.provides)
    dual = [nic for nic in row.nics if nic.ip6]
    hosts = [f"{nic.network}={nic.hostname}" for nic in (*row.nics, *dual) if nic.hostname]
    return _line(
        "member", row.name, roles, _list([nic.ip for nic in row.nics] + [nic.ip6 or "" for nic in dual]), *hosts
    )


def _nic(nic: Nic) -> str:
    extra = [f"gateway={nic.gateway}"] if nic.gateway else []
    extra += [f"dns={','.join(nic.dns)}"] if nic.dns else []
    extra += [f"ip6={nic.ip6}/{nic.prefix6}"] if nic.ip6 else []
    extra += [f"gateway6={nic.gateway6}"] if nic.gateway6 else []
    extra += [f"dns6={','.join(nic.dns6)}"] if nic.dns6 else []
    extra += [f"delivery={nic.delivery}"] if nic.delivery != "dhcp" else []
    return _line("nic", nic.name, nic.network, f"{nic.ip}/{nic.prefix}", nic.hostname or "-", nic.mac, *extra)


def _key(line: str) -> str:
    if not line or is_ours(line):
        raise InvalidError(f"{line!r} cannot stand in a context: it is no key")
    return _clean(line)


def _list(words: Sequence[str]) -> str:
    return ",".join(words) or "-"


def _line(*words: str) -> str:
    for word in words:
        if not word or word.split() != [word]:
            raise InvalidError(f"{word!r} cannot stand in a context: a value has no white space and is not empty")
    return _clean(" ".join(words))


def _clean(line: str) -> str:
    if not line.isprintable():
        raise InvalidError(f"{line!r} cannot stand in a context: it has control characters")
    return line
