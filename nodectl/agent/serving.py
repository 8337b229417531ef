"""The agent: orders in on one descriptor, answers and news out on another (``messages`` has their form).

It lives as long as its input. A bad line gets an error for an answer and harms no other line, nor does a bad order of a
batch. What it has begun when its input ends it finishes, so that no VM is left half made by a service that goes away;
but transfers are stopped, which may be long and go on where they were when they are ordered again. VMs outlive it.

An agent that was ever told to take a slot is deaf to signals, for batch systems send them to whatever runs in a job:
its client has the grace period, and tells it what to do. When that client goes away without giving the slot back,
the agent does it: it ends the slot's VMs and restores the memory, and only then ends itself.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flyinglow import __version__
from flyinglow.nodectl.agent import slot as agent_slot
from flyinglow.nodectl.agent.given import Given, Pending, order_of, orders_of, parse
from flyinglow.nodectl.agent.orders import Orders
from flyinglow.nodectl.agent.slot import Tenure
from flyinglow.nodectl.agent.streams import Lines, Output
from flyinglow.nodectl.agent.watch import Watcher
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError
from flyinglow.nodectl.messages import MAX_LINE, SPOKEN, Offered, OrderName, VmInfo, encode, vm_info
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.spec import check_tag
from flyinglow.nodectl.versions import told

if TYPE_CHECKING:
    from flyinglow.nodectl.images.peers import Peers

CHUNK = 1 << 16
ASKING = frozenset({OrderName.LIST, OrderName.INFO, OrderName.CONSOLE, OrderName.OFFER})
NO_TAG = frozenset({OrderName.LIST, OrderName.OFFER}) | agent_slot.ORDERS
SLOT_QUEUE = ":slot"  # orders about the slot wait for each other, not for those about VMs


class Agent:
    """Serves one service over two descriptors until its input ends or ``wake`` can be read."""

    def __init__(
        self,
        config: Config,
        node: Node,
        tenure: Tenure,
        streams: tuple[int, int],
        wake: int,
        deafen: Callable[[], None],
        peers: Peers | None = None,
    ) -> None:
        """``streams`` are the descriptors of orders and of answers; ``deafen`` makes the process ignore signals.

        ``peers`` None: this node passes no images on.
        """
        self._peers = peers
        self._config = config
        self._node = node
        self._tenure = tenure
        self._source, target = streams
        self._wake = wake
        self._deafen = deafen
        self._output = Output(target)
        self._orders = Orders(config.workers)
        self._pending = Pending(self._cut_short, node.unwanted.discard)
        self._watcher = Watcher(node, self._tell, config.watch_seconds)

    def serve(self) -> None:
        """Say hello, then work until the end of the input or a signal."""
        hello: dict[str, Any] = {"version": __version__, "node": self._config.node, "drivers": [self._config.driver]}
        hello["speaks"] = told(SPOKEN)
        if self._tenure.needs_tickets:
            hello["tickets"] = True
        self._output.send({"news": "hello", "body": hello})
        self._watcher.start()
        self._orders.put("", self._sweep)
        try:
            self._read()
        finally:
            self._end()

    def _end(self) -> None:
        self._orders.stop()
        self._pending.drop_all()
        self._watcher.stop()
        try:
            self._tenure.abandon()
        except FlyingLowError as error:
            self._output.send({"news": "fault", "body": {"kind": error.kind, "message": error.message}})
        finally:
            self._orders.close()
            if self._peers is not None:
                self._peers.close()
            self._node.state.tidy()

    def _sweep(self) -> None:
        with contextlib.suppress(FlyingLowError):  # books that cannot be read are told to whoever reserves
            self._tenure.sweep()

    def _read(self) -> None:
        lines = Lines()
        while True:
            readable, _, _ = select.select([self._source, self._wake], [], [])
            if self._wake in readable:
                return  # a signal, before it was deaf
            data = os.read(self._source, CHUNK)
            if not data:
                return
            for line in lines.feed(data):
                if line is None:
                    self._refuse(None, InvalidError(f"a line has more than {MAX_LINE} bytes"))
                elif line.strip():
                    self._take(line)

    def _take(self, line: bytes) -> None:
        number: object = None
        try:
            message = parse(line)
            number = message.get("id")
            batch = orders_of(message)
        except FlyingLowError as error:
            self._refuse(number, error)
            return
        self._output.version = message["v"]
        for one in batch:
            try:
                self._give(order_of(one, NO_TAG))
            except FlyingLowError as error:
                self._refuse(one.get("id") if isinstance(one, dict) else None, error)

    def _give(self, given: Given) -> None:
        """Have an order carried out. Raises InvalidError for one that takes back what there is not."""
        if given.name is OrderName.CANCEL:
            self._take_back(given)
        elif given.name in agent_slot.ORDERS:
            self._deafen()
            self._tenure.expect()
            self._orders.put(SLOT_QUEUE, lambda: self._work(given))
        else:
            key = given.tag if given.tag and given.name not in ASKING else ""
            if key:
                self._watcher.begin(key)
                self._pending.add(given)
            if key and given.name is OrderName.DESTROY:
                self._cut_short(key)
            self._orders.put(key, lambda: self._work(given))

    def _take_back(self, given: Given) -> None:
        try:
            name = OrderName(given.body.get("order"))
        except ValueError as error:
            raise InvalidError(f"there is no order {given.body.get('order')!r} to be cancelled") from error
        self._pending.drop(check_tag(given.tag), name)
        self._output.send({"id": given.number, "ok": True, "body": {}})

    def _cut_short(self, tag: str) -> None:
        """Stop what an order to destroy would else wait for, and what nobody waits for any more."""
        with contextlib.suppress(FlyingLowError):  # the order itself is answered with what is wrong
            self._node.cut_short(check_tag(tag))

    def _work(self, given: Given) -> None:
        answer: dict[str, Any] | None = None
        failure: FlyingLowError | None = None
        name, tag = given.name, given.tag
        try:
            given.begin()
            if name in agent_slot.ORDERS:
                answer = self._tenure.carry_out(name, given.body)
            else:
                answer = self._carry_out(name, tag, given.body)
        except FlyingLowError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - one order's surprise must not end the agent
            failure = BrokenError(f"order {name.value} met a fault of the program: {type(error).__name__}: {error}")
        watched = tag and name not in ASKING
        if watched:
            self._pending.done(given)
        # The answer first: the watcher keeps silent about this VM until it is out.
        if failure is not None:
            self._refuse(given.number, failure)
        else:
            self._output.send({"id": given.number, "ok": True, "body": answer})
        if watched:
            self._watcher.finish(str(tag), vm_info(answer) if answer else None)

    def _carry_out(self, name: OrderName, tag: str | None, body: dict[str, Any]) -> dict[str, Any]:
        if self._peers is None:
            return encode(Offered()) if name is OrderName.OFFER else self._node.carry_out(name, tag, body)
        if name is OrderName.OFFER:
            return self._peers.offer(body)
        if name is not OrderName.CREATE:
            return self._node.carry_out(name, tag, body)
        with self._peers.expecting(body) as plain:
            return self._node.carry_out(name, tag, plain)

    def _refuse(self, number: object, error: FlyingLowError) -> None:
        body = {"kind": error.kind, "message": error.message, "figures": error.figures}
        self._output.send({"id": number, "ok": False, "error": body})

    def _tell(self, info: VmInfo) -> None:
        self._output.send({"news": "vm", "body": encode(info)})
