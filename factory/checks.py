"""What must be true of a Create request before anything is asked of the site: pure checks with plain answers.

Every refusal is an InvalidError (the request is wrong, or names what this site does not offer yet), a DeniedError (its
policy) or a NeverError (no state of the site could grant it).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from flyinglow.backend.api import Limits
from flyinglow.factory import context_checks, hardware_checks, uris
from flyinglow.factory.cluster_checks import check_cluster
from flyinglow.factory.model import CreateRequest, Part
from flyinglow.factory.uris import UriPolicy
from flyinglow.nodectl.errors import DeniedError, InvalidError, NeverError
from flyinglow.workspace import targets
from flyinglow.workspace.catalogue import Catalogue, is_uri
from flyinglow.workspace.model import Disk, EndAction
from flyinglow.workspace.terms import Terms

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z")
TOKEN_MAX = 128  # characters
NIC_MAX = 8
INTERFACE_NAME_MAX = 15  # the kernel's own limit
DISK_MAX = 8
MOUNT = re.compile(r"[A-Za-z0-9/_.+-]{2,255}\Z")
BLANK_LEAST_MB = {"ext4": 4, "swap": 1}


def check(
    request: CreateRequest,
    *,
    terms: Terms,
    limits: Limits,
    catalogue: Catalogue,
    networks: Collection[str],
    policy: UriPolicy | None = None,
) -> None:
    """Raise for the first thing that is wrong with the request; see the module's promise."""
    _whole(request, terms)
    for part in request.parts:
        _part(part, limits, catalogue, networks, policy or UriPolicy())
        hardware_checks.check(part, terms.hardware)
    check_cluster(request, terms, catalogue)
    _unique("part", (part.name for part in request.parts))
    _unique("workspace", (name for part in request.parts for name in member_names(part)))
    count = sum(part.count for part in request.parts)
    if count > limits.max_members:
        figures = {"members.asked": count, "members.max": limits.max_members}
        raise NeverError(f"{count} workspaces were asked for; this site grants at most {limits.max_members}", figures)


def member_names(part: Part) -> tuple[str, ...]:
    """Return the names of a part's workspaces: the part's own, or ``part-1`` to ``part-n``."""
    if part.count == 1:
        return (part.name,)
    return tuple(f"{part.name}-{number}" for number in range(1, part.count + 1))


def duration_of(request: CreateRequest, terms: Terms) -> int:
    """Return the lease's length in seconds; raises InvalidError, or DeniedError with figures, when out of bounds."""
    duration = terms.default_duration if request.duration is None else request.duration
    if duration <= 0:
        raise InvalidError(f"a lease lasts longer than 0 s; {duration} s were asked for")
    if duration > terms.max_duration:
        figures = {"duration.asked": duration, "duration.max": terms.max_duration}
        raise DeniedError(f"a lease of this site lasts at most {terms.max_duration} s", figures)
    return duration


def _whole(request: CreateRequest, terms: Terms) -> None:
    _name("request", request.name)
    if not request.parts:
        raise InvalidError("a request needs at least one part")
    duration_of(request, terms)
    wait = request.start_within
    if wait is not None and not 0 <= wait <= terms.max_wait:
        raise InvalidError(f"the wait for resources is bounded by 0 and {terms.max_wait} s; {wait} s were asked for")
    if request.token is not None and not 0 < len(request.token) <= TOKEN_MAX:
        raise InvalidError(f"a client token has 1 to {TOKEN_MAX} characters")
    _end(request)
    if request.join is not None and request.open:
        raise InvalidError("a request opens an ensemble or joins one, not both")


def _end(request: CreateRequest) -> None:
    if request.end_action is EndAction.SAVE:
        targets.check(request.save_uri, several=sum(part.count for part in request.parts) > 1 or request.open)
    elif request.save_uri is not None:
        raise InvalidError("SaveTo goes with EndAction Save")


def _part(part: Part, limits: Limits, catalogue: Catalogue, networks: Collection[str], policy: UriPolicy) -> None:
    _name("part", part.name)
    if part.count < 1:
        raise InvalidError(f"part {part.name}: a count is 1 or more; {part.count} was asked for")
    if part.count > limits.max_members:
        figures = {"members.asked": part.count, "members.max": limits.max_members}
        raise NeverError(f"part {part.name}: this site grants at most {limits.max_members} workspaces", figures)
    _name("workspace", member_names(part)[-1])
    allocation = part.allocation
    if allocation.memory_mb < 1 or allocation.cpus < 1 or allocation.disk_mb < 0:
        raise InvalidError(f"part {part.name}: memory and CPUs are 1 or more, disk is 0 or more")
    _disks(part, catalogue, policy)
    _nics(part, networks)
    _context(part)


