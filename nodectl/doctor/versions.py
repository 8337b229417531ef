"""Whether a node's programs are there and new enough for what this one asks of them, and which package brings them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from flyinglow.nodectl.errors import BrokenError

_NUMBER = re.compile(r"\d+(?:\.\d+)+")
_SECONDS = 10.0


@dataclass(frozen=True)
class Need:
    """A program's package (Debian's name), how it tells its version, the least that will do, and why."""

    package: str
    words: tuple[str, ...]
    least: tuple[int, ...]
    why: str


NEEDS = {
    "qemu": Need("qemu-system-x86", ("--version",), (4, 2), "the options that VMs are started with"),
    "qemu-img": Need("qemu-utils", ("--version",), (4, 2), "overlays whose format is pinned"),
    "dnsmasq": Need("dnsmasq-base", ("--version",), (2, 73), "a directory of hosts that is read while it runs"),
    "nft": Need("nftables", ("--version",), (0, 9, 4), "sets of an interface and an address"),
    "ebtables": Need("ebtables", ("--version",), (1, 8), "rules that are changed while others are"),
    "ip": Need("iproute2", ("-V",), (), ""),
    "mke2fs": Need("e2fsprogs", ("-V",), (1, 43), "file systems made of a directory"),
    "openssh": Need("openssh-client", ("-V",), (8, 1), "signatures of texts"),
}


def found(name: str, program: str) -> str:
    """Return what a program says of its version. Raises BrokenError when it is missing, silent or too old."""
    need = NEEDS[name]
    present(program, need.package)
    try:
        done = subprocess.run(
            [program, *need.words], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokenError(f"{program} cannot be run: {error} (Debian: apt-get install {need.package})") from error
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode != 0:
        raise BrokenError(f"{program} does not tell its version: {said[-200:]} (Debian package {need.package})")
    line = said.splitlines()[0] if said else ""
    number = _NUMBER.search(line)
    if need.least and (number is None or _parts(number.group()) < need.least):
        least = ".".join(map(str, need.least))
        raise BrokenError(f"{program} must be {least} or later, for {need.why}: it says {line!r}; renew {need.package}")
    return line


def present(program: str, package: str) -> str:
    """Return where a program is. Raises BrokenError with the package that brings it (Debian's name)."""
    there = shutil.which(program)
    if there is None:
        raise BrokenError(f"{program} is missing: install it (Debian: apt-get install {package})")
    return there


def python() -> str:
    """Return the version of the Python that runs this, which the shebang line of the bundle chose."""
    return f"{sys.version.split()[0]}, {sys.executable or 'python3'}"


def _parts(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
