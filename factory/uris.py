"""Images that a lessee names by a URI: what the site allows of them, and how such a disk is completed.

Off but for the site's store: a URI makes nodes connect to wherever a stranger says. Kernel and initial RAM disk are
the site's own in any case (design, section 3): of a catalogue entry that the request or the policy names, or none where
the image has its own boot loader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.nodectl.images import address
from flyinglow.nodectl.images.address import Address
from flyinglow.nodectl.images.publicly import is_public
from flyinglow.workspace.catalogue import Catalogue, is_uri
from flyinglow.workspace.model import Disk
from flyinglow.workspace.targets import ANY_STORE, check_bare

FORMATS = ("raw", "qcow2")
SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
INSIDE = ("localhost", ".local", ".localhost", ".internal", ".lan", ".home.arpa")
"""Names, and ends of names, that are nobody's on the Internet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UriPolicy:
    """What the site allows. A host that is listed by its full name is trusted; ``*`` matches public addresses only.

    ``directories`` are those below which ``file:`` URIs lie, ``kernels`` maps an architecture to the catalogue entry
    whose kernel boots such images (where there are several, a request says which), ``size_mb`` is what one takes on a
    node when the request does not say.
    """

    schemes: tuple[str, ...] = ("store",)
    hosts: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    kernels: Mapping[str, str] = field(default_factory=dict)
    size_mb: int = 8192
    most_mb: int = 65536

    def complete(self, disk: Disk) -> Disk:
        """Return a checked disk with all that its node is told: kernel, size, whether from public addresses only."""
        if disk.image is None or not is_uri(disk.image):
            return disk
        place = address.read(disk.image, ANY_STORE)
        uri = f"scp:{disk.image[len('sftp:') :]}" if disk.image.startswith("sftp:") else disk.image
        return replace(
            disk,
            image=uri,
            size_mb=disk.size_mb or self.size_mb,
            kernel_from=disk.kernel_from or (next(iter(self.kernels.values())) if len(self.kernels) == 1 else None),
            public=place.scheme != "file" and not uri.startswith("store:") and not self._trusts(place),
        )

    def _trusts(self, place: Address) -> bool:
        return place.host.lower().rstrip(".") in self.hosts


def check(where: str, disk: Disk, policy: UriPolicy, catalogue: Catalogue) -> None:
    """Raise InvalidError or DeniedError for a disk whose URI is wrong or not allowed; neither shows any secrets."""
    uri = disk.image or ""
    scheme = uri.partition(":")[0].lower()
    if scheme not in policy.schemes:
        by = ", ".join(f"{each}:" for each in sorted(policy.schemes))
        advice = f"name one of its catalogue{', or one by ' + by if by else ''}"
        raise DeniedError(f"{where}: images by {scheme[:20]}: URI are not offered by this site: {advice}")
    place = _read(where, uri)
    _facts(where, disk, policy)
    if scheme == "file":
        _below(where, place, policy)
    elif scheme != "store":
        _reachable(where, place, policy)
    _kernel(where, disk, policy, catalogue)


def check_plain(where: str, disk: Disk) -> None:
    """Raise InvalidError for what goes with URIs on a disk that has none, and for a path in place of a name."""
    name = disk.image
    if name is not None and ("/" in name or name.startswith(".")):
        raise InvalidError(f"{where}: {name[:60]!r} is a path; an image is a name of this site's catalogue, or a URI")
    given = [key for key in ("sha256", "format", "size_mb", "kernel_from") if getattr(disk, key) is not None]
    if given:
        raise InvalidError(f"{where}: {given[0]} goes with an image that is named by its URI")


def _read(where: str, uri: str) -> Address:
    try:
        place = address.read(uri, ANY_STORE)
        check_bare(place)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}") from None
    return place


def _facts(where: str, disk: Disk, policy: UriPolicy) -> None:
    if disk.sha256 is None or not SHA256.match(disk.sha256):
        raise InvalidError(f"{where}: an image by URI needs its sha256, 64 hexadecimal digits")
    if disk.format not in FORMATS:
        raise InvalidError(f"{where}: an image by URI needs its format, {' or '.join(FORMATS)}; it is never guessed")
    if disk.size_mb is not None and not 1 <= disk.size_mb <= policy.most_mb:
        figures = {"image_mb.asked": disk.size_mb, "image_mb.max": policy.most_mb}
        raise DeniedError(f"{where}: an image by URI has 1 to {policy.most_mb} MB here", figures)


def _below(where: str, place: Address, policy: UriPolicy) -> None:
    path = PurePosixPath(place.path)
    if not any(PurePosixPath(root) in path.parents for root in policy.directories):
        offered = ", ".join(policy.directories) or "none"
        raise DeniedError(
            f"{where}: images by file: URI lie below directories that the site names, which are: {offered}"
        )


def _reachable(where: str, place: Address, policy: UriPolicy) -> None:
    host = place.host.lower().rstrip(".")
    if host in policy.hosts:
        return
    if not any(fnmatchcase(host, pattern) for pattern in policy.hosts if "*" in pattern):
        offered = ", ".join(policy.hosts) or "none"
        raise DeniedError(f"{where}: images do not come from {host} here; the site allows these hosts: {offered}")
    if not _seems_public(host):
        raise DeniedError(f"{where}: {host} is no public address: the site has to name that host itself")


def _seems_public(host: str) -> bool:
    """Tell what can be told without looking the name up, which the node does when it connects."""
    try:
        return is_public(host)
    except ValueError:
        return "." in host and not host.endswith(INSIDE)


def _kernel(where: str, disk: Disk, policy: UriPolicy, catalogue: Catalogue) -> None:
    """Raise InvalidError for a kernel that is not there, or not named where there is a choice of architectures."""
    if disk.kernel_from is None:
        if len(policy.kernels) > 1:
            choice = ", ".join(f"{name} ({each})" for each, name in sorted(policy.kernels.items()))
            raise InvalidError(f"{where}: say by KernelFrom of which architecture the image is: {choice}")
        return
    bootable = sorted(entry.name for entry in catalogue.values() if entry.kernel and not entry.partition)
    if disk.kernel_from not in bootable:
        there = ", ".join(bootable) or "none"
        raise InvalidError(f"{where}: no image {disk.kernel_from!r} of the catalogue has a kernel (there are: {there})")
