"""Knows callers by the bearer tokens in their requests (RFC 6750), each issuer by its table of the configuration."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.threads import deferToThreadPool

from flyinglow.access.refusal import UnauthenticatedError
from flyinglow.access.tokens import Issuer, TokenError, Verifier
from flyinglow.server.callers.token_sources import FreshKeys, reader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from flyinglow.access.identity import Identity
    from flyinglow.server.configuration.tokens import TokenIssuer

LOOK_EVERY = 10.0
"""Seconds between two looks at whether an issuer's keys are to be read again."""


class InsecureTokenError(UnauthenticatedError):
    """A token came where others can read it."""

    error = "invalid_request"


class Bearer:
    """Identifies requests by their tokens; on the reactor."""

    def __init__(self, verifier: Verifier, looks: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._verifier = verifier
        self.looks = looks

    def identify(self, request: Any) -> Identity | None:
        """Return whom the request's token stands for; None for a request without one.

        Raises TokenError for a token that is not good, and InsecureTokenError for one that others could read, whatever
        else the request may be known by; TransientError while the issuer's keys are fetched.
        """
        values = request.requestHeaders.getRawHeaders("authorization") or []
        tokens = [
            words[1].strip() for each in values if (words := each.split(" ", 1))[0].lower() == "bearer" and words[1:]
        ]
        if not tokens:
            return None
        if len(values) > 1:
            raise TokenError("the request has more than one header Authorization")
        if not request.isSecure() and not _is_near(request):
            raise InsecureTokenError("a token is taken over TLS only; take this one back, for others can have read it")
        return self._verifier.identify(tokens[0])


def _is_near(request: Any) -> bool:
    try:
        return ipaddress.ip_address(request.getClientAddress().host).is_loopback
    except (ValueError, AttributeError):
        return False


def bearer(issuers: Mapping[str, TokenIssuer], reactor: Any, now: Callable[[], datetime]) -> Bearer | None:
    """Return what identifies by the tokens of these issuers, or None where there are none.

    Its ``looks`` are to be called by timers, each ``LOOK_EVERY`` seconds, by the issuer's name.
    """
    if not issuers:
        return None
    keys = {name: _keys(name, issuer, reactor) for name, issuer in issuers.items()}
    trusted = [
        Issuer(
            name=name,
            url=issuer.url,
            audience=issuer.audience,
            algorithms=frozenset(issuer.algorithms),
            keys=keys[name],
            groups_claim=issuer.groups_claim,
            group_prefix=issuer.group_prefix or "",
            maximum_life=issuer.maximum_life,
        )
        for name, issuer in issuers.items()
    ]
    return Bearer(Verifier(trusted, now), {name: each.look for name, each in keys.items()})


def _keys(name: str, issuer: TokenIssuer, reactor: Any) -> FreshKeys:
    return FreshKeys(
        name,
        reader(issuer),
        refresh=issuer.refresh if issuer.keys_file is None else LOOK_EVERY,
        monotonic=time.monotonic,
        in_thread=lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work),
    )
