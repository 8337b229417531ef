"""The site's image catalogue: which images a lessee can name, and how each is booted.

A lessee names an entry, never a kernel: kernel, initial RAM disk and command line are the site's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flyinglow.workspace.model import Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One entry. ``source`` is a path or URI that every node can reach (None: the initial RAM disk is all there is).

    A ``partition`` holds a file system, is never booted, and is named by leases as a partition.

    ``size_mb`` is what a copy takes on a node's disk; ``ready_mark`` is the console line by which a guest of this image
    says that it is ready.
    """

    name: str
    source: str | None = None
    sha256: str | None = None
    format: str = "raw"
    architecture: str = "x86_64"
    vmm: str = "qemu"
    kernel: str | None = None
    initrd: str | None = None
    append: str = ""
    ready_mark: str | None = None
    size_mb: int = 0
    description: str = ""
    partition: bool = False
    reports: bool = False  # its guests report to the context endpoint, where there is one, instead of by the mark
    file_system: str = "ext4"  # of a partition, by which its guest mounts it
    context: str = "auto"  # how its guests get their context (nodectl/context/ways.py)


Catalogue = Mapping[str, Image]
"""The images by name."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def is_uri(text: str) -> bool:
    """Tell a URI from a name of the catalogue."""
    return _SCHEME.match(text) is not None


def image_of(disk: Disk, catalogue: Catalogue) -> Image | None:
    """Return the entry that a disk names; of a URI, one made of its own facts and of another entry's kernel.

    None for an entry, or one with the kernel, that the site no longer has.
    """
    name = disk.image or disk.partition or ""
    if not is_uri(name):
        return catalogue.get(name)
    own = Image(name=name, source=name, sha256=disk.sha256, format=disk.format or "raw", size_mb=disk.size_mb or 0)
    if disk.kernel_from is None:
        return own
    lent = catalogue.get(disk.kernel_from)
    if lent is None:
        return None
    return replace(lent, name=name, source=name, sha256=own.sha256, format=own.format, size_mb=own.size_mb)
