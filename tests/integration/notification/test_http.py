"""Delivery over real sockets from a real store, to consumers that are kind, slow, greedy or hostile."""

import random
import re
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from flyinglow.backend.testing import ReactorThread
from flyinglow.notification.consumers import ConsumerPolicy, Consumers, RefusedError
from flyinglow.notification.contents import Contents
from flyinglow.notification.delivery import Courier, DeliverySettings
from flyinglow.notification.drainer import Drainer
from flyinglow.notification.envelope import Envelopes
from flyinglow.notification.ledger import Ledger
from flyinglow.notification.model import Subscription
from flyinglow.notification.sender import HttpSender, SenderSettings
from flyinglow.store.store import Store
from flyinglow.wsrf.addresses import Addresses
from rigs.soap import XPATH
from rigs.store import event, subscription

SEQUENCE = re.compile(rb'sequence="(\d+)"')
STEADY = SenderSettings(connect_timeout=30, timeout=30, response_bytes=20_000)  # what is sent is heard once
QUICK = SenderSettings(connect_timeout=2, timeout=1, response_bytes=20_000)


def now() -> datetime:
    return datetime.now(UTC)


class Consumer(Resource):
    """Notes what it was told, by path, and answers as it was made to."""

    isLeaf = True  # noqa: N815 - twisted.web asks for it

    def __init__(self, answer: Callable[[Request], bytes | int] = lambda request: b"") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answer = answer
        self.seen: list[int] = []
        self.requests: list[tuple[str, dict[str, str]]] = []

    def render_POST(self, request: Request) -> bytes | int:
        assert request.content is not None
        self.seen += [int(number) for number in SEQUENCE.findall(request.content.read())]
        headers = {k.decode().lower(): v[0].decode() for k, v in request.requestHeaders.getAllRawHeaders()}
        self.requests.append((request.uri.decode(), headers))
        request.setResponseCode(202)
        return self.answer(request)


class Rig:
    """Listeners, and senders to them, that are all closed in the end."""

    def __init__(self, reactor: Any, pool: ThreadPool) -> None:
        self.reactor = reactor
        self.pool = pool
        self.ports: list[Any] = []
        self.connections = 0
        self.senders: list[HttpSender] = []

    def listen(self, consumer: Resource | Factory) -> int:
        factory: Any = consumer
        if isinstance(consumer, Resource):
            factory = Site(consumer)  # type: ignore[no-untyped-call]
        build = factory.buildProtocol

        def counted(address: Any) -> Any:
            self.connections += 1
            return build(address)

        factory.buildProtocol = counted
        self.ports.append(self.reactor.listenTCP(0, factory, interface="127.0.0.1"))
        return int(self.ports[-1].getHost().port)

    def keep(self, port: int) -> None:
        """Hold a port without listening: who connects is refused, and no other test's server can come by it."""
        self.held = socket.socket()
        self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.held.bind(("127.0.0.1", port))

    def again(self, port: int, consumer: Resource) -> None:
        """Listen once more where a consumer was before."""
        site: Any = Site(consumer)  # type: ignore[no-untyped-call]
        self.held.close()
        self.ports.append(self.reactor.listenTCP(port, site, interface="127.0.0.1"))

    def sender(
        self, resolver: Callable[[str, int], Sequence[str]] = lambda host, port: ["127.0.0.1"],
        settings: SenderSettings = QUICK, **policy: Any,
    ) -> HttpSender:  # fmt: skip
        consumers = Consumers(ConsumerPolicy(**{"allow_loopback": True, **policy}), resolver)
        self.senders.append(HttpSender(reactor=self.reactor, consumers=consumers, pool=self.pool, settings=settings))
        return self.senders[-1]

    async def close(self) -> None:
        for sender in self.senders:
            await sender.close()
        for port in self.ports:
            await maybeDeferred(port.stopListening)


@pytest.fixture
def with_rig(reactor_thread: ReactorThread) -> Iterator[Callable[[Callable[[Rig], Coroutine[Any, Any, Any]]], Any]]:
    """Run a story on the reactor with a rig of its own."""
    pool = ThreadPool(1, 4)
    pool.start()

    def run(story: Callable[[Rig], Coroutine[Any, Any, Any]]) -> Any:
        async def whole() -> Any:
            rig = Rig(reactor_thread.reactor, pool)
            try:
                return await story(rig)
            finally:
                await rig.close()

        return reactor_thread.run(whole, timeout=240)

    yield run
    pool.stop()


HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"urn:x"'}


async def outcome(sender: HttpSender, port: int, host: str = "127.0.0.1") -> int | str:
    try:
        return await sender.post(f"http://{host}:{port}/in?x=1", HEADERS, b"<a/>")
    except Exception as error:  # noqa: BLE001 - which it is is what is asked
        return type(error).__name__


def test_requests_say_what_they_should_and_share_a_connection(with_rig: Any) -> None:
    async def story(rig: Rig) -> None:
        consumer = Consumer()
        port = rig.listen(consumer)
        sender = rig.sender()
        for _ in range(10):
            assert await outcome(sender, port, "client.test") == 202
        uri, headers = consumer.requests[0]
        assert uri == "/in?x=1"
        assert headers["host"] == f"client.test:{port}"
        assert (headers["content-type"], headers["soapaction"]) == (HEADERS["Content-Type"], HEADERS["SOAPAction"])
        assert rig.connections == 1

    with_rig(story)


