"""Who is calling. ``wsrf/`` authenticates and makes an Identity; every service method takes it as ``caller``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller, whichever way it came in.

    ``name`` is what rows store as their owner: for a certificate the end entity's subject in RFC 4514's form, whose
    escaping keeps two different subjects from having one name; for a token its issuer and subject. ``admin`` may act
    on every row, ``observer`` may read every row. ``groups`` are those that the mapfile, a VOMS attribute or a token
    says the caller belongs to. ``limited``: the caller came with a limited proxy (RFC 3820), and has fewer rights.
    ``via`` is the way in (local, x509, bearer, signature, operator) and ``peer`` the address, both for the audit log.
    """

    name: str
    admin: bool = False
    groups: frozenset[str] = frozenset()
    observer: bool = False
    limited: bool = False
    via: str = "local"
    peer: str = ""


LOCAL = Identity("local")
"""The caller on a listener that authenticates nobody (loopback only)."""

OPERATOR = Identity("operator", admin=True, via="operator")
"""The caller behind the daemon's 0600 admin socket, and the daemon's own sweeps."""

UNKNOWN = Identity("unknown", via="none")
"""Whoever is behind a request that was refused; only log lines have it."""
