"""What stands before the client listener's operations: the roles of who calls, and how much one caller gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyinglow.server.configuration import access as config_access
from flyinglow.wsrf.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.http import Request

    from flyinglow.access.identity import Identity
    from flyinglow.server.configuration.settings import Config


def gate(config: Config, reactor: Any) -> Gate:
    """Return the limits of one caller that the configuration means."""
    identity, address = config_access.rates(config.rates)
    rates = config.rates
    return Gate(reactor.seconds, identity=identity, address=address, local=rates.local, waiting=rates.waiting)


def with_roles(config: Config, authenticate: Callable[[Request], Identity]) -> Callable[[Request], Identity]:
    """Return what knows callers as ``authenticate`` does, and gives them the roles of the configuration."""
    book = config_access.roles(config.access)
    return lambda request: book.known(authenticate(request))
