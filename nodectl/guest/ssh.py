"""The guest's SSH server: Debian's dropbear, with the shared objects that it names, as files of its root disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.guest import packages

SERVER = "dropbear-bin"
LIBRARIES = {  # by package: what the server is linked with
    "libtomcrypt1": ("libtomcrypt.so.1",),
    "libtommath1": ("libtommath.so.1",),
    "libgmp10": ("libgmp.so.10",),
    "zlib1g": ("libz.so.1",),
    "libcrypt1": ("libcrypt.so.1",),
    "libc6": ("libc.so.6", "ld-linux-x86-64.so.2"),
}
PROGRAMS = {"dropbear": "usr/sbin/dropbear", "dropbearkey": "usr/bin/dropbearkey"}
LOADER = "ld-linux-x86-64.so.2"
FOLDERS = ("lib64", "lib/x86_64-linux-gnu", "etc/dropbear")
PREFIXES = ("usr/sbin/", "usr/bin/", "lib/", "usr/lib/", "lib64/")


def add(root: Path, cache: Path, scratch: Path) -> None:
    """Put the server into the tree below ``root``. Raises BrokenError when a package cannot be had."""
    for package in (SERVER, *LIBRARIES):
        packages.unpack(packages.fetch(package, cache), scratch / package, PREFIXES)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, place in PROGRAMS.items():
        _copy(scratch / SERVER / place, root / "bin" / name)
    for package, names in LIBRARIES.items():
        for name in names:
            _copy(_library(scratch / package, name), root / _place(name))
    (root / "etc/shells").write_text("/bin/sh\n", encoding="ascii")


def _place(name: str) -> str:
    return f"lib64/{name}" if name == LOADER else f"lib/x86_64-linux-gnu/{name}"


def _library(folder: Path, name: str) -> Path:
    """Return the file of a library; the package has it by its full version, and a link by the name it is asked for."""
    found = sorted(path for path in folder.rglob(f"{name}*") if path.is_file())
    if not found:
        raise BrokenError(f"package {folder.name} holds no {name}")
    return found[0]


def _copy(source: Path, target: Path) -> None:
    shutil.copy(source, target)
    target.chmod(0o755)
