"""Who is calling: the ways by which callers of the client listener can be known, asked one after the other.

Each way looks for its own kind of credential in a request. The first that finds one decides: a credential that is bad
ends the matter, nobody falls back to another way or to being anonymous. Where no way is configured, everybody is the
one local caller; the configuration allows that on loopback only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from flyinglow.access.identity import UNKNOWN
from flyinglow.access.rates import neighbourhood
from flyinglow.access.refusal import UnauthenticatedError
from flyinglow.server.callers.certificates import ByCertificate
from flyinglow.wsrf.transport import local

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.web.http import Request

    from flyinglow.access.identity import Identity
    from flyinglow.server.configuration.settings import Config
    from flyinglow.server.tls.listening import Secured


class Way(Protocol):
    """One way in."""

    def identify(self, request: Request) -> Identity | None:
        """Return who sent a request, or None when it has no credential of this kind.

        Called on the reactor for each request; must not block. Raises DeniedError, with a reason that the caller may
        read, for a credential that is not good.
        """


class BySignature:
    """Lets requests through without a credential: the message must have one, or the endpoint refuses it."""

    def identify(self, request: Request) -> Identity | None:
        """Return nobody, whom every endpoint refuses unless the message is signed.

        Nobody bears his address as his name, so that one address's crowd takes nothing from another's.
        """
        asked: Any = request
        address = str(getattr(asked.getClientAddress(), "host", ""))
        return replace(UNKNOWN, name=f"{UNKNOWN.name} at {neighbourhood(address)}")


class Ways:
    """Asks several ways in turn; a request that none of them knows is refused."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = tuple(ways)

    def __call__(self, request: Request) -> Identity:
        """Return who sent a request. Raises UnauthenticatedError, or the DeniedError of a way."""
        for way in self._ways:
            identity = way.identify(request)
            if identity is not None:
                return identity
        raise UnauthenticatedError("the request carries no credential that this service takes")


def ways(config: Config, secured: Secured | None, tokens: Way | None = None) -> list[Way]:
    """Return the ways that are configured, in the order in which they are asked."""
    found: list[Way] = []
    if secured is not None and config.listen.client.ca_directory is not None:
        found.append(ByCertificate(secured.kept))
    if tokens is not None:
        found.append(tokens)
    if config.listen.client.signatures == "alone":
        found.append(BySignature())
    return found


def authenticate(config: Config, secured: Secured | None, tokens: Way | None = None) -> Callable[[Request], Identity]:
    """Return what the client listener asks who sent a request; ``tokens`` is how bearer tokens are looked at."""
    found = ways(config, secured, tokens)
    return Ways(found) if found else local
