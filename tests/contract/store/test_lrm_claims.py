"""The LRM back-end on the real store, on each database: claims live, are lost, and are taken up by the next start."""

import pytest

from flyinglow.backend.api import ClaimTopic
from flyinglow.backend.lrm.states import JobState, SlotState
from flyinglow.store import Store
from rigs.lrm_site import Site


def states(store: Store) -> tuple[list[JobState], set[SlotState]]:
    return store.view(lambda tx: ([job.state for job in tx.jobs.select()], {slot.state for slot in tx.slots.select()}))


def test_a_claim_lives_and_is_given_back(any_store: Store) -> None:
    site = Site(store=any_store)
    grants = site.acquire(members=3)
    assert len({grant.node.name for grant in grants.values()}) == 3
    site.kill()
    site.run(5)
    site.restart()
    assert site.acquire(members=3) == grants
    site.result(site.backend.release("k1"))
    site.until(lambda: states(any_store) == ([JobState.ENDED], {SlotState.RELEASED}))
    assert any_store.view(lambda tx: tx.assignments.select()) == []
    assert any_store.view(lambda tx: len(tx.trails.of(tx.slots.select()[0].id))) == 4
    site.result(site.backend.close())


@pytest.mark.parametrize("native", ["NODE_FAIL", "PREEMPTED"])
def test_a_claim_is_lost_with_all_of_its_rows(any_store: Store, native: str) -> None:
    site = Site(store=any_store, options={"poll": 10.0})
    site.acquire()
    site.lrm.kill("1", native)
    site.until(lambda: site.told(ClaimTopic.LOST))
    assert states(any_store) == ([JobState.LOST], {SlotState.LOST})
    site.result(site.backend.release("k1"))
    assert any_store.view(lambda tx: tx.assignments.select()) == []
    site.result(site.backend.close())


def test_an_epoch_begins_anew_on_the_same_rows(any_store: Store) -> None:
    site = Site(store=any_store, start=5.0, options={"poll": 5.0})
    waiting = site.spawn(site.backend.acquire(site.claim()))
    site.run(4)
    site.lrm.requeue("1")
    assert len(site.until(lambda: waiting)[0]) == 2
    assert any_store.view(lambda tx: {slot.epoch for slot in tx.slots.select()}) == {2}
    site.result(site.backend.close())
