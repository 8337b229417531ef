"""Grid Engine's programs for a private use: Debian's packages unpacked in a directory of ours, never installed.

Installed they would take the command names of other batch systems (qsub, qstat) on this machine.
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

from flyinglow.cli.demo.world import run
from flyinglow.nodectl.errors import BrokenError

ARCHITECTURE = "lx-amd64"
"""Grid Engine's own word for what Debian calls amd64."""

PACKAGES = ("gridengine-common", "gridengine-client", "gridengine-exec", "gridengine-master")
LIBRARIES = ("libhwloc15", "libjemalloc2", "libmunge2", "libtirpc3", "libdb5.3")
"""Debian packages that the programs need and that are to be installed as usual."""

_COMPILED_IN = b"/usr/lib/gridengine/%s%s"  # where Debian's build looks for its spooling library
_SPOOLERS = ("sge_qmaster", "spoolinit", "spooldefaults.bin")


def unpacked(where: Path, debs: Path | None = None) -> Path:
    """Return the directory of the programs below ``where``, fetched and unpacked when they are not there yet.

    ``debs`` has the package files, else ``apt-get download`` fetches them. May be called by several at once.
    Raises BrokenError when the packages, or the libraries the programs need, cannot be had.
    """
    where.mkdir(parents=True, exist_ok=True)
    programs = where / "usr/lib/gridengine"
    with (where / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / ".complete").exists():
            _fetch(where / "deb", debs)
            for package in sorted((where / "deb").glob("*.deb")):
                run("dpkg-deb", "-x", str(package), str(where))
            shutil.rmtree(where / "deb")
            for name in _SPOOLERS:
                _free_path(programs / name)
            # the programs look for their libraries at ORIGIN/../../lib/ARCHITECTURE
            (where / "usr/lib" / ARCHITECTURE).symlink_to("gridengine")
            (where / ".complete").touch()
    _check_libraries(programs)
    return programs


def _fetch(into: Path, debs: Path | None) -> None:
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    if debs is None:
        run("sh", "-c", 'cd "$1" && shift && exec apt-get -qq download "$@"', "sh", str(into), *PACKAGES)
        return
    for name in PACKAGES:
        found = sorted(debs.glob(f"{name}_*.deb"))
        if not found:
            raise BrokenError(f"there is no {name} in {debs}")
        shutil.copy(found[-1], into)


def _free_path(program: Path) -> None:
    # as slashes of the same length in front, so that an absolute path can be given instead
    slashes = _COMPILED_IN.replace(b"usr/lib/gridengine", b"/" * len(b"usr/lib/gridengine"))
    program.write_bytes(program.read_bytes().replace(_COMPILED_IN, slashes))


def _check_libraries(programs: Path) -> None:
    said = run("ldd", *(str(programs / name) for name in ("sge_qmaster", "sge_execd", "spooldefaults.bin", "qsub")))
    missing = sorted({line.split()[0] for line in said.splitlines() if "not found" in line})
    if missing:
        packages = " ".join(LIBRARIES)
        raise BrokenError(f"Grid Engine needs libraries: {', '.join(missing)}; install {packages} (Debian)")
