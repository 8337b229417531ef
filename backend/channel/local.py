"""The argument list that starts the agent on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flyinglow.backend.reach import LocalReach, SshReach


def agent(reach: LocalReach | SshReach) -> list[str]:
    """Return the words that start the agent where it lies; under sudo nothing but the line that sudoers allows."""
    words = [reach.agent]
    if reach.config is not None:
        words += ["--config", reach.config]
    words += ["agent", "--stdio"]
    return ["sudo", "-n", *words] if reach.sudo else words


def argv(reach: LocalReach) -> list[str]:
    """Return the argument list for the local node."""
    return agent(reach)
