"""The lines that let the user of batch jobs do root's acts on a node: two commands, and not one argument of its choice.

What the agent is to do comes as orders on its standard input, which it checks one by one.
"""

from __future__ import annotations

import re

from flyinglow.nodectl.errors import InvalidError

DEFAULT_PATH = "/usr/sbin/flyinglow-nodectl"
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
PATH = re.compile(r"(/[A-Za-z0-9_.+-]+)+\Z")  # nothing that means something to sudo
COMMANDS = ("agent --stdio", "kill-all")


def text(user: str, path: str = DEFAULT_PATH) -> str:
    """Return a file for ``/etc/sudoers.d``. Raises InvalidError for what is no user's name or no plain path."""
    if not USER.match(user):
        raise InvalidError(f"{user!r} is not the name of a user")
    if not PATH.match(path) or ".." in path.split("/"):
        raise InvalidError(f"{path!r} is not the absolute path of a program")
    rights = "".join(f"{user} ALL=(root) NOPASSWD: {path} {command}\n" for command in COMMANDS)
    # A batch job has no terminal, and the agent's input and output are pipes that sudo is to leave alone.
    return f"Defaults!{path} !requiretty, !use_pty\n{rights}"