def test_a_redirect_is_an_answer_not_an_order(with_rig: Any) -> None:
    async def story(rig: Rig) -> None:
        other = Consumer()
        target = rig.listen(other)

        def redirect(request: Any) -> bytes:
            request.redirect(f"http://127.0.0.1:{target}/".encode())
            return b""

        assert await outcome(rig.sender(), rig.listen(Consumer(redirect))) == 302
        assert other.requests == []

    with_rig(story)


def test_a_silent_consumer_ends_with_the_time_limit(with_rig: Any) -> None:
    async def story(rig: Rig) -> None:
        port = rig.listen(Consumer(lambda request: NOT_DONE_YET))
        begun = rig.reactor.seconds()
        assert await outcome(rig.sender(), port) in {"TimeoutError", "ResponseNeverReceived"}
        assert rig.reactor.seconds() - begun < 60

    with_rig(story)


class Flood(Protocol):
    """Answers a request with a beginning, then with the same for ever."""

    def __init__(self, beginning: bytes, again: bytes) -> None:
        self.beginning = beginning
        self.again = again
        self.sent = 0
        self.asked = False

    @property
    def line(self) -> Any:
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        if not self.asked:
            self.asked = True
            self.line.write(self.beginning)
            self.line.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.sent += len(self.again)
        self.line.write(self.again)

    def stopProducing(self) -> None:
        pass


@pytest.mark.parametrize(
    ("beginning", "again", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 1000, {200}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nxxxx\r\n", {200}),
        (b"HTTP/1.1 500 No\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 1000, {500}),
        (b"HTTP/1.1 200 OK\r\n", b"X-Again: and again\r\n", {"ResponseFailed", "ResponseNeverReceived"}),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 1000, {"ResponseFailed", "ResponseNeverReceived", "ParseError"}),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", {"ResponseFailed", "ResponseNeverReceived"}),
        (b"nonsense\r\n\r\n", b"nonsense\r\n", {"ResponseFailed", "ResponseNeverReceived", "ParseError"}),
    ],
)  # fmt: skip
def test_an_endless_answer_is_cut_after_the_limit(
    with_rig: Any, beginning: bytes, again: bytes, expected: set[object]
) -> None:
    async def story(rig: Rig) -> None:
        floods: list[Flood] = []
        factory: Any = Factory()

        def build(address: Any) -> Flood:
            floods.append(Flood(beginning, again))
            return floods[-1]

        factory.buildProtocol = build
        port = rig.listen(factory)
        sender = rig.sender(settings=SenderSettings(timeout=200, response_bytes=20_000))
        begun = rig.reactor.seconds()
        assert await outcome(sender, port) in expected
        assert rig.reactor.seconds() - begun < 100  # cut by size, long before the time limit
        assert floods[0].sent < 20_000_000  # what the sockets' buffers hold, not 10 GB

    with_rig(story)


def test_a_connection_that_was_cut_is_not_used_again(with_rig: Any) -> None:
    async def story(rig: Rig) -> None:
        answers = [b"x" * 50_000, b"fine"]
        consumer = Consumer(lambda request: answers[min(len(consumer.requests), 2) - 1])
        port, sender = rig.listen(consumer), rig.sender()
        assert [await outcome(sender, port) for _ in range(3)] == [202, 202, 202]
        assert rig.connections == 2

    with_rig(story)


def test_the_limit_is_for_each_answer_not_for_the_connection(with_rig: Any) -> None:
    async def story(rig: Rig) -> None:
        port, sender = rig.listen(Consumer(lambda request: b"x" * 5_000)), rig.sender()
        assert [await outcome(sender, port) for _ in range(10)] == [202] * 10
        assert rig.connections == 1

    with_rig(story)


def test_a_name_is_judged_again_at_every_connection(with_rig: Any) -> None:
    """DNS rebinding: the name is harmless when it is subscribed, and means the metadata service later."""

    async def story(rig: Rig) -> None:
        def close(request: Any) -> bytes:
            request.setHeader(b"connection", b"close")
            return b""

        answers = [["127.0.0.1"], ["169.254.169.254"]]
        consumer = Consumer(close)
        port = rig.listen(consumer)
        sender = rig.sender(lambda host, port: answers.pop(0))
        assert await outcome(sender, port, "rebinding.test") == 202
        assert await outcome(sender, port, "rebinding.test") == RefusedError.__name__
        assert len(consumer.requests) == rig.connections == 1

    with_rig(story)


def test_a_refused_port_or_an_unused_one_fails_at_once(with_rig: Any) -> None:
    async def story(rig: Rig) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            assert await outcome(rig.sender(), port) == "ConnectionRefusedError"
        port = rig.listen(Consumer())
        assert await outcome(rig.sender(denied_ports=frozenset({port})), port) == "RefusedError"
        assert await outcome(rig.sender(allow_loopback=False), port) == "RefusedError"
        assert rig.connections == 0

    with_rig(story)


