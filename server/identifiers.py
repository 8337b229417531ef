"""The names that the service draws by lot: of resources, and of launches."""

from __future__ import annotations

import secrets
import string

_TAG_FIRST, _TAG_REST = string.ascii_lowercase, string.ascii_lowercase + string.digits


def new_id() -> str:
    """Return 128 random bits in hex, for a resource."""
    return secrets.token_hex(16)


def new_tag() -> str:
    """Return a tag: eight lower-case letters and digits, a letter first."""
    return secrets.choice(_TAG_FIRST) + "".join(secrets.choice(_TAG_REST) for _ in range(7))
