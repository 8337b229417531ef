"""The agent: orders in on one descriptor, answers and news out on another (``messages`` has their form).

It lives as long as its input. A bad line gets an error for an answer and harms no other line. What it has begun when
its input ends it finishes, so that no VM is left half made by a service that goes away; VMs outlive it.

An agent that was ever told to take a slot is deaf to signals, for batch systems send them to whatever runs in a job:
its client has the grace period, and tells it what to do. When that client goes away without giving the slot back,
the agent does it: it ends the slot's VMs and restores the memory, and only then ends itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flyinglow import __version__
from flyinglow.nodectl.agent import slot as agent_slot
from flyinglow.nodectl.agent.orders import Orders
from flyinglow.nodectl.agent.slot import Tenure
from flyinglow.nodectl.agent.watch import Watcher
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError
from flyinglow.nodectl.messages import MAX_LINE, VERSION, Offered, OrderName, VmInfo, encode, vm_info
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.spec import check_tag

if TYPE_CHECKING:
    from flyinglow.nodectl.images.peers import Peers

CHUNK = 1 << 16
ASKING = frozenset({OrderName.LIST, OrderName.INFO, OrderName.CONSOLE, OrderName.OFFER})
NO_TAG = frozenset({OrderName.LIST, OrderName.OFFER}) | agent_slot.ORDERS
SLOT_QUEUE = ":slot"  # orders about the slot wait for each other, not for those about VMs


class Lines:
    """Cuts a stream of bytes into lines; of a line that is too long nothing is kept but the fact."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that are complete now; None stands for one that was too long."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        lines: list[bytes | None] = []
        for line in complete:
            lines.append(None if self._skipping or len(line) > self._longest else line)
            self._skipping = False
        if len(self._rest) > self._longest:
            self._rest, self._skipping = b"", True
        return lines


class Output:
    """Writes one message a line, whole, from any thread; what cannot be written any more is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._broken = False

    def send(self, message: dict[str, Any]) -> None:
        """Write a message."""
        data = json.dumps({"v": VERSION, **message}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                while data and not self._broken:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._broken = True  # the service is gone; its orders are finished all the same


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
        self._watcher = Watcher(node, self._tell, config.watch_seconds)

    def serve(self) -> None:
        """Say hello, then work until the end of the input or a signal."""
        hello: dict[str, Any] = {"version": __version__, "node": self._config.node, "drivers": [self._config.driver]}
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
            message = _parse(line)
            number = message.get("id")
            name, tag, body = _order(message)
        except FlyingLowError as error:
            self._refuse(number, error)
            return
        if name in agent_slot.ORDERS:
            self._deafen()
            self._tenure.expect()
            self._orders.put(SLOT_QUEUE, lambda: self._work(number, name, None, body))
            return
        key = tag if tag and name not in ASKING else ""
        if key:
            self._watcher.begin(key)
        if key and name is OrderName.DESTROY:
            self._cut_short(key)
        self._orders.put(key, lambda: self._work(number, name, tag, body))

    def _cut_short(self, tag: str) -> None:
        """Stop what the order to destroy would else wait for."""
        with contextlib.suppress(FlyingLowError):  # the order itself is answered with what is wrong
            self._node.cut_short(check_tag(tag))

    def _work(self, number: object, name: OrderName, tag: str | None, body: dict[str, Any]) -> None:
        answer: dict[str, Any] | None = None
        failure: FlyingLowError | None = None
        try:
            if name in agent_slot.ORDERS:
                answer = self._tenure.carry_out(name, body)
            else:
                answer = self._carry_out(name, tag, body)
        except FlyingLowError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - one order's surprise must not end the agent
            failure = BrokenError(f"order {name.value} met a fault of the program: {type(error).__name__}: {error}")
        # The answer first: the watcher keeps silent about this VM until it is out.
        if failure is not None:
            self._refuse(number, failure)
        else:
            self._output.send({"id": number, "ok": True, "body": answer})
        if tag and name not in ASKING:
            self._watcher.finish(tag, vm_info(answer) if answer else None)

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


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"a line is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise InvalidError("an order is a JSON object")
    return message


def _order(message: dict[str, Any]) -> tuple[OrderName, str | None, dict[str, Any]]:
    if message.get("v") != VERSION:
        raise InvalidError(f"this agent speaks version {VERSION}, not {message.get('v')!r}")
    try:
        name = OrderName(message.get("order"))
    except ValueError as error:
        raise InvalidError(f"there is no order {message.get('order')!r}") from error
    tag, body = message.get("tag"), message.get("body", {})
    if not isinstance(body, dict):
        raise InvalidError("the body of an order is a JSON object")
    if name not in NO_TAG and not isinstance(tag, str):
        raise InvalidError(f"order {name.value} needs the tag of a VM")
    return name, tag if isinstance(tag, str) else None, body
