"""Where the doctor's job reports to: a small HTTP listener on the node listener's address, only while the job runs."""

from __future__ import annotations

import hmac
import json
import queue
import secrets
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from typing import Self

    from flyinglow.server.configuration.settings import NodeListener

_MOST = 1 << 16
_SECONDS = 10.0  # for one request to arrive


class Hearing:
    """Hears the job. ``url`` is what the job posts to; nobody else knows its last part."""

    def __init__(self, listener: NodeListener, told: str, *, port: int) -> None:
        """``told`` is the URL that pilots are told; ``port`` 0 takes a free one. Raises BrokenError."""
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()
        path = "/" + secrets.token_urlsafe(24)
        family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
        server = type("Server", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
        try:
            self._server: ThreadingHTTPServer = server((listener.address, port), _handler(path, self.said))
            if listener.certificate is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(listener.certificate, listener.private_key)
                self._server.socket = context.wrap_socket(
                    self._server.socket, server_side=True, do_handshake_on_connect=False
                )
        except (OSError, ssl.SSLError) as error:
            raise BrokenError(f"cannot listen on {listener.address} port {port}: {error}") from None
        self.port: int = self._server.server_address[1]
        scheme = "https" if listener.certificate is not None else "http"
        host = urlsplit(told).netloc.rpartition("@")[2]
        if port == 0:
            host = f"{_bare(told)}:{self.port}"
        self.url = f"{scheme}://{host}{path}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next(self, seconds: float) -> dict[str, Any] | None:
        """Return what was said next, or None when nothing is said for so long."""
        try:
            return self.said.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None


def _bare(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host


def _handler(path: str, said: queue.Queue[dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_POST(self) -> None:
            """Take one finding; who does not know the path is not heard."""
            size = self.headers.get("Content-Length", "")
            if not hmac.compare_digest(self.path.encode(), path.encode()) or not size.isdigit() or int(size) > _MOST:
                self.send_error(404)
                return
            try:
                said.put(dict(json.loads(self.rfile.read(int(size)))))
            except (ValueError, TypeError):
                self.send_error(400)
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the report is the doctor's."""

    return Handler
