"""Pilots' messages over real sockets into a real store."""

import http.client
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from flyinglow.backend.abilities import Reply
from flyinglow.backend.api import Order
from flyinglow.backend.lrm.states import SlotState
from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.nodectl.messages import OrderName
from flyinglow.pilot.messages import MAX_BYTES, PATH, Answer, Kind, Standing
from flyinglow.server import listeners, node_door
from flyinglow.server.configuration.settings import NodeListener
from rigs import pilot_loop
from rigs.intake import SignedPilot
from rigs.node_service import NodeService, Serve, serve
from rigs.store import store_url

__all__ = ["serve", "store_url"]

LIST = Order(OrderName.LIST)


@contextmanager
def connected(service: NodeService) -> Iterator[http.client.HTTPConnection]:
    way = http.client.HTTPConnection(*service.address, 120)
    try:
        yield way
    finally:
        way.close()


def secure(service: NodeService, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    host, port = service.address
    return http.client.HTTPSConnection(host, port, context=context, timeout=180)


def post(way: http.client.HTTPConnection, data: bytes, path: str = PATH) -> Reply:
    way.request("POST", path, data)
    reply = way.getresponse()
    return Reply(reply.status, reply.read())


def say(way: http.client.HTTPConnection, pilot: SignedPilot, data: bytes) -> Answer:
    return pilot.read(data, post(way, data))


def test_a_pilots_life_over_one_kept_connection(serve: Serve) -> None:
    service = serve()
    pilot = service.pilot()
    with connected(service) as way:
        for kind in (Kind.HELLO, Kind.READY, Kind.SIGNALLED, Kind.RELEASING, Kind.RELEASED):
            assert say(way, pilot, pilot.report(kind, {"left": 60})).ack == pilot.sequence
            kept = way.sock
            assert kept
    slot = service.slots()[pilot.slot]
    assert (slot.state, slot.node, slot.secret) == (SlotState.RELEASED, "n1", pilot.key)
    assert [row.kind for row in service.trail(pilot.slot)] == ["hello", "ready", "signalled", "releasing", "released"]


def test_bad_messages_over_the_socket_change_nothing(serve: Serve) -> None:
    service = serve()
    pilot, other = service.pilot(0), service.pilot(1, node="n2")
    with connected(service) as way:
        for one in (pilot, other):
            say(way, one, one.report(Kind.HELLO))
        before = service.slots()
        ready = pilot.seal(Kind.READY, sequence=2)
        forged = SignedPilot(pilot.slot, other.key).seal(Kind.READY, sequence=2)
        assert post(way, forged).status == 403
        assert post(way, ready[:-20]).status == 400
        assert post(way, b"\xff" * 1000).status == 400
        assert say(way, pilot, pilot.seal(Kind.READY, sequence=2, node="n2")).error
        assert say(way, pilot, pilot.seal(Kind.READY, sequence=5)).ack == 1  # one is missing
        assert service.slots() == before
        assert [say(way, pilot, ready).ack for _ in range(3)] == [2, 2, 2]
    assert len(service.trail(pilot.slot)) == 2


def test_what_is_not_a_message_is_turned_away(serve: Serve) -> None:
    service = serve()
    with connected(service) as way:
        assert post(way, b"{}", "/").status == 404
        assert post(way, b"{}", PATH + "/more").status == 404
        way.request("GET", PATH)
        reply = way.getresponse()
        assert (reply.status, reply.getheader("Allow"), bool(reply.read())) == (405, "POST", True)
        way.putrequest("POST", PATH)
        way.putheader("Content-Length", str(MAX_BYTES + 1))
        way.endheaders()
        assert way.getresponse().status == 413


def test_a_body_that_comes_too_slowly_is_cut_off(serve: Serve) -> None:
    service = serve(timeout=0.5)
    with socket.create_connection(service.address, timeout=120) as slow:
        slow.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{" % PATH.encode())
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_more_connections_than_allowed_are_closed(serve: Serve) -> None:
    service = serve(max_connections=2)
    with connected(service) as one, connected(service) as two, connected(service) as three:
        assert {post(way, b"x").status for way in (one, two)} == {400}
        with pytest.raises((http.client.RemoteDisconnected, OSError)):
            post(three, b"x")


def test_a_poll_outlives_the_time_limit_of_requests(serve: Serve) -> None:
    service = serve(timeout=1.5)
    pilot = service.pilot()
    with connected(service) as way, ThreadPoolExecutor(1) as pool:
        say(way, pilot, pilot.report(Kind.HELLO))
        say(way, pilot, pilot.poll())
        data = pilot.poll()
        held = pool.submit(post, way, data)
        with pytest.raises(TimeoutError):
            held.result(2.5)
        service.standings[pilot.slot] = Standing(warned=4)
        service.reactor_thread.call(service.intake.wake, [pilot.slot])
        assert pilot.read(data, held.result(120)).standing.warned == 4


def test_a_stop_of_the_service_answers_its_polls_and_the_pilot_goes_on_with_the_next_run(
    serve: Serve,
) -> None:
    service = serve()
    pilot = service.pilot()
    with connected(service) as way, ThreadPoolExecutor(1) as pool:
        say(way, pilot, pilot.report(Kind.HELLO))
        say(way, pilot, pilot.poll())
        data = pilot.poll()
        held = pool.submit(post, way, data)
        with pytest.raises(TimeoutError):
            held.result(0.3)
        service.stop()
        pilot.read(data, held.result(120))
    first = pilot.session
    service.start()
    with connected(service) as way:
        assert say(way, pilot, pilot.report(Kind.READY)).ack == 2
        assert pilot.session != first


def test_a_service_that_is_killed_between_storing_and_answering(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve()
    pilot = service.pilot()
    with connected(service) as way:
        say(way, pilot, pilot.report(Kind.HELLO))
        ready = pilot.report(Kind.READY)
        monkeypatch.setattr(service.intake, "_acknowledged", lambda *_: 1 / 0)
        assert post(way, ready).status == 500
    service.stop()
    service.start()
    changes = len(service.changes)
    with connected(service) as way:
        assert say(way, pilot, ready).ack == 2
    assert len(service.changes) == changes
    assert [row.kind for row in service.trail(pilot.slot)] == ["hello", "ready"]


def test_messages_that_are_not_whole_may_not_fill_the_memory(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_door, "_UNREAD", 100_000)
    service = serve()
    pilot = service.pilot()
    with connected(service) as one, connected(service) as two, connected(service) as three:
        for way, answer in ((one, None), (two, 503)):
            way.putrequest("POST", PATH)
            way.putheader("Content-Length", "70001")
            way.endheaders(b"x" * 70_000)
            if answer:
                assert way.getresponse().status == answer
        assert say(three, pilot, pilot.report(Kind.HELLO)).ack == 1  # small ones get through
        one.send(b"x")
        assert one.getresponse().status == 400
        assert service._site.unread == 0


def test_reports_in_each_kind_of_database(serve: Serve, store_url: str) -> None:
    service = serve(64, database=store_url)
    pilots = [service.pilot(rank, node=f"nœud-{rank}") for rank in range(64)]
    with ThreadPoolExecutor(8) as pool:
        ways = [http.client.HTTPConnection(*service.address, 120) for _ in pilots]
        _burst(pool, ways, [pilot.report(Kind.HELLO, {"seconds_up": 1.5e300, "é": [None]}) for pilot in pilots], pilots)
        answers = _burst(pool, ways, [pilot.report(Kind.READY, {"left": 60}) for pilot in pilots], pilots)[1]
        assert {told.ack for told in answers} == {2}
        for body in ({"reason": "a\0"}, {"reason": "\ud800"}):
            error = say(ways[0], pilots[0], pilots[0].seal(Kind.RELEASED, body, sequence=3)).error
            assert error
            assert error["kind"] == "invalid"
        for way in ways:
            way.close()
    slots = service.slots().values()
    assert {slot.state for slot in slots} == {SlotState.READY}
    assert {slot.node for slot in slots} == {f"nœud-{rank}" for rank in range(64)}


# many


def test_256_pilots_ready_at_once_are_all_stored_and_acknowledged(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    service = serve(256)
    pilots = [service.pilot(rank, node=f"n{rank}") for rank in range(256)]
    with ThreadPoolExecutor(32) as pool:
        ways = [http.client.HTTPConnection(*service.address, 120) for _ in pilots]
        hellos = _burst(pool, ways, [pilot.report(Kind.HELLO) for pilot in pilots], pilots)
        began_cpu = resource.getrusage(resource.RUSAGE_SELF)
        readies = _burst(pool, ways, [pilot.report(Kind.READY, {"left": 60}) for pilot in pilots], pilots)
        ended_cpu = resource.getrusage(resource.RUSAGE_SELF)
        for way in ways:
            way.close()
    assert {told.ack for told in readies[1]} == {2}
    assert {slot.state for slot in service.slots().values()} == {SlotState.READY}
    cpu = ended_cpu.ru_utime + ended_cpu.ru_stime - began_cpu.ru_utime - began_cpu.ru_stime
    with capsys.disabled():
        sys.stdout.write(
            f"\n256 hellos {hellos[0]:.2f} s, 256 ready {readies[0]:.2f} s"
            f" (CPU of service and 256 clients in one process: {cpu:.2f} s)\n"
        )


def _burst(
    pool: ThreadPoolExecutor, ways: list[http.client.HTTPConnection], data: list[bytes], pilots: list[SignedPilot]
) -> tuple[float, list[Answer]]:
    """Send all, then read all answers; what the pilots make of them is not counted."""
    for way in ways:
        if way.sock is None:
            way.connect()
    began = time.perf_counter()
    for way, one in zip(ways, data, strict=True):
        way.request("POST", PATH, one)
    replies = list(pool.map(lambda way: (got := way.getresponse(), got.read()), ways))
    took = time.perf_counter() - began
    told = [Reply(reply.status, body) for reply, body in replies]
    return took, [pilot.read(one, reply) for pilot, one, reply in zip(pilots, data, told, strict=True)]


@pytest.mark.alone
def test_an_order_to_16_pilots_and_all_their_answers(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    service = serve(16)
    loops = [_loop(service, rank) for rank in range(16)]
    try:
        for loop in loops:
            assert loop.stdout
            assert loop.stdout.readline() == "ready\n"
        channels = [service.reactor_thread.call(service.lines.channel, slot) for slot in service.slots().values()]
        took = [_round(service, channels) for _ in range(25)][5:]
        with capsys.disabled():
            sys.stdout.write(
                f"\norder to 16 pilots and back: median {median(took) * 1e3:.1f} ms, worst {max(took) * 1e3:.1f} ms\n"
            )
        service.standings.update({slot_id: Standing(end=True) for slot_id in service.slots()})
        service.reactor_thread.call(service.intake.wake, list(service.slots()))
        assert [loop.wait(120) for loop in loops] == [0] * 16
    finally:
        for loop in loops:
            loop.kill()
            loop.communicate()


def _loop(service: NodeService, rank: int) -> subprocess.Popen[str]:
    host, port = service.address
    words = [sys.executable, pilot_loop.__file__, host, str(port), f"{service.job.tag}.{rank}", service.job.secret]
    return subprocess.Popen([*words, f"n{rank}"], stdout=subprocess.PIPE, text=True)


def _round(service: NodeService, channels: list[Any]) -> float:
    async def order() -> float:
        from twisted.internet.defer import Deferred

        began = time.perf_counter()
        await gatherResults([Deferred.fromCoroutine(one.send(LIST, 120)) for one in channels])
        return time.perf_counter() - began

    seconds: float = service.reactor_thread.run(order)
    return seconds


# TLS


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=node", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out"]
    subprocess.run([*words, str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)
    return certificate, key


def test_a_pilots_life_over_tls(serve: Serve, keys: tuple[Path, Path]) -> None:
    service = serve(certificate=keys[0], private_key=keys[1])
    assert service.url.startswith("https://")
    pilot = service.pilot()
    trusting = ssl.create_default_context(cafile=str(keys[0]))
    way = secure(service, trusting)
    for kind in (Kind.HELLO, Kind.READY):
        assert say(way, pilot, pilot.report(kind)).ack == pilot.sequence
    way.close()
    strange = secure(service, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        post(strange, b"x")
    with connected(service) as plain, pytest.raises((http.client.HTTPException, OSError)):
        post(plain, pilot.report(Kind.RELEASED))
    assert service.slots()[pilot.slot].state is SlotState.READY


def test_more_tls_connections_than_allowed_are_closed(serve: Serve, keys: tuple[Path, Path]) -> None:
    service = serve(certificate=keys[0], private_key=keys[1], max_connections=1)
    trusting = ssl.create_default_context(cafile=str(keys[0]))
    first, second = (secure(service, trusting) for _ in range(2))
    assert post(first, b"x").status == 400
    with pytest.raises((ssl.SSLError, OSError)):
        post(second, b"x")
    first.close()


def test_tls_files_that_will_not_do_are_named(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    certificate, key = keys
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    rubbish.chmod(0o600)
    faults = [
        ((certificate, None), InvalidError, "both certificate and private_key"),
        ((certificate, tmp_path / "none"), BrokenError, "none cannot be read"),
        ((tmp_path / "none", key), BrokenError, "none cannot be read"),
        ((rubbish, key), BrokenError, "rubbish.pem is not what it should be"),
        ((certificate, rubbish), BrokenError, "rubbish.pem is not what it should be"),
    ]
    for (one, two), error, match in faults:
        with pytest.raises(error, match=match):
            listeners.bind(NodeListener(port=0, certificate=one, private_key=two))
    key.chmod(0o644)
    with pytest.raises(BrokenError, match="everyone can read"):
        listeners.bind(NodeListener(port=0, certificate=certificate, private_key=key))


def test_without_the_packages_for_tls_it_says_which(keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    with pytest.raises(InvalidError, match="pyopenssl"):
        listeners.bind(NodeListener(port=0, certificate=keys[0], private_key=keys[1]))


def test_a_back_end_that_nobody_reports_to_offers_nothing(serve: Serve) -> None:
    from flyinglow.server.node_door import node_site

    service = serve()
    service.stop()
    bound = listeners.bind(NodeListener(port=0))
    site = node_site(object(), bound.listener, service.reactor_thread.reactor)  # type: ignore[arg-type]
    service.address = bound.socket.getsockname()[:2]
    service._port = service.reactor_thread.call(bound.serve, service.reactor_thread.reactor, site)
    with connected(service) as way:
        assert post(way, b"{}").status == 404
