"""A running service tells a consumer, and a pull point, that a subscription's time is over."""

from http import HTTPStatus
from typing import Any

import pytest
from lxml import etree

from flyinglow.client import Disk, Nic, Part, connect
from flyinglow.client.epr import Epr
from flyinglow.client.listener import Listener
from flyinglow.client.names import NS
from flyinglow.client.reading import child
from flyinglow.nodectl.errors import UnknownError
from rigs.daemon import Daemon, one_store
from rigs.waiting import eventually

PART = Part(name="vm", memory_mb=16, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
ENDED = f"{{{NS['rl']}}}TerminationNotification"


@pytest.mark.full
@one_store
def test_a_consumer_and_a_pull_point_hear_that_a_subscription_is_over(daemon: Daemon) -> None:
    """The service looks for such subscriptions every half minute: too long for every day's run."""
    site = connect(daemon.url)
    lease = site.create([PART], name="vm", duration=600)
    heard: list[Any] = []

    def take(body: bytes) -> HTTPStatus:
        heard.append(etree.fromstring(body))
        return HTTPStatus.ACCEPTED

    listener = Listener("127.0.0.1", 0)
    listener.takers["/in"] = take
    listener.start()
    with site.pull_point() as point:
        wire = lease.whole.wire
        made = []
        for consumer in (f"http://127.0.0.1:{listener.port}/in", point.url):
            asked = {"ConsumerReference": {"Address": {"_value_1": consumer}}, "InitialTerminationTime": "PT5S"}
            answer = wire.call(lease.whole.kind, "Subscribe", lease.whole.epr, **asked)
            made.append(Epr.read(child(answer, "wsnt:SubscriptionReference")))  # type: ignore[arg-type]

        def fetched() -> list[Any]:
            kept = wire.call("pullpoint", "GetMessages", Epr(point.url), _value_1=[_after()])
            return list(kept.iter(ENDED))

        eventually(lambda: [each for message in heard for each in message.iter(ENDED)])
        eventually(fetched)
    listener.close()
    producers = {
        message.findtext("wsnt:ProducerReference/wsa:Address", namespaces=dict(NS))
        for envelope in heard
        for message in envelope.iter(f"{{{NS['wsnt']}}}NotificationMessage")
        if next(message.iter(ENDED), None) is not None
    }
    assert producers == {made[0].url}
    with pytest.raises(UnknownError):
        wire.call("subscription", "Renew", made[0], TerminationTime="PT1H")
    lease.whole.destroy()


def _after() -> Any:
    element = etree.Element(f"{{{NS['fl']}}}After")
    element.text = "0"
    return element
