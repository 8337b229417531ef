"""The orders for the VMs of one node leave the service as one message, and are answered one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend.api import Order
from flyinglow.nodectl.errors import FlyingLowError, TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.orders import Ask, Orders
from rigs.site import MakeSite, part


class Line:
    """A channel that counts messages: what is given within ``together`` is one."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self.answers: dict[str, Deferred[Mapping[str, Any]]] = {}
        self._corked: list[str] | None = None

    async def send(self, order: Order, timeout: float) -> Mapping[str, Any]:
        (self.messages[-1] if self._corked is not None else self._new()).append(order.tag)
        self.answers[order.tag] = Deferred()
        return await self.answers[order.tag]

    @contextmanager
    def together(self) -> Iterator[None]:
        self._corked = self._new()
        yield
        self._corked = None

    def close(self) -> None:
        return

    def _new(self) -> list[str]:
        self.messages.append([])
        return self.messages[-1]


@pytest.mark.parametrize("name", [OrderName.CREATE, OrderName.START, OrderName.INFO, OrderName.DESTROY])
def test_each_node_gets_one_message(make_site: MakeSite, name: OrderName) -> None:
    site = make_site(nodes=2)
    site.create(part("a", 20, memory_mb=50))
    site.settle()
    rows = site.rows()
    by_node = {node: [row.tag for row in rows if row.node == node] for node in {row.node for row in rows}}
    lines = {str(node): Line() for node in by_node}
    answers = Orders(lines.__getitem__, 16).send([Ask(row, Order(name, row.tag), 10) for row in rows])
    for node, tags in by_node.items():
        line = lines[str(node)]
        assert line.messages == [tags[:16]]
        line.answers[tags[1]].errback(TransientError("its disk is full"))
        for tag in tags[:1] + tags[2:16]:
            line.answers[tag].callback({})
        assert [tag for message in line.messages[1:] for tag in message] == tags[16:]
    failed: list[tuple[str, FlyingLowError | None]] = []

    async def gather() -> None:
        failed.extend((answer.row.tag, answer.error) for answer in await answers.some())

    Deferred.fromCoroutine(gather())
    assert {tag for tag, error in failed if error} == {tags[1] for tags in by_node.values()}


def test_a_node_that_is_not_there_is_said_for_each_order(make_site: MakeSite) -> None:
    site = make_site(nodes=1)
    site.create(part("a", 3, memory_mb=50))
    site.settle()

    def nowhere(_: str) -> Line:
        raise UnknownError("it was taken away")

    answers = Orders(nowhere, 16).send([Ask(row, Order(OrderName.INFO, row.tag), 10) for row in site.rows()])
    found: list[Any] = []

    async def gather() -> None:
        found.extend(await answers.some())

    Deferred.fromCoroutine(gather())
    assert ["taken away" in answer.error.message for answer in found] == [True] * 3
