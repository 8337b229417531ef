"""The three listeners: client (SOAP), node (pilots) and guest (context), each a socket with limits of its own.

They speak TLS when they have a certificate.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.web.resource import Resource

from flyinglow.nodectl.errors import BrokenError, FlyingLowError
from flyinglow.server.configuration.settings import ClientListener, GuestListener, NodeListener
from flyinglow.server.tls import listening as tls
from flyinglow.wsrf.channel import HttpLimits
from flyinglow.wsrf.channel import Listener as Site

if TYPE_CHECKING:
    from flyinglow.server.configuration.settings import Config, Listener


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket that is bound but not served yet: its port is known before anything is told its address."""

    listener: Listener
    socket: socket.socket
    url: str  # what others are told
    secured: tls.Secured | None = None

    def serve(self, reactor: Any, site: Site) -> Any:
        """Serve ``site`` on it, over TLS where it is so; the reactor owns a duplicate of the socket from now on."""
        served = self.secured.wrap(site, reactor) if self.secured else site
        with self.socket:
            self.socket.setblocking(False)
            return reactor.adoptStreamPort(self.socket.fileno(), self.socket.family, served)


def bind(listener: Listener) -> Bound:
    """Bind a listener's socket. Raises BrokenError naming the address, or what is wrong with its TLS."""
    secured = _secured(listener)
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    try:
        bound = socket.create_server((listener.address, listener.port), family=family, backlog=512)
    except OSError as error:
        message = f"cannot listen on {listener.address} port {listener.port}: {error.strerror or error}"
        raise BrokenError(message) from None
    scheme = "https" if secured else "http"
    url = listener.base_url.rstrip("/") or _url(scheme, *bound.getsockname()[:2])
    return Bound(listener, bound, url, secured)


def _secured(listener: Listener) -> tls.Secured | None:
    if not isinstance(listener, ClientListener | NodeListener | GuestListener):
        return None
    if listener.certificate is None and listener.private_key is None:
        return None
    if isinstance(listener, ClientListener):
        from flyinglow.server.callers import handshake as tls_callers  # noqa: PLC0415 - imports OpenSSL

        return tls_callers.secured(listener)
    name = "node" if isinstance(listener, NodeListener) else "guest"
    return tls.secured(listener.certificate, listener.private_key, f"[listen.{name}]")


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def limits(listener: Listener) -> HttpLimits:
    """Return the limits of a listener's HTTP."""
    return HttpLimits(
        body_bytes=listener.max_body, request_seconds=listener.timeout, connections=listener.max_connections
    )


class _Closed(Resource):
    """Answers 404 to everything: a listener on which this configuration offers nothing."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Return itself: no path is different from another."""
        return self

    def render(self, request: Any) -> bytes:
        """Say so."""
        request.setResponseCode(404)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"Nothing is offered on this listener.\n"


def closed_site(listener: Listener, reactor: Any) -> Site:
    """Return a site that offers nothing: pilots come with an LRM back-end."""
    return Site(_Closed(), limits(listener), reactor)  # type: ignore[no-untyped-call]


def bind_all(config: Config) -> tuple[Bound, Bound, Bound]:
    """Bind client, node and guest, or none of them."""
    bound: list[Bound] = []
    try:
        bound.extend(map(bind, (config.listen.client, config.listen.node, config.listen.guest)))
    except FlyingLowError:
        for one in bound:
            one.socket.close()
        raise
    client, node, guest = bound
    return client, node, guest
