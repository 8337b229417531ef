"""Gives root away: serve becomes its unprivileged user before it opens a socket, a store or a request."""

from __future__ import annotations

import encodings
import os
import pwd
from stat import S_ISREG
from typing import TYPE_CHECKING

from flyinglow import store as sqlalchemy_store
from flyinglow.nodectl.errors import BrokenError, InvalidError

if TYPE_CHECKING:
    from pathlib import Path


def drop(user: str, state_dir: Path) -> None:
    """Become ``user`` for good when this process is root; hand the state directory over first.

    Does nothing for a process that is not root. Raises InvalidError for a user that is not there or is root itself,
    BrokenError when root could be had back afterwards.
    """
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        message = (
            f"serve was started as root and [server] user = {user!r} does not exist; "
            f"create it (adduser --system {user}) or name another one"
        )
        raise InvalidError(message) from None
    if entry.pw_uid == 0:
        message = "[server] user must not be root"
        raise InvalidError(message)
    _hand_over(state_dir, entry.pw_uid, entry.pw_gid)
    # as a login would have it: directories of users need not list who is in a group; root's own group is left out
    os.setgroups([group for group in os.getgrouplist(user, entry.pw_gid) if group != 0])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir
    _prove_dropped()
    _prove_readable(user)


def _hand_over(state_dir: Path, uid: int, gid: int) -> None:
    """Give away what root made here; what is another's already, or has another name elsewhere, is left as it is."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(folder).st_uid != 0:
            return  # its owner could have put there what is not root's to give
        for name in [entry.name for entry in os.scandir(folder)]:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if S_ISREG(found.st_mode) and found.st_uid == 0 and found.st_nlink == 1:
                os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
        os.fchown(folder, uid, gid)
    finally:
        os.close(folder)


def _prove_readable(user: str) -> None:
    """Make sure that the modules which are still to be imported can be."""
    for module in (encodings, sqlalchemy_store):
        if module.__file__ and not os.access(module.__file__, os.R_OK):
            message = (
                f"the user {user} cannot read {module.__file__}: install Flying Low, and the Python it runs on, "
                "where that user can read them"
            )
            raise BrokenError(message)


def _prove_dropped() -> None:
    try:
        os.setuid(0)
    except PermissionError:
        return
    message = "root could be regained after it was given away; not serving"
    raise BrokenError(message)
