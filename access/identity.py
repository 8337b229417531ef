"""Who is calling. ``wsrf/`` authenticates and makes an Identity; every service method takes it as ``caller``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller. ``name`` is what rows store as their owner; ``admin`` may act on every row."""

    name: str
    admin: bool = False


LOCAL = Identity("local")
"""The caller on a listener that authenticates nobody (loopback only)."""

OPERATOR = Identity("operator", admin=True)
"""The caller behind the daemon's 0600 admin socket, and the daemon's own sweeps."""
