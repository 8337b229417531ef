"""Whether root may rely on a place: nobody else must be able to put something different there.

The agent may be root while the service that orders is not. A directory that the service's user could rename and replace
by a link would turn "below this directory" into "anywhere".
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from flyinglow.nodectl.errors import DeniedError

WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def is_root() -> bool:
    """Tell whether this program has root's rights, which an order must not borrow."""
    return os.geteuid() == 0


def check_file(handle: int, name: Path) -> None:
    """Raise DeniedError when root is about to believe an open file that somebody else may have written."""
    status = os.fstat(handle)
    if is_root() and (status.st_uid != 0 or status.st_mode & WRITABLE):
        raise DeniedError(f"{name} must belong to root and be writable by nobody else, for root acts on what it says")


def weak_spot(path: Path) -> Path | None:
    """Return what lets others than root exchange ``path``, itself or a step on the way to it; None when nothing does.

    The steps behind symbolic links count, too. A directory where everybody may write but not rename (sticky) does not.
    Raises OSError when there is no such path.
    """
    path.resolve(strict=True)  # so that links do not go round in circles
    return _weak(path)


def _weak(path: Path) -> Path | None:
    for step in (path, *path.parents):
        status = step.lstat()
        if status.st_uid != 0:
            return step
        if stat.S_ISLNK(status.st_mode):
            found = _weak(step.parent / os.readlink(step))  # noqa: PTH115 - what stands in the link, as it stands
            if found is not None:
                return found
        elif status.st_mode & WRITABLE and not status.st_mode & stat.S_ISVTX:
            return step
    return None
