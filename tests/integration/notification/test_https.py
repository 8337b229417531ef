"""Delivery to https consumers: whose certificate is taken, why another's is not, and what they are shown."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from flyinglow.backend.testing import ReactorThread
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.sender import HttpSender, SenderSettings
from flyinglow.server.configuration.settings import ClientListener, Config, Listen, NotificationTerms
from flyinglow.server.tls.consumers import ConsumerTls, consumer_tls
from rigs.authority import Authority, Credential, now

HOUR = timedelta(hours=1)
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


class Rig:
    """A sender with a directory of authorities."""

    def __init__(self, loop: ReactorThread, directory: Path, root: Authority, **keys: Any) -> None:
        self.authorities = root.install(directory / "certificates")
        client = ClientListener(**keys)
        terms = NotificationTerms(allow_loopback=True, ca_directory=self.authorities)
        self.tls: ConsumerTls = consumer_tls(Config(listen=Listen(client=client), notification=terms))
        self._loop, self._pool = loop, ThreadPool(1, 2)
        self._pool.start()
        consumers = Consumers(ConsumerPolicy(allow_loopback=True), lambda host, port: ["127.0.0.1"])
        self._sender = loop.call(
            partial(
                HttpSender, reactor=loop.reactor, consumers=consumers, pool=self._pool, tls=self.tls, settings=PATIENT
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

    def stop(self) -> None:
        """Close what is open."""
        self._loop.run(lambda: Deferred.fromCoroutine(self._sender.close()), timeout=240)
        self._pool.stop()


Make = Callable[..., Rig]


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


@pytest.fixture
def rig(reactor_thread: ReactorThread, tmp_path: Path, root: Authority) -> Iterator[Make]:
    made: list[Rig] = []

    def make(**keys: Any) -> Rig:
        made.append(Rig(reactor_thread, tmp_path, root, **keys))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_consumer_with_a_good_certificate_is_told(rig: Make, root: Authority, tmp_path: Path) -> None:
    sender = rig()
    with consumer(tmp_path, root.host()) as (port, _):
        assert [sender.post(port), sender.post(port, "localhost"), sender.post(port)] == [202, 202, 202]


BAD: dict[str, tuple[Callable[[Authority], Credential], str]] = {
    "of another authority": (lambda _: Authority.make("Other CA").host(), "no authority here"),
    "for another host": (lambda root: root.host("192.0.2.1"), "its certificate is not for 127.0.0.1, but for"),
    "without a host": (
        lambda root: root.issue("Alice", usage=[ExtendedKeyUsageOID.SERVER_AUTH]),
        "is not for 127.0.0.1",
    ),
    "expired": (
        lambda root: root.issue("host", usage=(), alternative=[_number()], begins=now() - 3 * HOUR, ends=now() - HOUR),
        "it has expired",
    ),
    "for clients only": (
        lambda root: root.issue("host", usage=[ExtendedKeyUsageOID.CLIENT_AUTH], alternative=[_number()]),
        "not meant for servers",
    ),
    "a user's proxy": (lambda root: root.host().proxy(), "proxy"),
}


def _number() -> x509.GeneralName:
    import ipaddress

    return x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@pytest.mark.parametrize("case", BAD)
def test_a10_nothing_is_sent_to_who_shows_a_certificate_that_is(
    rig: Make, root: Authority, tmp_path: Path, case: str
) -> None:
    make, reason = BAD[case]
    with consumer(tmp_path, make(root)) as (port, shown):
        said = str(rig().post(port))
    assert said.startswith("CertificateError: ")
    assert reason in said
    assert shown == []


def test_a_certificate_that_was_revoked_is_refused_once_the_files_say_so(
    rig: Make, root: Authority, tmp_path: Path
) -> None:
    sender, host = rig(), root.host()
    with consumer(tmp_path, host) as (port, shown):
        assert sender.post(port, "localhost") == 202
        root.revoked.append(host.certificate.serial_number)
        root.install(sender.authorities, crl=root.crl())
        assert sender.tls.kept.look()
        assert "it was revoked" in str(sender.post(port)), "on a connection of its own"
    assert len(shown) == 1


def test_a_consumer_that_asks_is_shown_the_services_own_certificate(rig: Make, root: Authority, tmp_path: Path) -> None:
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate, key = root.issue("service", usage=both).write(tmp_path, "service")
    with consumer(tmp_path, root.host(), callers=root) as (port, shown):
        assert rig(certificate=certificate, private_key=key).post(port) == 202
        assert "CertificateError" not in str(rig().post(port)), "its end, not ours"
    assert [dict(part[0] for part in each["subject"])["commonName"] for each in shown] == ["service"]


def test_plain_http_behind_https_is_no_success(rig: Make) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]

        def answer() -> None:
            connection, _ = plain.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        said = rig().post(port)
        thread.join(120)
    assert isinstance(said, str)
