"""The consumer over real HTTP on loopback; the service's side of the subscription is played by a recorder."""

import http.client
import logging
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from lxml import etree

from flyinglow.client import Consumer, Epr, Notification, Resource, Watch
from flyinglow.client.listener import LARGEST
from flyinglow.nodectl.errors import DeniedError, InvalidError, TransientError, UnknownError

WSNT = "http://docs.oasis-open.org/wsn/b-2"
ANSWER = (
    f'<A xmlns="{WSNT}" xmlns:a="http://www.w3.org/2005/08/addressing"><SubscriptionReference><a:Address>'
    "http://there/subscription/s1</a:Address></SubscriptionReference><CurrentTime>2030-01-01T12:00:00Z</CurrentTime>"
    "<TerminationTime>2030-01-01T12:00:{seconds:02}Z</TerminationTime></A>"
)


class Recorder:
    """Stands for the wire: remembers calls, answers or raises what it is told to."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, str, dict[str, Any]]] = queue.Queue()
        self.seconds = 59
        self.refuse: dict[str, Exception] = {}

    def call(self, service: str, operation: str, to: Epr, /, *arguments: Any, **parts: Any) -> Any:
        self.calls.put((operation, to.url, parts))
        if operation in self.refuse:
            raise self.refuse[operation]
        return etree.fromstring(ANSWER.format(seconds=self.seconds))

    def next(self) -> tuple[str, str, dict[str, Any]]:
        return self.calls.get(timeout=120)


@pytest.fixture
def wire() -> Recorder:
    return Recorder()


@pytest.fixture
def resource(wire: Recorder) -> Resource:
    return Resource(wire, Epr("http://there/workspace/w1"), "w1")  # type: ignore[arg-type]


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with Consumer() as made:
        yield made


def message(*sequences: int, message_id: str = "urn:m1", payload: str = "StateChange", name: str = "w1") -> bytes:
    told = "".join(
        "<n:NotificationMessage><n:ProducerReference><a:Address>http://there/workspace/w1</a:Address>"
        f'</n:ProducerReference><n:Message><f:{payload} sequence="{n}"><f:Source><f:Kind>workspace</f:Kind>'
        f"<f:Name>{name}</f:Name></f:Source><f:Time>2030-01-01T12:00:00Z</f:Time><f:State>Running</f:State>"
        '<f:Census><f:Total>3</f:Total><f:Count state="Running">3</f:Count></f:Census>'
        f"</f:{payload}></n:Message></n:NotificationMessage>"
        for n in sequences
    )
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:f="urn:flyinglow:types:1" '
        f'xmlns:n="{WSNT}" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:MessageID>{message_id}'
        f"</a:MessageID></s:Header><s:Body><n:Notify>{told}</n:Notify></s:Body></s:Envelope>"
    ).encode()


def post(url: str, body: bytes, **headers: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    try:
        connection.request("POST", parts.path, body=body, headers={"Content-Type": "text/xml", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def taken(watch: Watch, count: int) -> list[Notification | None]:
    return [watch.queue.get(timeout=120) for _ in range(count)]


def test_several_notifications_of_one_message_come_in_order(consumer: Consumer, resource: Resource) -> None:
    watch = consumer.watch(resource)
    assert post(watch.address, message(1, 2, 3)) == 202
    found = taken(watch, 3)
    assert [each and each.sequence for each in found] == [1, 2, 3]
    assert found[0] is not None
    assert (found[0].state, found[0].census, found[0].kind) == ("Running", {"Running": 3}, "workspace")


def test_what_is_told_twice_comes_once(consumer: Consumer, resource: Resource) -> None:
    watch = consumer.watch(resource)
    assert post(watch.address, message(1)) == 202
    assert post(watch.address, message(1)) == 202  # the same message again
    assert post(watch.address, message(9)) == 202  # whatever bears the id of one that was taken
    assert post(watch.address, message(1, 2, message_id="urn:m2")) == 202  # made anew, with one more in it
    assert [each and each.sequence for each in taken(watch, 2)] == [1, 2]
    assert watch.queue.empty()


def test_every_watch_has_a_secret_of_its_own(consumer: Consumer, resource: Resource) -> None:
    one, other = consumer.watch(resource), consumer.watch(resource)
    assert len({one.address, other.address}) == 2
    assert len(urlsplit(one.address).path) > 30
    assert post(consumer.url + "/guessed", message(1)) == 404
    assert post(consumer.url + "/", message(1)) == 404
    assert one.queue.empty()


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"<a/>", b"<!DOCTYPE a><a/>", message(1).replace(b"n:Notify", b"n:Tell")]
)
def test_what_is_no_notify_is_refused(consumer: Consumer, resource: Resource, body: bytes) -> None:
    watch = consumer.watch(resource)
    assert post(watch.address, body) == 400
    assert watch.queue.empty()
    assert post(watch.address, message(1)) == 202  # and harms nobody


def test_bodies_are_bounded(consumer: Consumer, resource: Resource) -> None:
    watch = consumer.watch(resource)
    assert post(watch.address, b"x", **{"Content-Length": str(LARGEST + 1)}) == 413
    assert post(watch.address, b"x", **{"Content-Length": "-1"}) == 411


def test_the_watch_ends_with_its_resource(consumer: Consumer, resource: Resource) -> None:
    watch = consumer.watch(resource)
    post(watch.address, message(1))
    post(watch.address, message(2, message_id="urn:m2", payload="TerminationNotice"))
    assert [news.topic for news in watch] == ["state", "termination"]


def test_callbacks_are_called_in_order_and_what_they_raise_is_logged(
    consumer: Consumer, resource: Resource, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    done = threading.Event()

    def callback(news: Notification) -> None:
        heard.append(news.sequence)
        if news.sequence == 3:
            done.set()
        raise RuntimeError("the user's own mistake")

    watch = consumer.watch(resource, callback=callback)
    post(watch.address, message(1, 2))
    post(watch.address, message(3, message_id="urn:m2"))
    assert done.wait(120)
    consumer.close()
    assert heard == [1, 2, 3]
    assert sum("the user's own mistake" in str(record.exc_info) for record in caplog.records) == 3


def test_a_slow_callback_holds_up_no_answer(consumer: Consumer, resource: Resource) -> None:
    let_go = threading.Event()
    watch = consumer.watch(resource, callback=lambda _: let_go.wait(120))
    began = time.monotonic()
    assert [post(watch.address, message(n, message_id=f"urn:m{n}")) for n in range(3)] == [202] * 3
    assert time.monotonic() - began < 60
    let_go.set()


def test_what_is_asked_for(consumer: Consumer, resource: Resource, wire: Recorder) -> None:
    watch = consumer.watch(resource, topics=("state", "warning"), lifetime=120)
    operation, url, parts = wire.next()
    assert (operation, url) == ("Subscribe", "http://there/workspace/w1")
    assert parts["ConsumerReference"] == {"Address": {"_value_1": watch.address}}
    assert parts["InitialTerminationTime"] == "PT120S"
    assert [each.text for each in parts["Filter"]["_value_1"]] == ["fl:state", "fl:warning"]
    with pytest.raises(InvalidError, match="weather"):
        consumer.watch(resource, topics=("weather",))


def test_a_refused_subscription_leaves_nothing(consumer: Consumer, resource: Resource, wire: Recorder) -> None:
    wire.refuse["Subscribe"] = DeniedError("not to loopback")
    with pytest.raises(DeniedError):
        consumer.watch(resource)
    assert not consumer._listener.takers


def test_subscriptions_are_renewed_made_anew_and_ended(consumer: Consumer, resource: Resource, wire: Recorder) -> None:
    wire.seconds = 1
    watch = consumer.watch(resource)
    assert wire.next()[0] == "Subscribe"
    assert wire.next()[:2] == ("Renew", "http://there/subscription/s1")
    wire.refuse["Renew"] = UnknownError("no such subscription")
    while (operation := wire.next()[0]) == "Renew":
        pass
    assert operation == "Subscribe"
    wire.refuse["Subscribe"] = UnknownError("no such workspace")
    assert list(watch) == []  # the resource is gone: the iteration ends


def test_closing_unsubscribes_and_is_quiet_about_what_is_gone(resource: Resource, wire: Recorder) -> None:
    wire.refuse["Unsubscribe"] = TransientError("the service is down")
    with Consumer() as consumer:
        watch = consumer.watch(resource)
    assert [wire.next()[0] for _ in range(2)] == ["Subscribe", "Unsubscribe"]
    assert list(watch) == []
    with pytest.raises(OSError, match="refused"):
        post(watch.address, message(1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("flyinglow-")]


def test_secrets_stay_out_of_the_log(consumer: Consumer, resource: Resource, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "flyinglow.client")
    watch = consumer.watch(resource)
    post(watch.address, message(1))
    post(watch.address, b"nonsense")
    assert caplog.records
    assert urlsplit(watch.address).path not in caplog.text


def test_a_port_that_is_taken(consumer: Consumer) -> None:
    with pytest.raises(TransientError, match="cannot listen"):
        Consumer(port=int(consumer.url.rpartition(":")[2]))
