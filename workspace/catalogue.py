"""The site's image catalogue: which images a lessee can name, and how each is booted.

A lessee names an entry, never a kernel: kernel, initial RAM disk and command line are the site's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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


Catalogue = Mapping[str, Image]
"""The images by name."""
