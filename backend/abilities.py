"""What a back-end may offer beside the verbs of ``api.Backend``; who wants to use it asks by ``isinstance``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from flyinglow.backend.api import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """When a request might start: ``starts_in`` seconds (None: nobody can say), and why it would have to wait."""

    starts_in: float | None
    reason: str


@runtime_checkable
class Estimates(Protocol):
    """A back-end that can say, beyond ``admit``, what would become of a request."""

    async def rehearse(self, request: Request) -> Estimate:
        """Ask whoever decides (a batch scheduler's dry run); takes and changes nothing.

        Raises NeverError, InvalidError or DeniedError when the request would be refused, TransientError when nobody
        answers.
        """


@runtime_checkable
class Extends(Protocol):
    """A back-end whose places are its own for a limited time only."""

    async def extend(self, key: str, seconds: float) -> float:
        """Make sure that the claim's places are held for ``seconds`` from now; return for how long they are held now.

        Raises DeniedError with the figure ``longest`` (seconds from now) when that is not to be had.
        """


@runtime_checkable
class Together(Protocol):
    """A channel to a node that can send several orders as one message."""

    def together(self) -> AbstractContextManager[None]:
        """Send the orders that are given within this context together; each is answered for itself."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to bytes that came in: an HTTP status and a body."""

    status: int
    body: bytes


@runtime_checkable
class Doorway(Protocol):
    """A back-end that programs on nodes report to. The server owns the socket and hands bytes in."""

    async def answer(self, body: bytes, peer: str) -> Reply:
        """Take one message in and return the answer to it, which may be held back until there is something to say."""


@runtime_checkable
class Operated(Protocol):
    """A back-end that shows itself to the site's administrator, and waits for a word in doubt."""

    async def inspect(self) -> Mapping[str, Any]:
        """Return what it holds and does, as plain JSON."""

    async def confirm(self) -> Mapping[str, Any]:
        """Let go on what the mass-cancel guard holds back; return what that was, as plain JSON."""