async def until(rig: Rig, condition: Callable[[], bool], seconds: float = 120) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await deferLater(rig.reactor, 0.02)
    raise AssertionError("it did not come to pass")


class Service:
    """The whole of delivery over a store, as the daemon has it."""

    def __init__(self, rig: Rig, url: str, **settings: Any) -> None:
        self.store = Store(url, now=now, reactor=rig.reactor, pool=rig.pool, durable=False)
        self.store.migrate()
        ledger = Ledger(store=self.store, clock=rig.reactor, now=now)
        self.courier = Courier(
            store=self.store, ledger=ledger, sender=rig.sender(settings=STEADY), clock=rig.reactor, now=now,
            random=random.random,
            compose=Envelopes(Addresses("http://site.example:8080")).compose,
            settings=DeliverySettings(first_delay=0.05, longest_delay=0.4, **settings),
        )  # fmt: skip
        contents = Contents(XPATH)
        self.drainer = Drainer(
            store=self.store, folds=[], clock=rig.reactor, now=now, queued=self.courier.wake, contents=contents
        )
        self.store.listen(lambda events: rig.reactor.callFromThread(self.drainer.notice, events))

    async def start(self) -> "Service":
        await self.courier.start()
        self.drainer.start()
        return self

    async def stop(self) -> None:
        await self.drainer.stop()
        await self.courier.stop()
        self.store.close()

    def subscribe(self, number: int, port: int, **changes: Any) -> Deferred[None]:
        row = subscription(number, consumer=f"http://127.0.0.1:{port}/{number}", **changes)
        return self.store.run(lambda tx: tx.subscriptions.add(row))

    def row(self, number: int) -> Subscription:
        row: Subscription | None = self.store.view(lambda tx: tx.subscriptions.get(f"s{number:03}"))
        assert row is not None
        return row

    def happen(self, sequence: int) -> Deferred[None]:
        return self.store.run(lambda tx: tx.outbox.add([event(1, sequence)]))


def test_fifty_consumers_hear_everything_in_order_beside_dead_ones(with_rig: Any, store_url: str) -> None:
    async def story(rig: Rig) -> None:
        consumers = [Consumer() for _ in range(50)]
        hanging = Consumer(lambda request: NOT_DONE_YET)
        service = Service(rig, store_url)
        for number, consumer in enumerate(consumers):
            await service.subscribe(number, rig.listen(consumer))
        dead = rig.listen(hanging)
        for number in range(50, 60):
            await service.subscribe(number, dead)
        await service.start()
        for sequence in range(1, 41):
            await service.happen(sequence)
        await until(rig, lambda: all(len(consumer.seen) >= 40 for consumer in consumers))
        assert all(consumer.seen == list(range(1, 41)) for consumer in consumers)
        assert hanging.requests
        await service.stop()

    with_rig(story)


def test_a_consumer_that_was_down_and_a_restarted_service_lose_nothing(with_rig: Any, store_url: str) -> None:
    async def story(rig: Rig) -> None:
        consumer = Consumer()
        port = rig.listen(consumer)
        service = await Service(rig, store_url).start()
        await service.subscribe(1, port)
        await service.happen(1)
        await until(rig, lambda: consumer.seen == [1])
        # The connection is idle by then, and closed with the others; it would go on to reach the consumer.
        await until(rig, lambda: service.store.view(lambda tx: tx.deliveries.count("s001")) == 0)
        await rig.ports[-1].stopListening()
        rig.keep(port)
        await rig.senders[-1].close()
        for sequence in range(2, 6):
            await service.happen(sequence)
        await until(rig, lambda: bool(service.store.view(lambda tx: tx.subscriptions.get("s001").failures > 1)))
        await service.stop()
        service = await Service(rig, store_url).start()
        await service.happen(6)
        rig.again(port, consumer)
        await until(rig, lambda: len(consumer.seen) >= 6)
        assert consumer.seen == [1, 2, 3, 4, 5, 6]
        await until(rig, lambda: bool(service.store.view(lambda tx: tx.subscriptions.get("s001").failures == 0)))
        await service.stop()

    with_rig(story)


def test_a_consumer_that_failed_too_long_is_paused_and_hears_all_when_it_is_resumed(
    with_rig: Any, store_url: str
) -> None:
    async def story(rig: Rig) -> None:
        def fail(request: Request) -> bytes:
            request.setResponseCode(500)
            return b"<fault/>"

        consumer = Consumer(fail)
        service = await Service(rig, store_url, give_up=1.0).start()
        await service.subscribe(1, rig.listen(consumer))
        await service.happen(1)
        await until(rig, lambda: service.row(1).paused_at is not None)
        assert len(consumer.requests) > 1
        consumer.answer = lambda request: b""
        await service.happen(2)
        resumed = replace(service.row(1), paused_at=None, failures=0, failing_since=None, retry_at=None)
        await service.store.run(lambda tx: tx.subscriptions.write(resumed))
        service.courier.wake([resumed.id])
        await until(rig, lambda: consumer.seen[-2:] == [1, 2])
        await service.stop()

    with_rig(story)
