"""Reports to the service: one at a time, in their order, each repeated until acknowledged (section 3.2 of the paper).

By HTTP first; while that fails, by the second channel, which takes them without an answer. What only the second channel
took is still said by HTTP when that works again: the service knows by the sequence what it has.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flyinglow.nodectl.errors import FlyingLowError, TransientError
from flyinglow.pilot.clock import Clock
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.line import Says
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import Answer, Kind, Message, seal
from flyinglow.pilot.turns import BackOff

_STUCK = 1.0  # seconds after which a post is broken off when time is short
_SHORTEST_BOX = 0.5  # seconds that a post gets at least


class Spool(Protocol):
    """The second channel."""

    def append(self, data: bytes, seconds: float) -> None:
        """Store sealed messages, one a line; raises TransientError."""


@dataclass
class Report:
    """What is to be said, and when it happened."""

    kind: Kind
    sequence: int
    body: dict[str, Any]
    time_ms: int


class Reports:
    """Filled by the main thread, emptied by a ``turns.Worker``.

    ``heard`` gets every answer, ``fate`` what makes going on useless.
    """

    def __init__(
        self,
        line: Says,
        identity: Identity,
        *,
        clock: Clock,
        patience: float,
        spool: Spool | None,
        heard: Callable[[Answer], None],
        fate: Callable[[FlyingLowError], None],
        log: Log,
    ) -> None:
        self._line = line
        self._identity = identity
        self._clock = clock
        self._patience = patience
        self._spool = spool
        self._heard = heard
        self._fate = fate
        self._log = log
        self._lock = threading.Lock()
        self._waiting: deque[Report] = deque()
        self._said = 0  # the highest sequence
        self._spooled = 0
        self._since: float | None = None  # when the present post began
        self._back_off = BackOff()
        self._over = False
        self.wake: Callable[[], None] = lambda: None
        self.progress: Callable[[], None] = lambda: None  # called when ``settled`` may have become true

    def add(self, kind: Kind, **body: Any) -> None:
        """Say something when all before it is said."""
        with self._lock:
            self._said += 1
            self._waiting.append(Report(kind, self._said, body, self._clock.stamp_ms))
        self._log.say("report", kind=kind.value, **body)
        self.wake()

    @property
    def settled(self) -> bool:
        """Whether the service, or the second channel, has all of it; or none of it will be taken."""
        with self._lock:
            return self._over or all(self._spooled >= report.sequence for report in self._waiting)

    def hurry(self, seconds: float) -> None:
        """Give no post more than this from now on, and break off one that hangs."""
        self._patience = max(_SHORTEST_BOX, min(self._patience, seconds))
        self._back_off.hurried = True
        since = self._since
        if since is not None and self._clock.monotonic() - since > _STUCK:
            self._line.abandon()
        self.wake()

    def once(self) -> float | None:
        """Say the oldest that nobody acknowledged. See ``turns.Turn``."""
        with self._lock:
            report = self._waiting[0] if self._waiting and not self._over else None
        if report is None:
            return None
        try:
            answer = self._post(report)
        except TransientError as error:
            self._log.say("report-failed", kind=report.kind.value, sequence=report.sequence, error=error.message)
            self._append()
            return self._back_off.failed()
        except FlyingLowError as error:
            self._over = True
            self._fate(error)
            self.progress()
            return None
        return self._acknowledged(report, answer)

    def _post(self, report: Report) -> Answer:
        self._since = self._clock.monotonic()
        try:
            return self._line.say(self._message(report), self._patience)
        finally:
            self._since = None

    def _message(self, report: Report) -> Message:
        return self._identity.message(report.kind, report.body, sequence=report.sequence, time_ms=report.time_ms)

    def _acknowledged(self, report: Report, answer: Answer) -> float | None:
        if report.kind is Kind.HELLO and answer.key:
            self._identity.bind(answer)
        taken = answer.ack >= report.sequence and (report.kind is not Kind.HELLO or self._identity.bound.is_set())
        if taken:
            with self._lock:
                while self._waiting and self._waiting[0].sequence <= answer.ack:
                    self._waiting.popleft()
            self._log.say("acknowledged", kind=report.kind.value, sequence=report.sequence)
            self._back_off.worked()
            self.progress()
        self._heard(answer)
        return 0.0 if taken else self._back_off.failed()

    def _append(self) -> None:
        """Try the second channel. Without the slot's key, only the first report can be signed."""
        with self._lock:
            due = [report for report in self._waiting if report.sequence > self._spooled]
        if not self._identity.bound.is_set():
            due = [report for report in due if report.kind is Kind.HELLO]
        if self._spool is None or not due:
            return
        data = b"".join(seal(self._message(report), self._identity.key) + b"\n" for report in due)
        try:
            self._spool.append(data, self._patience)
        except TransientError as error:
            self._log.say("spool-failed", error=error.message)
            return
        self._spooled = due[-1].sequence
        self._log.say("spooled", sequence=self._spooled)
        self.progress()
