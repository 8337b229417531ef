"""An issuer of tokens on this machine: publishes its keys by https, and can be told to misbehave."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rigs.authority import Authority
from rigs.tokens import claims, jwk, jwks, rsa_key, token

ISSUER = "https://idp.example.org/realms/grid"


class KeyServer:
    """Serves one document; ``asked`` counts."""

    def __init__(self, directory: Path) -> None:
        root = Authority.make("Issuer CA")
        self.document, self.status, self.asked = jwks(jwk(rsa_key(), "one")).encode(), 200, 0
        self.headers: dict[str, str] = {}
        self.ahead = 0.0  # seconds that its clock is ahead of ours
        self.drips = False  # whether the headers come a byte at a time, for minutes
        self.closing = threading.Event()
        self.ca_file = directory / "issuer-ca.pem"
        self.ca_file.write_text(root.certificate_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*root.host().write(directory, "issuer"))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"keys": self}))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}/keys"

    def toml(self, name: str = "grid", **more: str) -> str:
        """Return the table of the configuration that trusts it."""
        lines = {"url": ISSUER, "audience": "flyinglow", "keys_url": self.url, "ca_file": str(self.ca_file), **more}
        return "\n".join([f"[issuer.{name}]", *(f'{key} = "{value}"' for key, value in lines.items())])


class _Handler(BaseHTTPRequestHandler):
    keys: KeyServer

    def do_GET(self) -> None:
        """Answer with the document, whatever is asked for."""
        keys = self.keys
        keys.asked += 1
        if keys.drips:
            self._drip()
        self.send_response(keys.status)
        for name, value in {"Content-Length": str(len(keys.document)), **keys.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(keys.document)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return what time it is by its clock."""
        return super().date_time_string((time.time() if timestamp is None else timestamp) + self.keys.ahead)

    def _drip(self) -> None:
        with suppress(OSError):  # the other end has had enough of it
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.keys.closing.wait(0.05):
                self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def key_server(directory: Path) -> Iterator[KeyServer]:
    """Give a running server."""
    made = KeyServer(directory)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        made.closing.set()
        made.server.shutdown()
        thread.join(120)
        made.server.server_close()


def bearer(subject: str = "alice", *, kid: str = "one", key: Any = None, **other: Any) -> str:
    """Return a token that is good now."""
    return token(claims(datetime.now(UTC), **{"iss": ISSUER, "sub": subject, **other}), kid=kid, key=key)
