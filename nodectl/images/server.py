"""Listen for other nodes of a launch set that want images, only as long as something is offered to them."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONNECTIONS = 64  # at once; more are closed unheard
PORTS = 16  # from the configured one on: each agent of a node with several slots has its own
POLL = 0.5  # seconds between two looks at whether anything is still offered


class Listener(ThreadingHTTPServer):
    """A web server that is silent, and takes no more than so many connections."""

    request_queue_size = CONNECTIONS
    timeout = POLL

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, asking no name server who this is."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take one more client, or close on it."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started, so that none makes room
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one client, and have room for another one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away finds what it wants elsewhere."""


class Server:
    """A listener on a thread of its own, which ends when ``wanted()`` is no longer so."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, address: str, port: int, handler: type[BaseHTTPRequestHandler]) -> int:
        """Listen, and return at which port: ``port`` or one of those after it, 0 meaning any. Raises OSError."""
        listener = _listener(address, port, handler)
        self._thread = threading.Thread(target=self._run, args=(listener,), name="peers", daemon=True)
        self._thread.start()
        return listener.server_port

    @property
    def is_listening(self) -> bool:
        """Whether nodes can connect."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Listen no more; what is being sent is cut short."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, listener: Listener) -> None:
        with listener:
            while self._wanted() and not self._stop.is_set():
                listener.handle_request()


def _listener(address: str, port: int, handler: type[BaseHTTPRequestHandler]) -> Listener:
    *others, last = range(port, port + PORTS) if port else (0,)
    for one in others:
        try:
            return Listener((address, one), handler)
        except OSError:  # another agent's
            continue
    return Listener((address, last), handler)
