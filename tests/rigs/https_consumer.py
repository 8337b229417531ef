"""A sender with a directory of authorities, and consumers over TLS for it to send to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from flyinglow.backend.testing import ReactorThread
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.sender import HttpSender, SenderSettings
from flyinglow.server.configuration.settings import ClientListener, Config, Listen, NotificationTerms
from flyinglow.server.tls.consumers import ConsumerTls, consumer_tls
from rigs.authority import Authority, Credential

PATIENT = SenderSettings(connect_timeout=60, timeout=60)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shown: list[Any]

    def do_POST(self) -> None:
        """Take it, and note who sent it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.shown.append(self.connection.getpeercert())
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def consumer(directory: Path, credential: Credential, callers: Authority | None = None) -> Iterator[tuple[int, Any]]:
    """Listen; give the port, and a list of the certificates that were shown (asked for when ``callers`` is given)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*credential.write(directory, "consumer"))
    if callers is not None:
        context.load_verify_locations(cadata=callers.certificate_pem)
        context.verify_mode = ssl.CERT_REQUIRED
    shown: list[Any] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"shown": shown}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # whom we refuse ends the handshake
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], shown
    finally:
        server.shutdown()
        thread.join(120)
        server.server_close()


class HttpsRig:
    """A sender with a directory of authorities. ``answers`` is what every name stands for; a test may change it."""

    def __init__(
        self,
        loop: ReactorThread,
        directory: Path,
        root: Authority,
        *,
        settings: SenderSettings = PATIENT,
        answers: Sequence[str] = ("127.0.0.1",),
        **keys: Any,
    ) -> None:
        self.answers = answers
        self.authorities = root.install(directory / "certificates")
        client = ClientListener(**keys)
        terms = NotificationTerms(allow_loopback=True, ca_directory=self.authorities)
        self.tls: ConsumerTls = consumer_tls(Config(listen=Listen(client=client), notification=terms))
        self._loop, self._pool = loop, ThreadPool(1, 2)
        self._pool.start()
        consumers = Consumers(ConsumerPolicy(allow_loopback=True), lambda host, port: self.answers)
        self._sender = loop.call(
            partial(
                HttpSender, reactor=loop.reactor, consumers=consumers, pool=self._pool, tls=self.tls, settings=settings
            )
        )

    def post(self, port: int, host: str = "127.0.0.1") -> int | str:
        """Send one message; return its status, or why there was none."""

        async def send() -> int | str:
            try:
                return int(await self._sender.post(f"https://{host}:{port}/", {"Content-Type": "text/xml"}, b"<a/>"))
            except Exception as error:  # noqa: BLE001 - which it is is what is asked
                return f"{type(error).__name__}: {error}"

        found: int | str = self._loop.run(send, timeout=240)
        return found

    def stop_sending(self) -> None:
        """Close the connections that are kept."""
        self._loop.run(lambda: Deferred.fromCoroutine(self._sender.close()), timeout=240)

    def stop(self) -> None:
        """Close what is open."""
        self.stop_sending()
        self._pool.stop()
