"""HTTP without a network: what is refused before SOAP, what reaches an endpoint, and when time is up."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import globalLogPublisher

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.access.rates import Rate
from flyinglow.nodectl.errors import DeniedError
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.channel import HttpLimits, Listener
from flyinglow.wsrf.gate import Gate
from flyinglow.wsrf.transport import client_site
from flyinglow.wsrf.xml import E, qname
from rigs.soap import Shelf, endpoint, message, start_port, state_of

LIMITS = HttpLimits(body_bytes=4000, request_seconds=10, idle_seconds=60, answer_seconds=5, connections=3, pending=2,
                    connections_per_peer=2, headers=20)  # fmt: skip


class Reactor(MemoryReactorClock):
    """Runs at once what a thread asks for."""

    def callFromThread(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        f(*args, **kwargs)


class Pool:
    """Runs calls at once, or keeps them when told to."""

    def __init__(self) -> None:
        self.kept: list[Callable[[], None]] | None = None

    def spend(self, size: int) -> None:
        self.spent = size

    def callInThreadWithCallback(self, done: Callable[[bool, Any], None], function: Any, *args: Any, **kw: Any) -> None:
        def run() -> None:
            done(True, function(*args, **kw))

        if self.kept is None:
            run()
        else:
            self.kept.append(run)


class Peer(StringTransport):
    """A connection that notes how it ended."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True


PEER: Any = Peer
REACTOR: Any = Reactor


