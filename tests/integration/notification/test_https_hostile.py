"""Https consumers that mean harm, or could be made to: what they get is a failure with a reason, in time."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from flyinglow.backend.testing import ReactorThread
from flyinglow.notification.sender import SenderSettings
from rigs.authority import Authority, Credential
from rigs.https_consumer import HttpsRig, consumer

LIMIT = 120
SHORT = SenderSettings(connect_timeout=60, timeout=3)


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


@pytest.fixture
def rig(reactor_thread: ReactorThread, tmp_path: Path, root: Authority) -> Iterator[HttpsRig]:
    made = HttpsRig(reactor_thread, tmp_path, root, settings=SHORT)
    yield made
    made.stop()


@contextmanager
def served(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept one connection and do with it what ``talk`` does; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)

        def serve() -> None:
            connection, _ = server.accept()
            connection.settimeout(LIMIT)
            with connection:
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(LIMIT)
        assert not thread.is_alive()


def _context(directory: Path, credential: Credential) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*credential.write(directory, "hostile"))
    return made


def test_a10_a_handshake_that_nobody_answers_is_given_up_and_its_connection_closed(rig: HttpsRig) -> None:
    ends: list[bool] = []

    def silent(connection: socket.socket) -> None:
        try:
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass
        ends.append(True)

    with served(silent) as port:
        assert "TimeoutError" in str(rig.post(port))
    assert ends == [True], "the other end saw it closed"


def test_a10_a_handshake_that_drips_is_given_up_as_a_whole(rig: HttpsRig) -> None:
    ends: list[int] = []

    def drip(connection: socket.socket) -> None:
        sent = 0
        try:
            connection.sendall(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb\x03\x03")  # one long record, begun
            connection.settimeout(0.1)
            while True:
                connection.sendall(b"x")
                sent += 1
                try:
                    if not connection.recv(4096):
                        break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        ends.append(sent)

    with served(drip) as port:
        assert "Error" in str(rig.post(port))
    assert len(ends) == 1


def test_a10_a_certificate_of_ten_thousand_names_is_not_read(rig: HttpsRig, root: Authority, tmp_path: Path) -> None:
    names = [x509.DNSName("localhost"), *(x509.DNSName(f"h{at}.bomb.example") for at in range(10_000))]
    bomb = root.issue("host", usage=[ExtendedKeyUsageOID.SERVER_AUTH], alternative=names)
    with consumer(tmp_path, bomb) as (port, shown):
        said = str(rig.post(port, "localhost"))
    assert "TLS failed: excessive message size" in said
    assert shown == []


def test_a10_nothing_is_sent_by_tls_that_is_too_old(rig: HttpsRig, root: Authority, tmp_path: Path) -> None:
    context = _context(tmp_path, root.host())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    came: list[bytes] = []

    def old(connection: socket.socket) -> None:
        try:
            came.append(context.wrap_socket(connection, server_side=True).recv(4096))
        except OSError:
            came.append(b"")

    with served(old) as port:
        assert "ConnectionError: TLS failed: " in str(rig.post(port))
    assert came == [b""]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: https://127.0.0.1:%d/other\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    ],
)
def test_a09_no_answer_over_tls_makes_it_send_anything_again(
    rig: HttpsRig, root: Authority, tmp_path: Path, answer: bytes
) -> None:
    context, came = _context(tmp_path, root.host()), []

    def reply(connection: socket.socket) -> None:
        secured = context.wrap_socket(connection, server_side=True)
        with secured:
            came.append(secured.recv(65536))
            port = secured.getsockname()[1] if b"%d" in answer else 0
            secured.sendall(answer % port if port else answer)
            try:
                while more := secured.recv(65536):
                    came.append(more)
            except OSError:
                pass

    with served(reply) as port:
        said = rig.post(port)
        rig.stop_sending()
    assert said not in range(200, 300)
    assert b"".join(came).count(b"POST") == 1


def test_a09_a_name_that_leads_elsewhere_later_gets_no_tls_connection(
    rig: HttpsRig, root: Authority, tmp_path: Path
) -> None:
    with consumer(tmp_path, root.host()) as (port, shown):
        assert rig.post(port, "localhost") == 202
        rig.stop_sending()
        rig.answers = ["169.254.169.254"]
        assert "is a metadata service" in str(rig.post(port, "localhost"))
        rig.answers = ["127.0.0.1", "::ffff:127.0.0.1"]
        assert "carries an IPv4 address" in str(rig.post(port, "localhost"))
    assert len(shown) == 1
