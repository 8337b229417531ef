"""A subscription whose time is over says so to its consumer, once, before it is gone."""

from datetime import timedelta
from typing import Any

import pytest
from twisted.internet.task import Clock

from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import UnknownError
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.contents import Contents
from flyinglow.notification.model import ENDING, Subscription
from flyinglow.notification.service import FAREWELL, SubscriptionService
from rigs.notification import START, World
from rigs.soap import XPATH

END = START + timedelta(seconds=10)


class Swept:
    """The sweep of a world, and whom it wakes after its transaction."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._woken: list[str] = []
        self.service = SubscriptionService(
            store=world.store,
            consumers=Consumers(ConsumerPolicy()),
            now=world.now,
            new_id=str,
            contents=Contents(XPATH),
            woken=self._woken.extend,
        )

    def sweep(self) -> int:
        """Sweep, and return how many went without a word."""
        gone = self._world.store.call(self.service.expire)
        woken, self._woken[:] = list(self._woken), []
        self._world.courier.wake(woken)
        return gone


def test_its_consumer_is_told_once_and_then_it_is_gone(world: World, clock: Any) -> None:
    consumer = world.subscribe("s1", ends_at=END)
    later = world.subscribe("s2", ends_at=END + timedelta(days=1))
    swept = Swept(world.build().start())
    world.happen()
    clock.advance(10)
    with pytest.raises(UnknownError):
        swept.service.get(Identity("ann"), "s1")
    world.happen()
    for _ in range(3):
        assert swept.sweep() == 0
    assert world.sender.told(consumer) == ["a1", ""]
    assert world.sender.told(later) == ["a1", "a2"]
    assert world.row("s1") is None
    assert world.row("s2") is not None


def test_a_consumer_that_does_not_answer_is_told_once_all_the_same(world: World, clock: Any) -> None:
    world.subscribe("s1", ends_at=END)
    swept = Swept(world.build().start())
    world.sender.answer = lambda address, count: ConnectionError("away")
    clock.advance(10)
    assert swept.sweep() == 0
    assert len(world.sender.posts) == 1
    assert world.row("s1") is None


@pytest.mark.parametrize(
    "more",
    [
        {"topics": ["state"]},
        {"raw": True},
        {"filter_xml": "<wsnt:MessageContent/>"},
        {"failures": 3},
        {"paused_at": START},
    ],
)
def test_who_did_not_ask_for_ends_or_does_not_listen_is_not_told(world: World, clock: Any, more: Any) -> None:
    world.subscribe("s1", ends_at=END, **more)
    swept = Swept(world.build().start())
    clock.advance(10)
    assert swept.sweep() == 1
    assert (world.sender.posts, world.row("s1")) == ([], None)


def test_who_chose_the_standards_own_topic_is_told(world: World, clock: Any) -> None:
    consumer = world.subscribe("s1", ends_at=END, topics=["state", ENDING])
    swept = Swept(world.build().start())
    clock.advance(10)
    swept.sweep()
    assert world.sender.told(consumer) == [""]


def test_one_that_nobody_could_be_told_of_goes_after_a_minute(world: World, clock: Clock) -> None:
    """The service was killed in between, and its courier has not come to it."""
    world.subscribe("s1", ends_at=END)
    service = Swept(world.build()).service
    clock.advance(10 + FAREWELL.total_seconds() - 1)
    assert world.store.call(service.expire) == 0
    clock.advance(1)
    assert world.store.call(service.expire) == 1


def test_what_is_unlimited_is_never_over() -> None:
    row = Subscription(id="s", owner="ann", producer=None, consumer="", created_at=START)  # type: ignore[arg-type]
    assert not row.is_over(START + timedelta(days=10_000))
