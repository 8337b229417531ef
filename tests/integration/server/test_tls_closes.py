"""How connections over TLS end: the other end can read what was said last, however slowly it reads."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from twisted.web.resource import Resource
from twisted.web.server import Site

from flyinglow.backend.testing import ReactorThread
from flyinglow.server import tls
from rigs.authority import Authority
from rigs.ports import free_port
from rigs.reactor import reactor_thread

__all__ = ["reactor_thread"]

LARGE = b"x" * 8_000_000
SLOWER_THAN_LINGERING = 3.0


class Page(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def render_GET(self, request: object) -> bytes:
        return LARGE


@pytest.fixture
def address(reactor_thread: ReactorThread, tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A page behind TLS, and who trusts it."""
    root, port = Authority.make(), free_port()
    secured = tls.secured(*root.host().write(tmp_path, "host"))
    served = secured.wrap(Site(Page()), reactor_thread.reactor)  # type: ignore[no-untyped-call]
    listening = reactor_thread.call(partial(reactor_thread.reactor.listenTCP, port, served, interface="127.0.0.1"))
    yield port, ssl.create_default_context(cadata=root.certificate_pem)
    reactor_thread.call(listening.stopListening)


@pytest.mark.full
def test_a_slow_reader_gets_all_of_an_answer_that_ends_the_connection(address: tuple[int, ssl.SSLContext]) -> None:
    port, context = address
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(120)
    plain.connect(("127.0.0.1", port))
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        time.sleep(SLOWER_THAN_LINGERING)  # it is not for an event that is waited: nothing must happen
        found = b"".join(iter(lambda: peer.recv(1 << 20), b""))
    assert found.endswith(b"\r\n\r\n" + LARGE)
