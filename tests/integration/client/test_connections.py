"""Connections of the client: kept from call to call, and each site's its own."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from flyinglow.client import connect
from flyinglow.nodectl.errors import FlyingLowError


class Door(http.server.BaseHTTPRequestHandler):
    """Refuses everything, and keeps its connections."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, int]]

    def do_POST(self) -> None:
        """Note which connection it came by."""
        self.seen.append(self.client_address)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def door() -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Give a URL, and where each request to it came from."""

    class Noting(Door):
        seen: list[tuple[str, int]] = []  # noqa: RUF012 - of this test's door only

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Noting.seen
        server.shutdown()
        thread.join()


def test_each_site_keeps_its_own_connections(door: tuple[str, list[tuple[str, int]]]) -> None:
    """What answers at an address is not the same for all: a kept connection may lead into another network."""
    url, seen = door
    sites = [connect(url), connect(url)]
    for site in [*sites, *sites]:
        with pytest.raises(FlyingLowError):
            site.offers()
    first, second, *again = seen
    assert first != second
    assert again == [first, second]
    del sites, site
