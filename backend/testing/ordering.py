"""Conformance of a node's channel: every order, repeated, on the wrong VM, with its errors, and without an answer."""

# ruff: noqa: S101 - to assert is what this module is for, and it never runs under -O
from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend.api import Order
from flyinglow.nodectl.errors import ConflictError, InvalidError, TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmStatus, encode

if TYPE_CHECKING:
    from flyinglow.backend.testing.bench import Bench
    from flyinglow.nodectl.messages import VmSpec

UNTAGGED = {
    OrderName.LIST,
    OrderName.CREATE,
    OrderName.OFFER,  # of an image, before there is a VM
    OrderName.DESTROY,
    OrderName.RESERVE,
    OrderName.RELEASE,
    OrderName.CANCEL,  # channels' own, for orders that nobody waits for any more
}
TAGGED = [order for order in OrderName if order not in UNTAGGED]
BODIES: dict[OrderName, dict[str, Any]] = {
    OrderName.START: {"paused": False},
    OrderName.SHUTDOWN: {"seconds": 0},
    OrderName.CONSOLE: {"offset": 0, "max": 1000},
}


class OrderingTests:
    """Tests of ``NodeChannel``."""

    def spec(self, tag: str) -> VmSpec:
        """Describe a small VM; see ``BackendConformance``."""
        raise NotImplementedError

    def silence(self, bench: Bench, node: str) -> None:
        """Let one node answer nothing; see ``BackendConformance``."""
        raise NotImplementedError

    def test_create_may_be_repeated(self, bench: Bench, tag: str) -> None:
        """The second create finds the VM and makes no other."""
        first = bench.create(bench.node, self.spec(tag))
        again = bench.create(bench.node, self.spec(tag))
        assert (first.tag, first.status) == (tag, VmStatus.CREATED)
        assert (again.tag, again.status) == (tag, VmStatus.CREATED)
        assert bench.tags(bench.node) == {tag}
        bench.send(bench.node, OrderName.DESTROY, tag)

    def test_destroy_may_be_repeated(self, bench: Bench, tag: str) -> None:
        """Destroying what is not there is done already."""
        bench.create(bench.node, self.spec(tag))
        for _ in range(2):
            assert bench.send(bench.node, OrderName.DESTROY, tag) is not None
        assert bench.tags(bench.node) == set()
        with pytest.raises(UnknownError):
            bench.send(bench.node, OrderName.INFO, tag)

    def test_a_whole_life(self, bench: Bench, tag: str) -> None:
        """Each order leaves the status it promises, and leaves it again when it is repeated."""
        bench.create(bench.node, self.spec(tag))
        steps = [
            (OrderName.START, VmStatus.RUNNING),
            (OrderName.PAUSE, VmStatus.PAUSED),
            (OrderName.RESUME, VmStatus.RUNNING),
            (OrderName.REBOOT, VmStatus.RUNNING),
            (OrderName.SHUTDOWN, VmStatus.STOPPED),
            (OrderName.START, VmStatus.RUNNING),
        ]
        for order, status in steps:
            for _ in range(2):
                answer = bench.info(bench.node, order, tag, BODIES.get(order))
                assert (answer.tag, answer.status) == (tag, status), order
            assert bench.info(bench.node, OrderName.INFO, tag).status is status
        bench.send(bench.node, OrderName.DESTROY, tag)

    def test_start_paused(self, bench: Bench, tag: str) -> None:
        """A VM can be brought up without executing."""
        bench.create(bench.node, self.spec(tag))
        assert bench.info(bench.node, OrderName.START, tag, {"paused": True}).status is VmStatus.PAUSED
        assert bench.info(bench.node, OrderName.RESUME, tag).status is VmStatus.RUNNING
        bench.send(bench.node, OrderName.DESTROY, tag)

    def test_the_console_is_read_from_an_offset(self, bench: Bench, tag: str) -> None:
        """The answer says where it starts and how much there is."""
        bench.create(bench.node, self.spec(tag))
        bench.info(bench.node, OrderName.START, tag, BODIES[OrderName.START])
        console = bench.send(bench.node, OrderName.CONSOLE, tag, {"offset": 0, "max": 1000})
        data = base64.b64decode(console["data"], validate=True)
        assert console["offset"] == 0
        assert len(data) <= min(console["size"], 1000)
        beyond = bench.send(bench.node, OrderName.CONSOLE, tag, {"offset": console["size"] + 10_000, "max": 10})
        assert base64.b64decode(beyond["data"]) == b""
        bench.send(bench.node, OrderName.DESTROY, tag)

    def test_vms_are_told_apart_by_node_and_tag(self, bench: Bench, tag: str) -> None:
        """What happens to one VM happens to no other."""
        here, there = sorted(bench.nodes)[:2]
        bench.create(here, self.spec(tag))
        bench.create(there, self.spec(tag + "x"))
        bench.info(here, OrderName.START, tag, BODIES[OrderName.START])
        assert bench.info(there, OrderName.INFO, tag + "x").status is VmStatus.CREATED
        assert (bench.tags(here), bench.tags(there)) == ({tag}, {tag + "x"})
        bench.send(here, OrderName.DESTROY, tag)
        assert bench.tags(there) == {tag + "x"}
        bench.send(there, OrderName.DESTROY, tag + "x")

    @pytest.mark.parametrize("order", TAGGED, ids=lambda order: str(order.value))
    def test_an_order_for_an_unknown_vm(self, bench: Bench, tag: str, order: OrderName) -> None:
        """The kind of the node's error arrives unchanged: UnknownError."""
        with pytest.raises(UnknownError):
            bench.send(bench.node, order, tag, BODIES.get(order))

    def test_an_order_that_the_status_forbids(self, bench: Bench, tag: str) -> None:
        """The kind of the node's error arrives unchanged: ConflictError, and nothing has changed."""
        bench.create(bench.node, self.spec(tag))
        for order in (OrderName.PAUSE, OrderName.RESUME, OrderName.REBOOT):
            with pytest.raises(ConflictError) as caught:
                bench.send(bench.node, order, tag)
            assert caught.value.message
        assert bench.info(bench.node, OrderName.INFO, tag).status is VmStatus.CREATED
        bench.send(bench.node, OrderName.DESTROY, tag)

    def test_a_description_that_cannot_be_read(self, bench: Bench, tag: str) -> None:
        """The kind of the node's error arrives unchanged: InvalidError, and no VM is there."""
        with pytest.raises(InvalidError):
            bench.send(bench.node, OrderName.CREATE, tag, {**encode(self.spec(tag)), "no_such_field": 1})
        assert bench.tags(bench.node) == set()

    def test_many_orders_at_once(self, bench: Bench, tag: str) -> None:
        """Answers find their orders, whatever the order in which they come."""
        tags = [f"{tag}{number}" for number in range(8)]

        async def all_of_them() -> list[Any]:
            channel = bench.backend.channel(bench.node)
            orders = [Order(OrderName.CREATE, name, encode(self.spec(name))) for name in tags]
            sent = [Deferred.fromCoroutine(channel.send(order, bench.seconds)) for order in orders]
            return [(await answer)["tag"] for answer in sent]

        assert bench.run(all_of_them) == tags
        assert bench.tags(bench.node) == set(tags)
        for name in tags:
            bench.send(bench.node, OrderName.DESTROY, name)

    def test_a_node_that_does_not_answer(self, bench: Bench, tag: str) -> None:
        """TransientError within the time the caller gave, and other nodes are not disturbed."""
        silent, other = sorted(bench.nodes)[:2]
        self.silence(bench, silent)
        channel = bench.loop.call(bench.backend.channel, silent)
        started = bench.loop.reactor.seconds()
        with pytest.raises(TransientError):
            bench.run(lambda: channel.send(Order(OrderName.LIST), 0.5))
        assert bench.loop.reactor.seconds() - started < bench.seconds
        assert bench.tags(other) == set()
