"""The second channel for reports (section 3.2 of the paper): appended to a file on the service's host, by SSH.

The account there should know one command only, which appends its input under a lock and succeeds when that is on disk.
"""

from __future__ import annotations

import subprocess
from typing import Any

from flyinglow.nodectl.errors import InvalidError, TransientError

_COMMAND = "flyinglow-spool"
_SHOWN = 200
_PORT = 22  # of SSH itself


class Ssh:
    """Takes the host's key from the file it is told and asks nobody anything. Raises InvalidError for bad settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        missing = [name for name in ("address", "user", "identity", "known_hosts") if not settings.get(name)]
        if missing:
            raise InvalidError(f"the settings of the second report channel (ssh) lack {', '.join(missing)}")
        address, user = str(settings["address"]), str(settings["user"])
        identity, known = str(settings["identity"]), str(settings["known_hosts"])
        try:
            port = int(settings.get("port", _PORT))
        except (ValueError, TypeError) as error:
            raise InvalidError(f"the second report channel's port is no number: {error}") from error
        if address.startswith("-") or user.startswith("-"):
            raise InvalidError("the second report channel's address or user begins with a dash")
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "5",
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        words += ["-i", identity, "-p", str(port), "-l", user, "-T", "--", address]
        self.argv = ["ssh", "-F", "none", *words, str(settings.get("command") or _COMMAND)]

    def append(self, data: bytes, seconds: float) -> None:
        """Store messages. Raises TransientError when that was not confirmed in time."""
        try:
            done = subprocess.run(self.argv, input=data, capture_output=True, timeout=seconds, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TransientError(f"ssh failed: {error}") from error
        if done.returncode != 0:
            said = done.stderr[-_SHOWN:].decode(errors="replace").strip()
            raise TransientError(f"ssh ended with {done.returncode}: {said}")
