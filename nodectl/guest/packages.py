"""Fetch Debian packages as an ordinary user and look into them.

Whatever was fetched once is kept in a cache directory; nothing is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError

KERNEL = "linux-image-cloud-amd64"
BUSYBOX = "busybox-static"
SECONDS = 300.0


def kernel_package(cache: Path) -> str:
    """Return the package that holds the newest kernel, or the one in the cache. Raises BrokenError for neither."""
    try:
        text = tools.run(["apt-cache", "depends", KERNEL])
    except BrokenError:
        text = ""
    found = re.search(r"Depends: (linux-image-[0-9]\S*)", text)
    if found:
        return found.group(1)
    kept = sorted(cache.glob("linux-image-[0-9]*_*.deb"))
    if not kept:
        raise BrokenError(f"apt knows no package {KERNEL}: run 'apt-get update' as root on a Debian system first")
    return kept[-1].name.split("_", 1)[0]


def fetch(package: str, cache: Path) -> Path:
    """Return the package's file, downloaded into ``cache`` if need be. Raises BrokenError when it is not to be had."""
    kept = _kept(package, cache)
    if kept is None:
        folder = cache / f"fetch-{package}"
        folder.mkdir(parents=True, exist_ok=True)
        _download(package, folder)
        for path in folder.glob("*.deb"):
            path.replace(cache / path.name)  # only what came whole counts as kept
        folder.rmdir()
        kept = _kept(package, cache)
    if kept is None:
        raise BrokenError(f"apt-get downloaded no file for package {package}")
    return kept


def unpack(package: Path, folder: Path, prefixes: tuple[str, ...]) -> None:
    """Unpack those files of a package whose names begin with one of ``prefixes``."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as child:
        with tarfile.open(fileobj=child.stdout, mode="r|") as archive:
            for member in archive:
                name = member.name.lstrip("./")
                if member.isfile() and name.startswith(prefixes) and ".." not in Path(name).parts:
                    _write(archive, member, folder / name)
        if child.wait() != 0:
            raise BrokenError(f"dpkg-deb cannot read {package}: remove it and try again")


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    if source is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def _kept(package: str, cache: Path) -> Path | None:
    return next(iter(sorted(cache.glob(f"{package}_*.deb"), reverse=True)), None)


def _download(package: str, folder: Path) -> None:
    # Without its sandbox user apt may write into a directory of ours whoever we are.
    words = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        done = subprocess.run(
            words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SECONDS, text=True
        )
    except FileNotFoundError as error:
        raise BrokenError("the guest is built from Debian packages, and apt-get is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise BrokenError(f"package {package} was not downloaded within {SECONDS:g} s") from error
    if done.returncode != 0:
        said = done.stderr.strip()[-tools.TAIL :]
        raise BrokenError(f"package {package} cannot be downloaded (run 'apt-get update' as root first?): {said}")
