"""What a caller is answered who is not known: why, and how one becomes known."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from flyinglow.nodectl.errors import DeniedError

REALM: Final = "flyinglow"
_UNSPEAKABLE: Final = re.compile(r"[^ !#-\[\]-~]")


class UnauthenticatedError(DeniedError):
    """Nobody that this service knows is behind the request; the message says what was missing or wrong.

    ``error`` is RFC 6750's word for it: empty when the request tried no token at all.
    """

    error: ClassVar[str] = ""

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate (RFC 9110, section 11.6.1; RFC 6750, section 3)."""
        if not self.error:
            return f'Bearer realm="{REALM}"'
        description = _UNSPEAKABLE.sub("", self.message)
        return f'Bearer realm="{REALM}", error="{self.error}", error_description="{description}"'
