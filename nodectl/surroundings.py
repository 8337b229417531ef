"""What this program lets in of the surroundings it was started in, before it starts any other program.

Through ``sudo`` the user of batch jobs chooses environment, working directory, file mode mask and limits, unless the
site's rules see to it; not every site's do. So none of it is believed then. In any case programs of the system are
found where Debian keeps root's, which a batch job's ``PATH`` often leaves out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping
from pathlib import Path

from flyinglow.nodectl.errors import DeniedError
from flyinglow.nodectl.trust import weak_spot

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUDO = "SUDO_UID"
_KEPT = frozenset({_SUDO, "SUDO_GID", "SUDO_USER", "LANG", "LC_ALL"})


def by_sudo(environment: MutableMapping[str, str]) -> bool:
    """Tell whether another user has become root to run this program; ``sudo`` always says so."""
    return os.geteuid() == 0 and environment.get(_SUDO, "0") != "0"


def settle(environment: MutableMapping[str, str]) -> None:
    """Make the environment one that programs can be started in."""
    if by_sudo(environment):
        for name in set(environment) - _KEPT:
            del environment[name]
        environment.update(PATH=PATH, HOME="/")
        os.umask(0o022)
        os.chdir("/")
        return
    known = [each for each in environment.get("PATH", "").split(":") if each]
    environment["PATH"] = ":".join([*known, *(each for each in PATH.split(":") if each not in known)])


def trusted(places: Iterable[Path]) -> None:
    """Raise DeniedError when somebody else than root could exchange a directory that root is about to write in."""
    for place in places:
        there = next(step for step in (place, *place.parents) if step.exists() or step.is_symlink())
        weak = weak_spot(there)
        if weak is not None:
            raise DeniedError(
                f"{weak} belongs to, or is writable by, another user than root, who could exchange {place}: mend that, "
                "or set other directories with the configuration keys state and run"
            )
