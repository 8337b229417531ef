"""The steps by which a node becomes a slot, each with its undoing (section 3.2 of the paper).

They are done in their order and undone backwards, whatever happened on the way, a step that failed included: a node is
never left with less memory than it had. Undoing what was not done does nothing.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

from flyinglow.nodectl.errors import BrokenError, FlyingLowError, NeverError, TransientError
from flyinglow.nodectl.messages import OrderName
from flyinglow.nodectl.versions import told
from flyinglow.pilot.line import VersionError
from flyinglow.pilot.messages import SPOKEN, Kind
from flyinglow.pilot.probe import OLDEST, found, memory_mb
from flyinglow.pilot.slot import Slot

HELLO = 60.0  # seconds for the agent to start in
RESERVING = 120.0  # seconds for memory to settle in
RELEASING = 120.0  # seconds for VMs to end and memory to come back in, when the LRM gave no notice
CLOSING = 10.0  # seconds for the agent to end in
TELLING = 30.0  # seconds for the last report to get through in
KEEP = 0.5  # seconds of the grace that are left for the last report
AGAIN = 1.0  # seconds before giving back is tried again
RESTARTS = 3  # times that the agent may end in a row, each within LIVED seconds
LIVED = 60.0


class Step(Protocol):
    """Something that is done and undone."""

    name: str

    def do(self) -> None:
        """Do it. Raises a FlyingLowError, or ``slot.Ending``."""

    def undo(self) -> None:
        """Undo what was done of it. Raises a FlyingLowError."""


class Report:
    """Tell the service that a pilot is here; in the end, that the slot is given back."""

    name = "report"

    def __init__(self, slot: Slot, node: str, program: str) -> None:
        self._slot = slot
        self._facts = {"pilot": program, "python": sys.version.split()[0], "node": node, "pid": os.getpid()}

    def do(self) -> None:
        """Say hello; the answer is not waited for."""
        up = self._slot.clock.monotonic() - self._slot.started
        self._slot.reports.add(Kind.HELLO, **self._facts, seconds_up=round(up, 3), speaks=told(SPOKEN))

    def undo(self) -> None:
        """Say what giving back came to, and wait until somebody has it; not beyond the grace."""
        slot = self._slot
        if not slot.undone.failed:
            slot.reports.add(
                Kind.RELEASED,
                reason=slot.undoing or "",
                destroyed=slot.undone.destroyed,
                restored_mb=slot.undone.restored_mb,
                seconds=round(slot.clock.monotonic() - slot.undone.since, 3),
            )
        if not slot.wait(lambda: slot.reports.settled, slot.time_left(TELLING)):
            slot.log.say("not-told", reason="the service took no report in time")


class CheckNode:
    """See that this node can be what is asked for, before anything is changed."""

    name = "check"

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def do(self) -> None:
        """Look at the interpreter, the agent's program and the node's memory."""
        if sys.version_info < OLDEST:
            raise NeverError(f"Python {sys.version.split()[0]} is too old: the pilot needs 3.9")
        program = self._slot.settings.agent[0]
        if found(program) is None:
            raise BrokenError(f"the program {program!r}, by which the agent is started, is not there")
        wanted, there = self._slot.size["memory_mb"], memory_mb()
        if there is not None and wanted >= there:
            figures = {"memory_mb.asked": wanted, "memory_mb.node": there}
            raise NeverError(f"the node has {there} MB of memory, the slot needs {wanted} MB", figures)

    def undo(self) -> None:
        """Nothing was changed."""


class StartAgent:
    """Start the node's agent, one process for the whole slot."""

    name = "agent"

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def do(self) -> None:
        """Start it and wait until it has said hello."""
        slot = self._slot
        slot.agent.start()
        if not slot.wait(lambda: bool(slot.relay.hello or slot.relay.strange) or not slot.agent.alive, HELLO):
            raise TransientError(f"the agent said nothing within {HELLO:g} s")
        if slot.relay.strange:
            raise VersionError(f"the agent speaks another version of the orders: {slot.relay.strange}")
        if not slot.relay.hello:
            raise BrokenError("the agent ended at once: may this user run it by sudo? (its words are above)")
        slot.log.say("agent-ready", **_facts(slot.relay.hello))

    def undo(self) -> None:
        """End its input and wait for its end; what it still holds, it undoes itself."""
        slot = self._slot
        slot.agent.close()
        if not slot.wait(lambda: not slot.agent.alive, slot.time_left(CLOSING, KEEP)):
            slot.log.say("agent-still-there", reason="it ends by itself, when it is through")
        slot.agent.gone(0.0)


