"""Who made a subscription goes on with it only while he may read what it is about, on each database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL, OPERATOR, Identity
from flyinglow.access.shares import Grantee, Level
from flyinglow.group.sharing import SharingService
from flyinglow.nodectl.errors import ConflictError, UnknownError
from flyinglow.notification.lifetime import Asked
from flyinglow.notification.model import broker_of
from flyinglow.notification.pulling.service import PullService, PullSettings
from flyinglow.notification.service import SubscriptionService
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.store import Store
from flyinglow.workspace.model import Kind, ResourceKey
from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.xpath.evaluator import Query
from rigs.site import subscriptions
from rigs.store import NOON, noon, workspace

KEY = ResourceKey(Kind.WORKSPACE, f"{1:032x}")
BOB = Identity("bob")
GROUP = Grantee("atlas", is_group=True)
ASKED = SubscribeRequest(consumer="http://127.0.0.1:9000/")
VERBS: dict[str, Callable[[SubscriptionService, Identity, str], object]] = {
    "renew": lambda service, who, name: service.renew(who, name, Asked(text="PT1H")),
    "set_end": lambda service, who, name: service.set_end(who, name, Asked(text="PT1H")),
    "resume": lambda service, who, name: service.resume(who, name),
    "redeliver": lambda service, who, name: service.redeliver(who, name, 0),
}


class Shared:
    """A workspace of the local caller, those who share it, and those who are told of it."""

    def __init__(self, store: Store) -> None:
        ids = count(1)
        self.store = store
        self.service = subscriptions(store, noon, lambda: f"{next(ids):032x}")
        self.sharing = SharingService(store, noon)
        store.call(lambda tx: tx.workspaces.add([workspace(1)]))

    def left(self) -> set[str]:
        """The owners of the subscriptions that are there."""
        return {row.owner for row in self.store.view(lambda tx: tx.subscriptions.of([KEY]))}


@pytest.fixture
def shared(any_store: Store) -> Shared:
    return Shared(any_store)


@pytest.mark.parametrize("verb", list(VERBS))
def test_who_may_not_read_it_any_more_does_not_go_on(shared: Shared, verb: str) -> None:
    """He left the group with which it is shared; nobody knew of his subscription when he left."""
    member, left = Identity("bob", groups=frozenset({"atlas"})), BOB
    shared.sharing.delegate(LOCAL, KEY, GROUP, Level.READ)
    name = shared.service.subscribe(member, KEY, ASKED).id
    VERBS[verb](shared.service, member, name)
    with pytest.raises(UnknownError) as stranger:
        shared.service.subscribe(left, KEY, ASKED)
    before = shared.service.get(left, name)
    with pytest.raises(UnknownError) as refused:
        VERBS[verb](shared.service, left, name)
    assert str(refused.value) == str(stranger.value)
    assert shared.service.get(left, name) == before
    shared.service.pause(left, name)
    shared.service.unsubscribe(left, name)
    assert shared.left() == set()


@pytest.mark.parametrize("verb", list(VERBS))
def test_the_last_messages_of_what_was_destroyed_can_still_be_had(shared: Shared, verb: str) -> None:
    shared.sharing.delegate(LOCAL, KEY, Grantee("bob"), Level.READ)
    names = {who.name: shared.service.subscribe(who, KEY, ASKED).id for who in (LOCAL, BOB)}

    def destroy(tx: Any) -> None:
        row = tx.workspaces.get(KEY.id)
        tx.workspaces.write(row, workspace(1, destroyed_at=NOON, version=row.version))

    shared.store.call(destroy)
    for who in (LOCAL, BOB):
        VERBS[verb](shared.service, who, names[who.name])


@pytest.mark.parametrize("verb", list(VERBS))
def test_the_operator_goes_on_with_anybodys_even_at_the_broker(shared: Shared, verb: str) -> None:
    end = SubscribeRequest(consumer=ASKED.consumer, end=Asked(text="PT2H"))
    name = shared.service.subscribe(BOB, broker_of("bob"), end).id
    for who in (BOB, OPERATOR):
        VERBS[verb](shared.service, who, name)
    assert shared.service.get(BOB, name).ends_at != NOON + timedelta(days=1)


def test_who_subscribes_while_it_is_revoked_is_not_told_after_it(shared: Shared) -> None:
    """The subscription is written and not yet committed when the share goes; and the other way round."""
    shared.sharing.delegate(LOCAL, KEY, Grantee("bob"), Level.READ)
    written, call = threading.Event(), shared.store.call

    def slow(fn: Callable[[Any], Any], **more: Any) -> Any:
        def held(tx: Any) -> Any:
            result = fn(tx)
            if threading.current_thread().name.startswith("bob"):
                written.set()
                revoked.wait(1)  # who revokes waits for this transaction, or else has missed the subscription
            return result

        return call(held, **more)

    revoked = threading.Event()
    shared.store.call = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(1, "bob") as pool:
        made = pool.submit(shared.service.subscribe, BOB, KEY, ASKED)
        assert written.wait(120)
        shared.sharing.revoke(LOCAL, KEY, Grantee("bob"))
        revoked.set()
        made.result()
    assert shared.left() == set()


def test_however_they_meet_nobody_is_told_without_a_share(shared: Shared) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(40):
            shared.sharing.delegate(LOCAL, KEY, Grantee("bob"), Level.READ)
            together = threading.Barrier(2)

            def subscribe(together: threading.Barrier = together) -> None:
                together.wait(120)
                shared.service.subscribe(BOB, KEY, ASKED)

            def revoke(together: threading.Barrier = together) -> None:
                together.wait(120)
                shared.sharing.revoke(LOCAL, KEY, Grantee("bob"))

            outcomes = [pool.submit(subscribe), pool.submit(revoke)]
            errors = [outcome.exception(120) for outcome in outcomes]
            assert errors[1] is None or isinstance(errors[1], ConflictError)
            assert errors[0] is None or isinstance(errors[0], UnknownError)
            assert shared.left() == set()


@pytest.mark.parametrize("limit", ["per_owner", "per_consumer", "filtered_per_owner"])
def test_however_many_subscribe_at_once_there_is_a_most(shared: Shared, limit: str) -> None:
    service = subscriptions(shared.store, noon, shared.service._new_id)
    service._settings = replace(service._settings, **{limit: 3})  # type: ignore[arg-type]
    together = threading.Barrier(8)

    def subscribe(port: int) -> bool:
        consumer = f"http://127.0.0.1:{9000 + port}/"
        asked = replace(ASKED, consumer=consumer, filter_xml="<MessageContent/>", contents=(Query("1"),))
        together.wait(120)
        try:
            service.subscribe(LOCAL, KEY, asked)
        except TypedFault:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(subscribe, range(8))) == 3


def test_however_many_pull_points_are_made_at_once_there_is_a_most(any_store: Store) -> None:
    ids = count(1)
    service = PullService(
        store=any_store,
        now=noon,
        new_id=lambda: f"{next(ids):032x}",
        kept=lambda _subscription, _event: "",
        base="http://site.example/pullpoint",
        settings=PullSettings(per_owner=3),
    )
    together = threading.Barrier(8)

    def make(_: int) -> bool:
        together.wait(120)
        try:
            service.create(LOCAL)
        except TypedFault:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(8))) == 3
