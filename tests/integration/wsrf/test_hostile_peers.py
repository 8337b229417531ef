"""Peers that mean harm on real sockets: each gets its answer, and nobody else notices."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from rigs.soap import RealService, message, state_of

HEAD = b"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
LIMIT = 1 << 20


def connect(service: RealService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=120)


def answer_of(peer: socket.socket) -> bytes:
    """Read until the other end closes."""
    found = b""
    with suppress(ConnectionResetError):
        while data := peer.recv(65536):
            found += data
    return found


def flow(peer: socket.socket, pieces: Iterator[bytes]) -> None:
    """Send until the other end has had enough."""
    with suppress(BrokenPipeError, ConnectionResetError):
        for piece in pieces:
            peer.sendall(piece)


def whole(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_an_oversize_body_is_refused_before_a_byte_of_it_was_sent(service: RealService) -> None:
    with connect(service) as peer:
        peer.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1))
        assert answer_of(peer).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("service", [1.0], indirect=True)
def test_an_endless_body_is_refused_and_cut_off(service: RealService) -> None:
    with connect(service) as peer:
        peer.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        began = time.monotonic()
        flow(peer, iter(lambda: chunk, b""))
        assert time.monotonic() - began < 100


@pytest.mark.parametrize("service", [1.0], indirect=True)
def test_a_body_that_dribbles_in_times_out(service: RealService) -> None:
    def dribble() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: 1000\r\n\r\n"
        while not done.wait(0.1):
            yield b" "

    done = threading.Event()
    with connect(service) as peer:
        sender = threading.Thread(target=flow, args=(peer, dribble()))
        sender.start()
        began = time.monotonic()
        assert answer_of(peer).startswith(b"HTTP/1.1 408 ")
        assert 0.5 < time.monotonic() - began < 60
        done.set()
        sender.join()


def test_nothing_is_fetched_for_a_message(service: RealService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        doctypes = [
            f'<!DOCTYPE x SYSTEM "{url}">',
            f'<!DOCTYPE x [<!ENTITY e SYSTEM "{url}">]>',
            f'<!DOCTYPE x [<!ENTITY % e SYSTEM "{url}"> %e;]>',
        ]
        bodies = [doctype.encode() + state_of(name="&e;").replace(b"fl:&e;", b"&e;") for doctype in doctypes]
        hint = f'<rp:GetResourceProperty xsi:schemaLocation="urn:evil {url}" xsi:type="q:E" xmlns:q="urn:evil">'
        bodies.append(state_of().replace(b"<rp:GetResourceProperty>", hint.encode()))
        bodies.append(message(f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{url}"/>'))
        reply = f"<wsa:ReplyTo><wsa:Address>{url}</wsa:Address></wsa:ReplyTo>"
        bodies.append(state_of(more=reply))
        for body in bodies:
            with connect(service) as peer:
                peer.sendall(whole(body).replace(b"Host: x", b"Host: x\r\nConnection: close"))
                assert b" 500 " in answer_of(peer)[:20]
        with pytest.raises(TimeoutError):
            trap.accept()


def hostile_deeds(service: RealService, done: threading.Event) -> list[Callable[[], None]]:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    attributes = " ".join(f'a{n}=""' for n in range(60_000))
    bombs = [
        f'<!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]>'.encode() + state_of(name="&a9;"),
        state_of(more="<h xmlns='urn:x'/>" * 50_000),
        message("<x>" * 100_000),
        message(f"<x {attributes}/>"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]

    def throw_bombs() -> None:
        while not done.is_set():
            for bomb in bombs:
                with suppress(OSError), connect(service) as peer:
                    flow(peer, iter([whole(bomb).replace(b"Host: x", b"Host: x\r\nConnection: close")]))
                    answer_of(peer)

    def hold_connections() -> None:
        held = []
        while not done.wait(0.05):
            with suppress(OSError):
                held.append(connect(service))
                held[-1].sendall(b"POST /workspace HTTP/1.1\r\nX")
            if len(held) > 20:
                held.pop(0).close()
        for peer in held:
            peer.close()

    def pour() -> None:
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        while not done.is_set():
            with suppress(OSError), connect(service) as peer:
                flow(peer, iter([HEAD + b"Transfer-Encoding: chunked\r\n\r\n"] + [chunk] * 40))

    return [throw_bombs, hold_connections, pour]


@pytest.mark.alone
def test_other_clients_stay_undisturbed(service: RealService) -> None:
    done = threading.Event()
    threads = [threading.Thread(target=deed) for deed in hostile_deeds(service, done)]
    client = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    client.connect()
    for thread in threads:
        thread.start()
    waits = []
    try:
        for _ in range(150):
            began = time.monotonic()
            client.request("POST", "/workspace", state_of(), {"Content-Type": "text/xml"})
            answer = client.getresponse()
            assert answer.status == 200
            assert b"Running" in answer.read()
            waits.append(time.monotonic() - began)
    finally:
        done.set()
        client.close()
        for thread in threads:
            thread.join(120)
    waits.sort()
    assert not any(thread.is_alive() for thread in threads)
    assert waits[len(waits) // 2] < 5
    assert waits[-1] < 60


def test_too_many_connections_of_one_peer_are_closed_and_places_come_free_again(service: RealService) -> None:
    held = [connect(service) for _ in range(40)]
    with connect(service) as one_too_many:
        assert answer_of(one_too_many) == b""
    for peer in held:
        peer.close()
    deadline = time.monotonic() + 120
    answer = b""
    while not answer and time.monotonic() < deadline:
        with connect(service) as peer, suppress(ConnectionError):
            peer.sendall(whole(state_of()).replace(b"Host: x", b"Host: x\r\nConnection: close"))
            answer = answer_of(peer)
    assert b"Running" in answer