class Rig:
    def __init__(self, shelf: Shelf, *ports: Any, **options: Any) -> None:
        self.reactor, self.pool = REACTOR(), Pool()
        self.site: Listener = client_site(
            [endpoint(shelf, *ports)],
            reactor=self.reactor,
            pool=self.pool,  # type: ignore[arg-type] # the one method that is used
            addresses=Addresses("http://grid.example"),
            limits=LIMITS,
            **options,
        )

    def connect(self, host: str = "192.0.2.1") -> tuple[Any, Any]:
        transport: Any = PEER(peerAddress=type("Address", (), {"host": host, "port": 7})())
        channel = self.site.buildProtocol(transport.getPeer())
        if channel is not None:
            channel.makeConnection(transport)
        return channel, transport

    def exchange(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        channel, transport = self.connect()
        channel.dataReceived(data)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        channel.connectionLost()
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, body

    def post(self, body: bytes, kind: str = "text/xml", path: str = "/workspace", **more: str) -> tuple[int, bytes]:
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        status, _, answer = self.exchange(head.encode() + body)
        return status, answer

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        return self.exchange(f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())


@pytest.fixture
def rig(shelf: Shelf) -> Rig:
    return Rig(shelf)


def test_both_versions_of_soap_are_answered_in_kind(rig: Rig) -> None:
    for soap, kind in (("1.1", "text/xml"), ("1.2", "application/soap+xml")):
        body = state_of(soap=soap)
        head = f"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        status, headers, answer = rig.exchange(head.encode() + body)
        assert (status, headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert b"Running" in answer
        assert headers["server"] == "flyinglow"


def test_the_id_may_stand_in_the_url(rig: Rig) -> None:
    assert rig.post(state_of(""), path="/workspace/w1")[0] == 200
    status, body = rig.post(state_of(""), path="/workspace/..%2fw1")
    assert status == 500
    assert b"ResourceUnknownFault" in body


def test_a_target_in_absolute_form_is_taken(rig: Rig) -> None:
    assert rig.post(state_of(), path="http://grid.example:80/workspace")[0] == 200


@pytest.mark.parametrize("kind", ["text/html", "application/json", "", "text/xml2", "multipart/related", "bogus"])
def test_the_wrong_content_type_is_415(rig: Rig, kind: str) -> None:
    assert rig.post(state_of(), kind) == (415, b"")


def test_a_packed_body_is_415(rig: Rig) -> None:
    assert rig.post(b"\x1f\x8b", Content_Encoding="gzip")[0] == 415


@pytest.mark.parametrize("charset", ["bogus", "utf-7", "utf-32", "\\x00"])
def test_an_unknown_character_set_is_a_fault(rig: Rig, charset: str) -> None:
    status, body = rig.post(state_of(), f'text/xml; charset="{charset}"')
    assert status == 500
    assert b"Client" in body


def test_the_transports_character_set_counts(rig: Rig) -> None:
    assert rig.post(state_of().decode().encode("utf-16-le"), "text/xml; charset=utf-16le")[0] == 200


def test_a_soap_action_reaches_the_endpoint(rig: Rig) -> None:
    header = "<wsa:Action>urn:a</wsa:Action>"
    assert b"ActionMismatch" in rig.post(state_of(more=header), SOAPAction='"urn:b"')[1]
    assert b"ActionNotSupported" in rig.post(state_of(more=header), SOAPAction='"urn:a"')[1]
    twelve = state_of(more=header, soap="1.2")
    assert b"ActionMismatch" in rig.post(twelve, 'application/soap+xml; action="urn:b"')[1]


@pytest.mark.parametrize("path", ["/", "/nope", "/workspace/a/b", "/schemas/nope.xsd", "/schemas/../x", "/.."])
def test_unknown_addresses_are_404(rig: Rig, path: str) -> None:
    assert rig.get(path)[0] == 404


def test_other_methods_are_405(rig: Rig) -> None:
    for method in ("PUT", "DELETE", "GET", "OPTIONS", "BREW"):
        status, headers, _ = rig.get("/workspace", method)
        assert (status, headers["allow"]) == (405, "post")


def test_the_wsdl_says_the_configured_address_whatever_the_host_header_says(rig: Rig) -> None:
    for query in ("?wsdl", "?WSDL", "?singleWsdl"):
        status, headers, body = rig.get("/workspace" + query)
        assert (status, headers["content-type"]) == (200, "text/xml; charset=utf-8")
        assert b"evil.example" not in body
        assert {a.get("location") for a in etree.fromstring(body).iter("{*}address")} == {
            "http://grid.example/workspace"
        }
    assert b'"http://grid.example/workspace/w1"' in rig.get("/workspace/w1?wsdl")[2]
    assert b'"../schemas/types.xsd"' in rig.get("/workspace/w1?wsdl")[2]


def test_schemas_are_served_as_they_are(rig: Rig) -> None:
    status, _, body = rig.get("/schemas/types.xsd")
    assert status == 200
    assert b"urn:flyinglow:types:1" in body
    assert rig.get("/schemas/types.xsd", "HEAD")[2] == b""
    assert rig.get("/schemas/types.xsd", "POST")[0] == 405
    status, _, body = rig.get("/schemas/topics.xml")
    assert status == 200
    assert etree.fromstring(body).tag == qname("wstop", "TopicNamespace")


def test_a_long_body_is_413_before_it_is_sent(rig: Rig) -> None:
    channel, transport = rig.connect()
    lines = ["POST /workspace HTTP/1.1", "Host: x", "Expect: 100-continue", "Content-Length: 4001", "", ""]
    channel.dataReceived("\r\n".join(lines).encode())
    assert transport.value().startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in transport.value()
    channel.dataReceived(b"x" * 4001)
    assert transport.value().count(b"HTTP/1.1") == 1
    rig.reactor.advance(2)
    assert transport.aborted


def test_a_body_without_end_is_413(rig: Rig) -> None:
    channel, transport = rig.connect()
    head = b"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    channel.dataReceived(head)
    for _ in range(10):
        channel.dataReceived(b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert transport.value().startswith(b"HTTP/1.1 413 ")
    rig.reactor.advance(2)
    assert transport.aborted


LINE = b"POST /workspace HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("start", [b"P", LINE + b"X", LINE + b"Content-Length: 100\r\n\r\n<"])
def test_a_request_that_dribbles_in_is_408(rig: Rig, start: bytes) -> None:
    channel, transport = rig.connect()
    channel.dataReceived(start)
    for _ in range(9):
        rig.reactor.advance(1)
        channel.dataReceived(b"a")
    assert transport.value() == b""
    rig.reactor.advance(1)
    assert transport.value().startswith(b"HTTP/1.1 408 ")
    rig.reactor.advance(2)
    assert transport.aborted


def test_a_connection_at_rest_is_closed_in_time_and_serves_again_before(rig: Rig) -> None:
    channel, transport = rig.connect()
    body = state_of()
    head = (
        f"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    for count in (1, 2, 3):
        channel.dataReceived(head + body)
        assert transport.value().count(b"HTTP/1.1 200") == count
        rig.reactor.advance(50)
    assert not transport.disconnecting
    rig.reactor.advance(11)
    assert transport.disconnecting
    channel.connectionLost()
    assert rig.reactor.getDelayedCalls() == []


def test_too_many_headers_are_refused(rig: Rig) -> None:
    many = "".join(f"X-{n}: 1\r\n" for n in range(21))
    assert rig.exchange(f"GET /workspace?wsdl HTTP/1.1\r\nHost: x\r\n{many}\r\n".encode())[0] == 400
    long = f"GET /workspace?wsdl HTTP/1.1\r\nHost: x\r\nX: {'y' * 20_000}\r\n\r\n"
    channel, transport = rig.connect()
    channel.dataReceived(long.encode())
    assert transport.disconnecting


def test_connections_are_counted_by_peer_and_in_all(rig: Rig) -> None:
    first, _ = rig.connect("192.0.2.1")
    assert rig.connect("192.0.2.1")[0] is not None
    assert rig.connect("192.0.2.1")[0] is None
    assert rig.connect("192.0.2.2")[0] is not None
    assert rig.connect("192.0.2.3")[0] is None
    first.connectionLost()
    assert rig.connect("192.0.2.3")[0] is not None


def test_too_many_waiting_requests_are_503(shelf: Shelf) -> None:
    rig = Rig(shelf)
    rig.pool.kept = []
    body = state_of()
    head = (
        f"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    peers = [rig.connect(f"192.0.2.{n}") for n in range(3)]
    for channel, _ in peers:
        channel.dataReceived(head + body)
    assert [t.value()[9:12] for _, t in peers] == [b"", b"", b"503"]
    for run in rig.pool.kept:
        run()
    assert [t.value()[9:12] for _, t in peers] == [b"200", b"200", b"503"]


def test_a_caller_who_left_is_not_written_to(shelf: Shelf) -> None:
    rig = Rig(shelf)
    rig.pool.kept = []
    body = state_of()
    channel, transport = rig.connect()
    channel.dataReceived(
        f"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    channel.connectionLost()
    complaints: list[object] = []
    observe: Any = complaints.append
    globalLogPublisher.addObserver(observe)
    for run in rig.pool.kept:
        run()
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert complaints == []
    assert transport.value() == b""


def test_whoever_authenticates_decides_who_calls(shelf: Shelf) -> None:
    callers: list[str] = []

    def authenticate(request: Any) -> Identity:
        if request.getHeader("x-who") is None:
            raise DeniedError("who are you")
        return Identity(request.getHeader("x-who"))

    def act(call: Any) -> Any:
        callers.append(call.caller.name)
        return E["flw"].StartResponse()

    start = start_port(act)
    rig = Rig(shelf, start, authenticate=authenticate)
    asked = message("<flw:Start/>", "<fl:ResourceID>w1</fl:ResourceID>")
    status, body = rig.post(asked)
    assert status == 403
    assert b"who are you" in body
    assert rig.post(asked, X_Who="alice")[0] == 200
    assert callers == ["alice"]
    assert LOCAL.name not in callers


def test_an_operation_that_waits_is_answered_when_it_is_done(shelf: Shelf) -> None:
    later: Deferred[Any] = Deferred()
    rig = Rig(shelf, start_port(lambda call: later))
    channel, transport = rig.connect()
    send(channel, message("<flw:Start/>", "<fl:ResourceID>w1</fl:ResourceID>"))
    assert transport.value() == b""
    later.callback(E["flw"].StartResponse())
    assert transport.value().startswith(b"HTTP/1.1 200 ")


def test_a_coroutine_that_fails_is_a_fault(shelf: Shelf) -> None:
    async def act() -> Any:
        raise DeniedError("not today")

    rig = Rig(shelf, start_port(lambda call: act()))
    status, body = rig.post(message("<flw:Start/>", "<fl:ResourceID>w1</fl:ResourceID>"))
    assert status == 500
    assert b"not today" in body


def test_an_operation_that_waits_too_long_is_a_transient_fault(shelf: Shelf) -> None:
    rig = Rig(shelf, start_port(lambda call: Deferred()))
    channel, transport = rig.connect()
    send(channel, message("<flw:Start/>", "<fl:ResourceID>w1</fl:ResourceID>"))
    rig.reactor.advance(4.9)
    assert transport.value() == b""
    rig.reactor.advance(0.2)
    head, _, body = transport.value().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert etree.fromstring(body).find(f".//{qname('fl', 'TransientFault')}") is not None


def send(channel: Any, body: bytes) -> None:
    head = f"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    channel.dataReceived(head.encode() + body)


def _fault(headers: dict[str, str], body: bytes) -> tuple[str, str | None]:
    root = etree.fromstring(body)
    assert root.find(f".//{qname('fl', 'TransientFault')}") is not None
    return headers["retry-after"], root.findtext(f".//{qname('fl', 'Figure')}")


def test_who_sends_too_many_is_told_when_to_come_again_and_others_are_served(shelf: Shelf) -> None:
    clock = Reactor()  # type: ignore[no-untyped-call]
    gate = Gate(clock.seconds, identity=Rate(0.5, 2))

    def authenticate(request: Any) -> Identity:
        return Identity(request.getHeader("x-who") or "alice", via="x509")

    rig = Rig(shelf, authenticate=authenticate, gate=gate)
    body = state_of()
    head = f"POST /workspace HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n".encode()
    answers = [rig.exchange(head + b"\r\n" + body) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert _fault(*answers[2][1:]) == ("2", "2")
    assert rig.exchange(head + b"X-Who: bob\r\n\r\n" + body)[0] == 200
    clock.advance(2)
    assert rig.exchange(head + b"\r\n" + body)[0] == 200


def test_a_guesser_of_credentials_is_slowed_down_whoever_he_says_he_is(shelf: Shelf) -> None:
    asked: list[str] = []

    def authenticate(request: Any) -> Identity:
        asked.append(request.getHeader("x-who"))
        raise DeniedError("who are you")

    clock = Reactor()  # type: ignore[no-untyped-call]
    rig = Rig(shelf, authenticate=authenticate, gate=Gate(clock.seconds, address=Rate(1.0, 2)))
    assert [rig.post(state_of(), X_Who=f"{at}")[0] for at in range(4)] == [403, 403, 429, 429]
    assert asked == ["0", "1", "2", "3"]


def test_who_shares_an_address_with_a_guesser_is_served(shelf: Shelf) -> None:
    def authenticate(request: Any) -> Identity:
        if (who := request.getHeader("x-who")) == "alice":
            return Identity(who, via="bearer")
        raise DeniedError("who are you")

    clock = Reactor()  # type: ignore[no-untyped-call]
    rig = Rig(shelf, authenticate=authenticate, gate=Gate(clock.seconds, address=Rate(1.0, 1)))
    said = [rig.post(state_of(), X_Who=who)[0] for who in ("eve", "eve", "alice", "eve", "alice")]
    assert said == [403, 429, 200, 429, 200]


def test_one_identity_waits_in_no_more_than_its_places(shelf: Shelf) -> None:
    gate = Gate(lambda: 0.0, waiting=1)
    rig = Rig(shelf, authenticate=lambda request: Identity(request.getHeader("x-who"), via="x509"), gate=gate)
    rig.pool.kept = []
    body = state_of()

    def send(who: str, at: int) -> Any:
        channel, transport = rig.connect(f"192.0.2.{at}")
        head = f"POST /workspace HTTP/1.1\r\nHost: x\r\nX-Who: {who}\r\nContent-Type: text/xml\r\n"
        channel.dataReceived(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return transport

    peers = [send("alice", 1), send("alice", 2), send("bob", 3)]
    assert [peer.value()[9:12] for peer in peers] == [b"", b"503", b""]
    for run in rig.pool.kept:
        run()
    assert [peer.value()[9:12] for peer in peers] == [b"200", b"503", b"200"]
    assert gate.enter(Identity("alice", via="x509"))