def _disks(part: Part, catalogue: Catalogue, policy: UriPolicy) -> None:
    if not 1 <= len(part.disks) <= DISK_MAX:
        raise InvalidError(f"part {part.name}: a workspace has 1 to {DISK_MAX} disks")
    _unique(f"part {part.name}: disk", (disk.name for disk in part.disks if disk.name))
    for disk in part.disks:
        _disk(f"part {part.name}: disk {disk.name or 'without a name'}", disk, catalogue, policy)
    _unique(f"part {part.name}: mount point", (disk.mount for disk in part.disks if disk.mount))
    if part.disks[0].mount is not None:
        raise InvalidError(f"part {part.name}: the first disk is the image that is booted, which mounts itself")
    for disk in part.disks[1:]:
        named = catalogue.get(disk.image or "")
        if named is not None and named.source is None:
            raise InvalidError(f"part {part.name}: the image {disk.image!r} has no disk: it can only be booted from")
    if part.disks[0].image is None:
        raise InvalidError(f"part {part.name}: the first disk is the image that is booted")


def _disk(where: str, disk: Disk, catalogue: Catalogue, policy: UriPolicy) -> None:
    if sum(source is not None for source in (disk.image, disk.partition, disk.blank_mb)) != 1:
        raise InvalidError(f"{where} is exactly one of an image, a partition and blank")
    _mount(where, disk)
    _blank(where, disk)
    if disk.image is not None and is_uri(disk.image):
        uris.check(where, disk, policy, catalogue)
        return
    uris.check_plain(where, disk)
    for what, name in (("image", disk.image), ("partition", disk.partition)):
        known = sorted(entry.name for entry in catalogue.values() if entry.partition is (what == "partition"))
        if name is not None and name not in known:
            there = ", ".join(known) or "none"
            raise InvalidError(f"{where}: the {what} {name!r} is not in this site's catalogue (there are: {there})")


def _mount(where: str, disk: Disk) -> None:
    if disk.mount is None:
        return
    path = PurePosixPath(disk.mount)
    plain = path.is_absolute() and ".." not in path.parts and str(path) == disk.mount and disk.mount != "/"
    if not plain or not MOUNT.match(disk.mount):
        raise InvalidError(f"{where}: a mount point is an absolute path of letters, digits and /_.+-, below the root")
    if disk.file_system == "swap":
        raise InvalidError(f"{where}: what is swapped on is mounted nowhere")


def _blank(where: str, disk: Disk) -> None:
    if disk.blank_mb is None:
        if disk.file_system is not None:
            raise InvalidError(f"{where}: a file system is made on blank disks only")
        return
    made = disk.file_system or ("ext4" if disk.mount else None)
    least = BLANK_LEAST_MB.get(made or "", 1)
    if disk.blank_mb < least:
        raise InvalidError(f"{where}: a blank disk{f' with {made}' if made else ''} has {least} MB or more")


def _nics(part: Part, networks: Collection[str]) -> None:
    if len(part.nics) > NIC_MAX:
        raise InvalidError(f"part {part.name}: a workspace has at most {NIC_MAX} network interfaces")
    _unique(f"part {part.name}: interface", (nic.name for nic in part.nics if nic.name))
    for nic in part.nics:
        if len(nic.name) > INTERFACE_NAME_MAX:
            message = f"part {part.name}: the name of an interface has at most {INTERFACE_NAME_MAX} characters"
            raise InvalidError(f"{message}, not {len(nic.name)}: {nic.name}")
    for nic in part.nics:
        if nic.network not in networks:
            known = ", ".join(sorted(networks)) or "none"
            raise InvalidError(f"part {part.name}: there is no network {nic.network!r} here (there are: {known})")
        if nic.ip or nic.mac or nic.hostname:
            raise InvalidError(f"part {part.name}: the site chooses the addresses on {nic.network}")


def _context(part: Part) -> None:
    context_checks.check(part)
    for role in (*part.context.provides, *part.context.requires):
        _name(f"part {part.name}: role", role)


def _name(what: str, name: str) -> None:
    if not NAME.match(name):
        raise InvalidError(f"{what} {name[:60]!r}: a name has 1 to 40 lower-case letters, digits and inner hyphens")


def _unique(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InvalidError(f"{what} {name!r} is named {count} times; names are unique in a request")
