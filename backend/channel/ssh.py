"""The argument list that starts the agent on a node through OpenSSH.

Nothing is left to the account's own ssh configuration, host keys are checked strictly against the one file named in
the reach, and no question is ever asked. What names the node stands after ``--``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.backend.channel.local import agent

if TYPE_CHECKING:
    from flyinglow.backend.reach import SshReach

_MISSED = 3  # signs of life, before the connection counts as dead


def argv(reach: SshReach, program: str = "ssh") -> list[str]:
    """Return the argument list for a node behind ssh; ``program`` is the OpenSSH client."""
    settings = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": reach.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": str(reach.connect_timeout),
        "ServerAliveInterval": str(reach.alive_interval),
        "ServerAliveCountMax": str(_MISSED),
        "LogLevel": "ERROR",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    names = ["-i", reach.identity, "-p", str(reach.port), "--", f"{reach.user}@{reach.address}"]
    return [program, "-F", "none", "-T", "-a", "-x", *options, *names, *agent(reach)]
