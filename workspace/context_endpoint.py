"""The context endpoint as a guest is told of it: where it is, and the token by which the guest is known there.

A token is 128 bits that nobody can guess: the workspace's id under a key that is the service's alone and is kept beside
the store, not in it. So an order that is sent again after a restart says the same, and the store has hashes only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

TOKEN = re.compile(r"[0-9a-f]{32}\Z")
KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``url`` is the address by which guests reach the service, ``key`` the service's own."""

    url: str
    key: bytes = field(repr=False)

    def token(self, workspace_id: str) -> str:
        """Return the token of a workspace's guest, in hex."""
        return hmac.new(self.key, workspace_id.encode(), hashlib.sha256).hexdigest()[:32]


def hash_of(token: str) -> str:
    """Return what of a token is stored (SHA-256, hex)."""
    return hashlib.sha256(token.encode()).hexdigest()
