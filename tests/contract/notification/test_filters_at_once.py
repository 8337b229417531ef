"""A subscription that is changed while its filter is evaluated keeps the change."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from twisted.internet.task import Clock

from flyinglow.notification.contents import Contents, Judgement, Patience
from flyinglow.notification.drainer import Drainer
from flyinglow.notification.model import Subscription
from flyinglow.store import Store
from flyinglow.workspace.model import Event
from rigs.store import NOON, event, noon, subscription

LATER = NOON + timedelta(hours=5)
ROW = subscription(1, ends_at=NOON + timedelta(hours=1))


class Renewing(Contents):
    """Finds a filter too slow, while its owner renews the subscription by a transaction of his own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def judge(
        self,
        event: Event,
        rows: Iterable[Subscription],
        patience: Patience,
        properties: Callable[[], bytes | None] = lambda: None,
    ) -> Judgement:
        if not rows:
            return Judgement()
        with ThreadPoolExecutor(1) as owner:
            owner.submit(self._store.call, self._renew).result(120)
        return Judgement(untold={ROW.id})

    @staticmethod
    def _renew(tx: Any) -> None:
        tx.subscriptions.write(replace(tx.subscriptions.get(ROW.id), ends_at=LATER))


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)  # SQLite lets one write after the other
def test_a_renewal_outlives_the_pause_of_the_same_moment(any_store: Store) -> None:
    any_store.call(lambda tx: (tx.subscriptions.add(ROW), tx.outbox.add([event(1, 1)])))
    clock: Any = Clock()
    drainer = Drainer(
        store=any_store, folds=(), clock=clock, now=noon, queued=lambda _: None, contents=Renewing(any_store)
    )
    any_store.call(drainer.drain)
    found = any_store.view(lambda tx: tx.subscriptions.get(ROW.id))
    assert found is not None
    assert "took too long" in found.pause_reason
    assert found.ends_at == LATER
