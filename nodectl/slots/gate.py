"""Lets slots be taken on the service's word only: a ticket that it signed, for this node, this slot, now, and once.

Whoever may run the agent through ``sudo`` is a user of the batch system; jobs of all leases run as that one user. With
``ticket_signers`` configured that user alone can take nothing. Signatures are judged by the node's own ``ssh-keygen -Y
verify`` against a file that is root's. Tickets that were used, and slots that were given back in order, are remembered
on disk as long as a ticket for them could be good.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyinglow.nodectl.errors import BrokenError, DeniedError, InvalidError
from flyinglow.nodectl.slots import ticket as tickets
from flyinglow.nodectl.slots.ticket import NAMESPACE, PRINCIPAL, Ticket
from flyinglow.nodectl.slots.wanted import SlotSpec
from flyinglow.nodectl.trust import is_root, weak_spot
from flyinglow.nodectl.vmdir import StateDir, read_json, write_json

SKEW = 600.0  # seconds by which the clocks of service and node may differ
FILE = "tickets.json"
LOCK = ":tickets"  # no tag of a VM begins like this
_PATIENCE = 20.0  # seconds for ssh-keygen


class Gate:
    """Judges tickets for one node; ``now`` is its wall clock."""

    def __init__(
        self, signers: Path, node: str, state: StateDir, now: Callable[[], float], keygen: str = "ssh-keygen"
    ) -> None:
        self._signers = signers
        self._node = node
        self._state = state
        self._now = now
        self._keygen = keygen

    def admit(self, spec: SlotSpec, given: object) -> Ticket:
        """Use up the ticket that came with an order to take a slot, and return it.

        Raises DeniedError, which says what is wrong with it and what to do; BrokenError when it cannot be judged.
        """
        if given is None:
            raise DeniedError(
                f"slot {spec.slot} needs a ticket that the service signed, as ticket_signers of this node wants: "
                "set ticket_key in [backend.options] of the service"
            )
        try:
            text, signature = tickets.parts(given)
            self._verify(text, signature)
            ticket = tickets.read(text)
        except InvalidError as error:
            raise DeniedError(f"the ticket for slot {spec.slot} is refused: {error.message}") from error
        self._compare(ticket, spec)
        self._use_up(ticket)
        return ticket

    def close(self, ticket: Ticket) -> None:
        """Let the slot of a ticket not be taken again: it was given back in order."""
        with self._state.locked(LOCK):
            known = self._known()
            known["closed"][_place(ticket)] = self._until(ticket)
            self._write(known)

    def _verify(self, text: str, signature: str) -> None:
        """Ask the node's own OpenSSH. Raises DeniedError for a signature that is not one of the allowed signers'."""
        self._trust()
        handle = os.memfd_create("ticket", os.MFD_CLOEXEC)
        try:
            os.write(handle, signature.encode("utf-8", "replace"))
            words = [self._keygen, "-Y", "verify", "-f", str(self._signers), "-I", PRINCIPAL, "-n", NAMESPACE]
            done = subprocess.run(
                [*words, "-s", f"/proc/self/fd/{handle}"],
                input=text.encode("utf-8", "replace"),
                pass_fds=[handle],
                capture_output=True,
                check=False,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokenError(f"tickets cannot be judged: {error} (Debian: apt-get install openssh-client)") from error
        finally:
            os.close(handle)
        if done.returncode != 0:
            why = (done.stderr or done.stdout).decode(errors="replace").strip().replace("\n", "; ")[-200:]
            raise DeniedError(
                f"the ticket is not signed by the service that {self._signers} names ({why}): "
                "copy the service's .signers file there again if its key is new"
            )

    def _trust(self) -> None:
        try:
            weak = weak_spot(self._signers) if is_root() else None
        except OSError as error:
            raise BrokenError(f"the signers of tickets cannot be read: {error}") from error
        if weak is not None:
            raise BrokenError(f"{weak} must be root's alone, for {self._signers} says whom root believes")

    def _compare(self, ticket: Ticket, spec: SlotSpec) -> None:
        for wrong in (self._elsewhere(ticket, spec), self._untimely(ticket), _larger(ticket, spec)):
            if wrong:
                raise DeniedError(f"the ticket for slot {spec.slot} is refused: {wrong}")

    def _elsewhere(self, ticket: Ticket, spec: SlotSpec) -> str:
        if ticket.node != self._node:
            return (
                f"it is for node {ticket.node}, and this is {self._node} (configuration key node: "
                "what the batch scheduler calls this node)"
            )
        return "" if ticket.slot == spec.slot else f"it is for slot {ticket.slot}"

    def _untimely(self, ticket: Ticket) -> str:
        age = self._now() - ticket.issued
        if age > ticket.seconds + SKEW:
            return f"it was good for {ticket.seconds:g} s, {age:.0f} s ago by this node's clock: compare the clocks"
        if age < -SKEW:
            return f"it was signed {-age:.0f} s in the future by this node's clock: compare the clocks"
        return ""

    def _use_up(self, ticket: Ticket) -> None:
        with self._state.locked(LOCK):
            known = self._known()
            if ticket.serial in known["used"]:
                raise DeniedError(f"the ticket for slot {ticket.slot} was used already: each is good for one time")
            if _place(ticket) in known["closed"]:
                raise DeniedError(f"the ticket is refused: slot {ticket.slot} was given back for good")
            known["used"][ticket.serial] = self._until(ticket)
            self._write(known)

    def _known(self) -> dict[str, dict[str, float]]:
        """Read what is remembered, without what is too old to matter."""
        data: Any = read_json(self._state.path / FILE) or {}
        now = self._now()
        try:
            return {
                name: {key: float(until) for key, until in data.get(name, {}).items() if float(until) > now}
                for name in ("used", "closed")
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise BrokenError(f"{self._state.path / FILE} cannot be understood: {error}") from error

    def _write(self, known: dict[str, dict[str, float]]) -> None:
        try:
            write_json(self._state.path / FILE, known, durable=True)
        except OSError as error:
            raise BrokenError(f"tickets that were used cannot be written down: {error}") from error

    def _until(self, ticket: Ticket) -> float:
        """Return when no ticket of its like can be good any more, by this node's clock."""
        return max(self._now(), ticket.issued) + ticket.seconds + 2 * SKEW


def _larger(ticket: Ticket, spec: SlotSpec) -> str:
    for name in ("memory_mb", "cpus", "margin_mb"):
        most, asked = getattr(ticket, name), getattr(spec, name)
        if asked > most:
            return f"{name} {asked} is more than the {most} that was signed"
    return "" if spec.policy.value == ticket.policy else f"policy {spec.policy.value} was not signed"


def _place(ticket: Ticket) -> str:
    return f"{ticket.slot}/{ticket.epoch}"
