"""The lessee's files: what they may be called, how large they may be, and the archive that carries them.

A path is data of the lessee's that becomes a path in his guest and a word of programs on the node: it is judged before
either happens, by the service and by the node alike.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import GuestFile

MOST = 64  # files of one VM
MOST_BYTES = 1 << 20  # of all files of one VM together
LONGEST_PATH = 1024
LONGEST_NAME = 255  # of one step of a path, in bytes, as Linux has it
MODES = 0o777  # set-user-id and the like are lost where cloud-init writes a file


def check_path(path: object) -> None:
    """Raise InvalidError when a path is none that a guest can be given a file by."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidError(f"{_short(path)} is no absolute path of a file in the guest")
    if not path.isprintable():
        raise InvalidError(f"{_short(path)}: the path of a file has no newline, NUL or other control character")
    if ".." in path.split("/"):
        raise InvalidError(f"{_short(path)}: the path of a file has no step '..'")
    if str(PurePosixPath(path)) != path or path.startswith("//") or path == "/":
        raise InvalidError(f"{_short(path)}: the path of a file names it plainly, without '.', '//' or '/' at its end")
    try:
        steps = path.encode().split(b"/")
    except UnicodeEncodeError:
        raise InvalidError(f"{_short(path)}: the path of a file is UTF-8 text") from None
    if sum(map(len, steps)) + len(steps) > LONGEST_PATH or max(map(len, steps)) > LONGEST_NAME:
        raise InvalidError(f"{_short(path)}: a path has at most {LONGEST_PATH} bytes, each of its steps {LONGEST_NAME}")


def check_mode(path: str, mode: object) -> None:
    """Raise InvalidError when a file cannot have these permissions."""
    if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= MODES:
        raise InvalidError(f"file {path}: its mode is 0 to {MODES:o} in octal")


def check_together(paths: Sequence[str], size: int) -> None:
    """Raise InvalidError when files of these paths, with so many bytes together, cannot all be in one guest."""
    if len(paths) > MOST:
        raise InvalidError(f"{len(paths)} files were given; a guest is given at most {MOST}")
    if size > MOST_BYTES:
        raise InvalidError(f"the files have {size} bytes together; a guest is given at most {MOST_BYTES}")
    seen = set(paths)
    if len(seen) != len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InvalidError(f"file {twice} is there twice")
    for path in paths:
        above = next((str(parent) for parent in PurePosixPath(path).parents if str(parent) in seen), None)
        if above is not None:
            raise InvalidError(f"{above} cannot be a file and the folder of {path}")


def check(files: Iterable[GuestFile]) -> None:
    """Raise InvalidError naming the first thing in a VM's files that cannot be."""
    files, size = tuple(files), 0
    for file in files:
        check_path(file.path)
        check_mode(file.path, file.mode)
        size += len(content(file))
    check_together([file.path for file in files], size)


def content(file: GuestFile) -> bytes:
    """Return a file's bytes. Raises InvalidError when they are not base64."""
    try:
        return base64.b64decode(file.content, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise InvalidError(f"the content of file {file.path} is not base64") from None


def archive(files: Iterable[GuestFile]) -> bytes:
    """Return a tar archive of the files, root's own, with paths from the guest's root on."""
    import tarfile  # noqa: PLC0415 - most VMs have no files, and all agents start with this module

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for file in files:
            data = content(file)
            member = tarfile.TarInfo(file.path[1:])
            member.size, member.mode = len(data), file.mode
            member.uname = member.gname = "root"
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _short(path: object) -> str:
    return repr(path)[:100]
