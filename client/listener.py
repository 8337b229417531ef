"""A small HTTP server on a thread that takes messages for secret paths; what it cannot take, the sender sends again."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast

from flyinglow.nodectl.errors import FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Callable

    Take = Callable[[bytes], HTTPStatus]

log = logging.getLogger("flyinglow.client")

LARGEST: Final = 4 << 20
"""Bytes that a message may have."""
_IDLE: Final = 60.0
_POLL: Final = 0.05


class Listener(ThreadingHTTPServer):
    """Hands the body of every POST to whoever registered its path; over TLS when given a context."""

    allow_reuse_address = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.takers: dict[str, Take] = {}
        self._open: set[socket.socket] = set()
        super().__init__((host, port), _Handler)
        if tls is not None:  # each connection's own thread has to begin it: who says nothing holds up nobody
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL,), name="flyinglow-consumer", daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.server_address[1]
        return port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop, end every connection and wait for the threads."""
        self.shutdown()
        self._thread.join()
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("a connection was closed already")
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, to end it when the listener is closed."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        super().shutdown_request(request)
        self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what http.server would print."""
        log.debug("a connection from %s failed", client_address, exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "flyinglow"
    sys_version = ""
    timeout = _IDLE

    def do_POST(self) -> None:
        """Take a message."""
        take = cast("Listener", self.server).takers.get(self.path)
        length = self.headers.get("Content-Length", "")
        if take is None:
            self._answer(HTTPStatus.NOT_FOUND, close=True)
        elif not (length.isascii() and length.isdigit()):
            self._answer(HTTPStatus.LENGTH_REQUIRED, close=True)
        elif int(length) > LARGEST:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, close=True)
        else:
            self._take(take, int(length))

    def _take(self, take: Take, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        try:
            self._answer(take(body))
        except FlyingLowError as error:
            log.warning("a message that is no notification was refused: %s", error)
            self._answer(HTTPStatus.BAD_REQUEST)

    def _answer(self, status: HTTPStatus, *, close: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log what http.server would print; the path stays out of it, for it is a secret."""
        log.debug("consumer: %s answered %s", self.client_address[0], args[1] if len(args) > 1 else "")
