"""Puts a pilot together: one slot with its clock, agent, conversations and threads."""

from __future__ import annotations

import os
import subprocess

from flyinglow import __version__
from flyinglow.nodectl.errors import InvalidError
from flyinglow.pilot.agent import AgentProcess
from flyinglow.pilot.bell import Bell
from flyinglow.pilot.clock import Clock
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.life import Exit, live
from flyinglow.pilot.line import Line
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import Settings
from flyinglow.pilot.poll import Poll, Said
from flyinglow.pilot.post import Address, Post
from flyinglow.pilot.relay import Relay
from flyinglow.pilot.reports import Reports
from flyinglow.pilot.slot import Mailbox, Slot
from flyinglow.pilot.ssh import Ssh
from flyinglow.pilot.steps import steps
from flyinglow.pilot.term import Term
from flyinglow.pilot.tickets import Tickets
from flyinglow.pilot.turns import Turn, Worker

PROGRAM = f"flyinglow-pilot {__version__}"


def check(settings: Settings, rank: int, node: str) -> None:
    """Raise InvalidError when these settings are for no slot."""
    if not 0 <= rank < len(settings.slots):
        raise InvalidError(f"there is no slot of rank {rank}: the job has {len(settings.slots)}")
    size = settings.slots[rank]
    if not all(isinstance(size.get(name), int) for name in ("memory_mb", "cpus")):
        raise InvalidError(f"the slot of rank {rank} has no size: {size!r}")
    if not (0 < settings.seconds < float("inf") and 0 <= settings.grace < float("inf") and 0 <= settings.share <= 1):
        raise InvalidError("the slot's seconds, its grace or the service's share of it are out of range")
    if not node or not settings.agent or not settings.patience > 0:
        raise InvalidError("the node's name, the agent's command or the patience is missing")
    try:
        bytes.fromhex(settings.key)
    except ValueError as error:
        raise InvalidError("the job's key is not hexadecimal") from error


def run(
    settings: Settings,
    rank: int,
    node: str,
    *,
    clock: Clock,
    bell: Bell,
    started: float,
    begun: subprocess.Popen[bytes] | None = None,
) -> Exit:
    """Live one slot's life, from its start at ``started`` by the monotonic clock; ``begun`` is its agent."""
    check(settings, rank, node)
    log = Log(2, clock, f"{settings.job}.{rank}@{node}")
    incarnation = os.urandom(8).hex()
    identity = Identity(settings, rank, node, clock=clock, incarnation=incarnation, software=PROGRAM)
    address = Address(settings.url)
    mailbox = Mailbox(clock, bell.ring)

    def line() -> Line:
        return Line(Post(address, settings.certificate, clock), identity)

    said = Said(line(), identity, patience=settings.patience, heard=mailbox.heard, fate=mailbox.fate, log=log)

    def write(data: bytes, seconds: float) -> None:
        agent.write(data, seconds)

    relay = Relay(write, said, bell.ring, log)
    agent = AgentProcess(settings.agent, clock, relay.heard, relay.lost, begun)
    reports = Reports(
        line(),
        identity,
        clock=clock,
        patience=settings.patience,
        spool=Ssh(settings.ssh) if settings.ssh else None,
        heard=mailbox.heard,
        fate=mailbox.fate,
        log=log,
    )
    tickets = Tickets(line(), identity, settings.patience, ring=bell.ring, log=log)
    poll = Poll(line(), identity, relay, clock=clock, heard=mailbox.heard, fate=mailbox.fate, log=log)
    turns: dict[str, Turn] = {"said": said, "reports": reports, "poll": poll, "tickets": tickets}
    workers = {name: Worker(name, turn, log) for name, turn in turns.items()}
    said.wake, reports.wake, tickets.wake = (workers[name].wake for name in ("said", "reports", "tickets"))

    def bound() -> None:
        workers["poll"].wake()
        workers["tickets"].wake()

    identity.on_bound = bound
    reports.progress = bell.ring
    for worker in workers.values():
        worker.start()
    slot = Slot(
        settings,
        rank,
        clock=clock,
        bell=bell,
        mailbox=mailbox,
        term=Term(settings, started),
        agent=agent,
        relay=relay,
        reports=reports,
        log=log,
        tickets=tickets,
    )
    slot.started = started
    code = live(slot, steps(slot, node, PROGRAM))
    log.say("exit", code=int(code))
    return code
