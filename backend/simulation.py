"""Nodes and VMs that exist only in memory and obey the same orders as real ones, for tests, demonstrations and load.

``Simulation`` is also the hand of whoever tests: it delays orders, lets them fail, silences nodes and crashes VMs. The
VMs live as long as this object, not as long as the back-end that talks to them: hand it to a second back-end, and the
daemon has been restarted. Orders for one VM are carried out one after the other; without a delay, at once.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock

from flyinglow.backend.simulated_vm import carry_out
from flyinglow.nodectl.errors import FlyingLowError, TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flyinglow.backend.api import Order
    from flyinglow.backend.simulated_vm import Vm
    from flyinglow.nodectl.messages import VmSpec

    News = Callable[[str, VmInfo], None]


@dataclass(slots=True)
class Rule:
    """Orders to treat in a special way; None matches all. ``error`` None: the order is done, its answer is lost."""

    order: OrderName
    node: str | None
    tag: str | None
    error: FlyingLowError | None
    times: int

    def matches(self, node: str, order: Order) -> bool:
        """Say whether it is about this order."""
        return self.order == order.name and self.node in {None, node} and self.tag in {None, order.tag}


class Simulation:
    """All simulated nodes of a site. ``clock`` has ``callLater``; ``log`` lists every order that reached a node."""

    def __init__(self, clock: Any, ready_after: float = 0.0) -> None:
        self._clock = clock
        self._ready_after = ready_after
        self._vms: dict[str, dict[str, Vm]] = defaultdict(dict)
        self._locks: dict[tuple[str, str], DeferredLock] = {}
        self._rules: list[Rule] = []
        self._delays: dict[tuple[OrderName, str | None, str | None], float] = {}
        self._silent: set[str] = set()
        self._listeners: list[News] = []
        self.log: list[tuple[str, Order]] = []

    # what a test arranges

    def fail_next(
        self, order: str, error: FlyingLowError, *, node: str | None = None, tag: str | None = None, times: int = 1
    ) -> None:
        """Let the next ``times`` such orders fail with ``error``, undone."""
        self._rules.append(Rule(OrderName(order), node, tag, error, times))

    def lose_answer(self, order: str, *, node: str | None = None, tag: str | None = None, times: int = 1) -> None:
        """Let the next ``times`` such orders be done, but never answered."""
        self._rules.append(Rule(OrderName(order), node, tag, None, times))

    def delay(self, order: str, seconds: float, *, node: str | None = None, tag: str | None = None) -> None:
        """Let such orders take this long from now on; the most exact rule counts."""
        self._delays[OrderName(order), node, tag] = seconds

    def silence(self, node: str) -> None:
        """Let a node answer nothing; its VMs go on."""
        self._silent.add(node)

    def speak(self, node: str) -> None:
        """Let a silenced node answer again."""
        self._silent.discard(node)

    def exit(self, tag: str, reason: str = "the guest turned itself off") -> None:
        """Let a guest turn itself off."""
        self._change(tag, status=VmStatus.STOPPED, ready=False, reason=reason)

    def break_vm(self, tag: str, reason: str) -> None:
        """Let a VM be lost in a bad way; its remains stay on the node."""
        self._change(tag, status=VmStatus.BROKEN, ready=False, reason=reason)

    def ready(self, tag: str) -> None:
        """Let a guest say that it is ready."""
        self._change(tag, ready=True)

    def lose(self, tag: str) -> None:
        """Let a VM vanish without a word."""
        node, _ = self._find(tag)
        del self._vms[node][tag]

    def say(self, tag: str, text: bytes) -> None:
        """Write to a VM's console."""
        self._find(tag)[1].console += text

    # what a test looks at

    def vms(self, node: str | None = None) -> dict[str, VmInfo]:
        """Return the VMs of one node, or of all, by tag."""
        nodes = self._vms if node is None else {node: self._vms.get(node, {})}
        return {tag: vm.info for vms in nodes.values() for tag, vm in vms.items()}

    def spec(self, tag: str) -> VmSpec:
        """Return what a VM was created from. Raises UnknownError."""
        return self._find(tag)[1].spec

    # what the back-end uses

    def listen(self, news: News) -> None:
        """Tell ``news`` of every change that no order brought about."""
        self._listeners.append(news)

    def unlisten(self, news: News) -> None:
        """Tell it no more."""
        if news in self._listeners:
            self._listeners.remove(news)

    async def send(self, node: str, order: Order, timeout: float) -> Mapping[str, Any]:
        """Carry out an order as ``NodeChannel.send`` promises; one that is answered too late is done all the same."""
        if node in self._silent:
            return await self._within(timeout, node, order, Deferred())
        self.log.append((node, order))
        work: Deferred[Mapping[str, Any]] = Deferred.fromCoroutine(self._work(node, order))
        return await (work if work.called else self._within(timeout, node, order, work))

    def _within(
        self, timeout: float, node: str, order: Order, work: Deferred[Mapping[str, Any]]
    ) -> Deferred[Mapping[str, Any]]:
        answer: Deferred[Mapping[str, Any]] = Deferred()
        words = f"node {node} did not answer to {order.name.value} within {timeout:g} s"
        timer = self._clock.callLater(timeout, lambda: answer.errback(TransientError(words)))

        def arrived(result: Any) -> None:
            if timer.active():
                timer.cancel()
                answer.callback(result)

        work.addBoth(arrived)
        return answer

    async def _work(self, node: str, order: Order) -> Mapping[str, Any]:
        lock = self._locks.setdefault((node, order.tag), DeferredLock())
        await lock.acquire()
        try:
            seconds = self._seconds(node, order)
            if seconds > 0:
                pause: Deferred[None] = Deferred()
                self._clock.callLater(seconds, pause.callback, None)
                await pause
            rule = self._rule(node, order)
            if rule and rule.error:
                raise rule.error
            body = carry_out(self._vms[node], order)
        finally:
            lock.release()
            if not (lock.locked or lock.waiting):
                self._locks.pop((node, order.tag), None)
        self._watch(node, order)
        if rule:
            await Deferred()
        return body

    def _rule(self, node: str, order: Order) -> Rule | None:
        for rule in self._rules:
            if rule.matches(node, order):
                rule.times -= 1
                if rule.times <= 0:
                    self._rules.remove(rule)
                return rule
        return None

    def _seconds(self, node: str, order: Order) -> float:
        if not self._delays:
            return 0.0
        keys = ((node, order.tag), (None, order.tag), (node, None), (None, None))
        return next((self._delays[order.name, *key] for key in keys if (order.name, *key) in self._delays), 0.0)

    def _watch(self, node: str, order: Order) -> None:
        """Let a guest that was just started, and was given a mark to say so, become ready in its time."""
        if order.name in {OrderName.START, OrderName.REBOOT, OrderName.RESUME}:
            vm = self._vms[node].get(order.tag)
            if vm and vm.spec.ready_mark is not None and not vm.info.ready:
                self._clock.callLater(self._ready_after, self._become_ready, vm)

    def _become_ready(self, vm: Vm) -> None:
        tag = vm.spec.tag
        alive = any(vms.get(tag) is vm for vms in self._vms.values())
        if alive and vm.info.status is VmStatus.RUNNING and not vm.info.ready:
            self._change(tag, ready=True)

    def _find(self, tag: str) -> tuple[str, Vm]:
        for node, vms in self._vms.items():
            if tag in vms:
                return node, vms[tag]
        raise UnknownError(f"no simulated node has a VM {tag}")

    def _change(self, tag: str, **changes: Any) -> None:
        node, vm = self._find(tag)
        vm.info = dataclasses.replace(vm.info, **changes)
        if node not in self._silent:
            for news in list(self._listeners):
                news(node, vm.info)
