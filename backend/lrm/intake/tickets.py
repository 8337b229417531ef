"""Signs tickets: the service's word to a node that a pilot may take its slot there (``nodectl/slots/ticket.py``).

The key is OpenSSH's, made at the first start where there is none, and used by OpenSSH's own ``ssh-keygen`` alone.
Beside it lies what nodes are to believe: ``KEY.signers``, for their configuration key ``ticket_signers``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from twisted.internet.defer import DeferredSemaphore

from flyinglow.backend.lrm.shell import output_of
from flyinglow.nodectl.errors import DeniedError, TransientError
from flyinglow.nodectl.slots.ticket import NAMESPACE, PRINCIPAL, Ticket, written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from flyinglow.backend.lrm.model import Slot

log = structlog.get_logger(__name__)

KEYGEN = "ssh-keygen"
_SECONDS = 20.0  # that ssh-keygen may take
_MOST = 1 << 16
_AT_ONCE = 4  # signatures: each is a process


class Tickets:
    """``key`` None: the site's nodes want no tickets, and none is signed. ``serial`` gives a new one each time."""

    def __init__(
        self,
        key: str | None,
        policy: tuple[str, int],
        *,
        reactor: Any,
        now: Callable[[], datetime],
        serial: Callable[[], str],
    ) -> None:
        self._key = Path(key) if key else None
        self._policy, self._margin = policy
        self._reactor = reactor
        self._now = now
        self._serial = serial
        self._room = DeferredSemaphore(_AT_ONCE)
        self._under_way: set[str] = set()  # slots

    async def prepare(self) -> None:
        """Make the key, if it is not there, and write down what nodes need of it. Raises TransientError."""
        if self._key is None:
            return
        if not self._key.exists():
            await self._run(["-q", "-t", "ed25519", "-N", "", "-C", PRINCIPAL, "-f", str(self._key)], "")
            log.info("made the key that signs tickets for slots", path=str(self._key))
        public = await self._run(["-y", "-f", str(self._key)], "")
        signers = self._key.with_name(f"{self._key.name}.signers")
        text = f'{PRINCIPAL} namespaces="{NAMESPACE}" {" ".join(public.split()[:2])}\n'
        try:
            if not signers.exists() or signers.read_text("ascii") != text:
                signers.write_text(text, "ascii")
        except (OSError, ValueError) as error:
            raise TransientError(f"{signers} cannot be written: {error}") from error

    async def ticket(self, slot: Slot) -> dict[str, str]:
        """Return a ticket for a slot; few are signed at once, and one for each slot.

        Raises DeniedError where none are signed, TransientError when that failed or one is being signed already.
        """
        if self._key is None:
            raise DeniedError(
                f"node {slot.node} wants a ticket and this service signs none: set ticket_key in [backend.options]"
            )
        if slot.id in self._under_way:
            raise TransientError(f"a ticket for slot {slot.id} is being signed already")
        self._under_way.add(slot.id)
        try:
            await self._room.acquire()
            try:
                return await self._signed(slot, self._key)
            finally:
                self._room.release()
        finally:
            self._under_way.discard(slot.id)

    async def _signed(self, slot: Slot, key: Path) -> dict[str, str]:
        if not key.exists():
            await self.prepare()
        text = written(
            Ticket(
                node=slot.node or "",
                slot=slot.id,
                epoch=slot.epoch,
                memory_mb=slot.memory_mb,
                cpus=slot.cpus,
                policy=self._policy,
                margin_mb=self._margin,
                serial=self._serial(),
                issued=self._now().timestamp(),
            )
        )
        signature = await self._run(["-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE], text)
        return {"text": text, "signature": signature}

    async def _run(self, words: Sequence[str], given: str) -> str:
        argv = [KEYGEN, *words]
        output = await output_of(self._reactor, argv, given.encode(), timeout=_SECONDS, most=_MOST)
        if output.code != 0:
            raise TransientError(f"{KEYGEN} failed for the key {self._key}: {output.err.strip()[-200:]}")
        return output.out