class ReserveMemory:
    """Have the agent take memory from the node for VMs."""

    name = "reserve"

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._asked = False

    def do(self) -> None:
        """Reserve, and wait until memory has settled; for the answer even after a notice, as long as may be."""
        slot, settings = self._slot, self._slot.settings
        body = {
            "slot": slot.id,
            "memory_mb": slot.size["memory_mb"],
            "cpus": slot.size["cpus"],
            "policy": settings.memory_policy,
            "margin_mb": settings.margin_mb,
        }
        if _wants_ticket(slot.relay.hello):
            body["ticket"] = self._ticket()
        self._asked = True
        reply = slot.relay.order(OrderName.RESERVE, body, slot.time_left(RESERVING, KEEP))
        if not slot.wait(lambda: reply.done, RESERVING, patient=True):
            raise TransientError(f"the agent did not reserve memory within {RESERVING:g} s")
        held = reply.result()
        if held.get("settled") is not True:
            raise TransientError(f"the node's memory did not settle: {held}", _figures(held))
        slot.held = held
        slot.attend()

    def _ticket(self) -> dict[str, Any]:
        """Fetch the service's signature, for as long as it takes. Raises BrokenError when there will be none."""
        slot = self._slot
        if slot.tickets is None:
            raise BrokenError("this node wants a ticket, and there is no way to ask the service for one")
        asked = slot.tickets.ask()
        slot.wait(lambda: asked.done)
        return asked.result()

    def undo(self) -> None:
        """Have it end its VMs and give memory back, again until it does or the grace is over."""
        slot = self._slot
        until = slot.clock.monotonic() + RELEASING
        while True:
            try:
                self._release()
                return
            except FlyingLowError as error:
                slot.log.say("release-failed", error=error.message)
                last = error
            left = slot.time_left(until - slot.clock.monotonic(), KEEP)
            if left <= AGAIN:
                raise last
            slot.wait(lambda: False, AGAIN)

    def _release(self) -> None:
        slot = self._slot
        if not slot.agent.alive:
            if not self._asked:
                return  # it ended before it was to reserve anything
            StartAgent(slot).do()
        seconds = slot.time_left(RELEASING, KEEP)
        reply = slot.relay.order(OrderName.RELEASE, {"slot": slot.id}, seconds)
        if not self._answered(reply):
            raise TransientError("the agent did not give the slot back in time")
        body = reply.result()
        slot.undone.destroyed = [str(tag) for tag in body.get("destroyed", ())]
        slot.undone.restored_mb = int(slot.held.get("memory_mb", 0)) - int(body.get("memory_mb", 0))
        slot.log.say("given-back", **body)

    def _answered(self, reply: Any) -> bool:
        """Wait for the reply; a notice that comes meanwhile makes the wait shorter."""
        slot = self._slot
        until = slot.clock.monotonic() + RELEASING
        while not reply.done:
            left = slot.time_left(until - slot.clock.monotonic(), KEEP)
            if left <= 0:
                return False
            known = slot.term.limit
            slot.wait(lambda known=known: reply.done or slot.term.limit != known, left)  # type: ignore[misc]
        return True


class ReportReady:
    """Tell the service that it can have VMs here; in the end, that it cannot any more."""

    name = "ready"

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def do(self) -> None:
        """Report ready."""
        slot = self._slot
        slot.term.serving = True
        names = ("memory_mb", "target_mb", "actual_mb", "base_mb", "seconds")
        body = {name: slot.held.get(name, 0) for name in names}
        slot.reports.add(Kind.READY, **body, left=round(slot.term.left(slot.clock.monotonic()), 3))

    def undo(self) -> None:
        """Report that giving back begins."""
        self._slot.reports.add(Kind.RELEASING, reason=self._slot.undoing or "")


class Serve:
    """Be there for the service, until giving back is due."""

    name = "serve"

    def __init__(self, slot: Slot, steps: tuple[Step, ...]) -> None:
        self._slot = slot
        self._again = steps  # what is done again when the agent has ended
        self._ends = 0

    def do(self) -> None:
        """Wait; an agent that ends is started again, and reserves again, which ends what VMs it had left."""
        slot = self._slot
        while True:
            began = slot.clock.monotonic()
            slot.wait(lambda: not slot.agent.alive)
            self._ends = self._ends + 1 if slot.clock.monotonic() - began < LIVED else 1
            slot.log.say("agent-ended", times=self._ends)
            if self._ends > RESTARTS:
                raise BrokenError(f"the node's agent ended {self._ends} times, each within {LIVED:g} s")
            for step in self._again:
                step.do()

    def undo(self) -> None:
        """Nothing is left to be undone."""


def steps(slot: Slot, node: str, program: str) -> list[Step]:
    """Return the steps of a slot, in their order."""
    agent, reserve, ready = StartAgent(slot), ReserveMemory(slot), ReportReady(slot)
    return [Report(slot, node, program), CheckNode(slot), agent, reserve, ready, Serve(slot, (agent, reserve, ready))]


def _wants_ticket(hello: dict[str, Any]) -> bool:
    body = hello.get("body")
    return isinstance(body, dict) and body.get("tickets") is True


def _facts(hello: dict[str, Any]) -> dict[str, Any]:
    body = hello.get("body")
    return {name: str(body.get(name)) for name in ("version", "node", "drivers")} if isinstance(body, dict) else {}


def _figures(held: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in held.items() if isinstance(value, int) and not isinstance(value, bool)}
