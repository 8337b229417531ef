"""Threads are renewed, so that names which callers make up do not stay in memory for ever."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from lxml import etree

from flyinglow.wsrf.endpoint import Endpoint
from flyinglow.wsrf.workers import WorkerPool
from rigs.soap import Shelf, endpoint, message, state_of


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    running = WorkerPool(2, renew_after=1000)
    running.start()
    yield running
    running.stop()


def run(pool: WorkerPool) -> int:
    """Run something and return which thread it was on."""
    done: Future[int] = Future()
    pool.callInThread(lambda: done.set_result(threading.get_ident()))
    return done.result(120)


def test_threads_end_after_their_share_and_new_ones_take_over(pool: WorkerPool) -> None:
    run(pool)
    before = list(pool.threads)
    pool.spend(999)
    assert all(thread.is_alive() for thread in before)
    pool.spend(1)
    for thread in before:
        thread.join(10)
        assert not thread.is_alive()
    for _ in range(20):
        run(pool)
    assert 1 <= len([thread for thread in pool.threads if thread.is_alive()]) <= 2
    pool.spend(1000)
    assert not set(before) & set(pool.threads)


def test_a_call_holds_on_to_no_tree(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[Any] = []

    class Noting(Endpoint):
        def _run(self, server: Any, ctx: Any) -> Any:
            contexts.append(super()._run(server, ctx))
            return contexts[-1]

    monkeypatch.setattr("rigs.soap.Endpoint", Noting)
    point = endpoint(shelf)
    for data in (state_of(), state_of("gone"), message("<x/>"), b"<"):
        point.call(data)
    assert len(contexts) == 4
    for ctx in contexts:
        assert [ctx.udc.envelope, ctx.udc.call, ctx.udc.fault, ctx.udc.addressing.others] == [None, None, None, ()]
        assert not [value for value in vars(ctx).values() if etree.iselement(value) or isinstance(value, Exception)]
