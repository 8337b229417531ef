"""The conversation about orders: a poll that the service holds back until it has some, and the agent's lines going up.

Each on a connection of its own, so that an answer never waits for the next order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flyinglow.nodectl.errors import FlyingLowError, TransientError
from flyinglow.pilot.clock import Clock
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.line import Says
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import LONG_POLL, Answer, Kind
from flyinglow.pilot.turns import BackOff

_MARGIN = 10.0  # seconds beyond what the service may hold a poll back
_EMPTY = 3  # polls in a row that brought nothing at once, after which the pilot waits before the next
_AT_ONCE = 1.0  # seconds
_MOST = 10_000  # lines that are kept while the service is away
_BATCH = 1 << 20  # characters that go up together


class Taker(Protocol):
    """Whom orders are given to; ``relay.Relay`` is one."""

    @property
    def session(self) -> str:
        """The run of the service that gives orders now."""

    @property
    def got(self) -> int:
        """The number of the last order of this session."""

    def begin(self, session: str) -> None:
        """Take orders of this run of the service."""

    def orders(self, orders: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Take orders, none twice."""


class Poll:
    """Asks for orders for ever. ``heard`` gets every answer, ``fate`` what makes asking useless."""

    def __init__(
        self,
        line: Says,
        identity: Identity,
        relay: Taker,
        *,
        clock: Clock,
        heard: Callable[[Answer], None],
        fate: Callable[[FlyingLowError], None],
        log: Log,
    ) -> None:
        self._line = line
        self._identity = identity
        self._relay = relay
        self._clock = clock
        self._heard = heard
        self._fate = fate
        self._log = log
        self._turn = 0
        self._empty = 0
        self._back_off = BackOff()
        self._over = False

    def once(self) -> float | None:
        """Ask once. See ``turns.Turn``."""
        if self._over or not self._identity.bound.is_set():
            return None
        session = self._relay.session or self._identity.session
        if session != self._relay.session:
            self._relay.begin(session)
        self._turn += 1
        asked = self._identity.message(Kind.POLL, {}, session=session, turn=self._turn, got=self._relay.got)
        began = self._clock.monotonic()
        try:
            answer = self._line.say(asked, LONG_POLL + _MARGIN)
        except TransientError as error:
            self._log.say("poll-failed", error=error.message)
            return self._back_off.failed()
        except FlyingLowError as error:
            self._over = True
            self._fate(error)
            return None
        self._back_off.worked()
        if self._clock.monotonic() - began >= _AT_ONCE:
            self._empty = 0
        return self._answered(session, answer)

    def _answered(self, session: str, answer: Answer) -> float:
        self._heard(answer)
        if answer.session and answer.session != session:
            self._log.say("session", session=answer.session)
            self._relay.begin(answer.session)
        elif answer.orders:
            self._relay.orders(answer.orders)
            self._empty = 0
            return 0.0
        self._empty += 1
        return 0.0 if self._empty <= _EMPTY else min(1.0, 0.1 * (self._empty - _EMPTY))


class Said:
    """Brings the agent's lines up, as many together as there are; each batch is repeated until it is taken."""

    def __init__(
        self,
        line: Says,
        identity: Identity,
        *,
        patience: float,
        heard: Callable[[Answer], None],
        fate: Callable[[FlyingLowError], None],
        log: Log,
    ) -> None:
        self._line = line
        self._identity = identity
        self._patience = patience
        self._heard = heard
        self._fate = fate
        self._log = log
        self._lock = threading.Lock()
        self._session = ""
        self._lines: deque[str] = deque(maxlen=_MOST)
        self._batch: list[str] = []
        self._turn = 0
        self._back_off = BackOff()
        self._over = False
        self.wake: Callable[[], None] = lambda: None

    def begin(self, session: str, lines: Sequence[str]) -> None:
        """Forget what was to be said to another run of the service, and begin with these lines."""
        with self._lock:
            self._session = session
            self._batch = []
            self._lines.clear()
            self._lines.extend(lines)
        self.wake()

    def put(self, session: str, lines: Sequence[str]) -> None:
        """Send lines to this run of the service, if it is the present one."""
        with self._lock:
            if session != self._session or not session:
                return
            self._lines.extend(lines)
        self.wake()

    @property
    def settled(self) -> bool:
        """Whether all lines went up, or none will."""
        with self._lock:
            return self._over or not (self._lines or self._batch)

    def once(self) -> float | None:
        """Send a batch. See ``turns.Turn``."""
        session, batch, turn = self._next()
        if not batch or self._over:
            return None
        said = self._identity.message(Kind.SAID, {"lines": batch}, session=session, turn=turn)
        try:
            answer = self._line.say(said, self._patience)
        except TransientError as error:
            self._log.say("lines-failed", error=error.message)
            return self._back_off.failed()
        except FlyingLowError as error:
            self._over = True
            self._fate(error)
            return None
        self._back_off.worked()
        with self._lock:
            if self._turn == turn and self._session == session:
                self._batch = []
        self._heard(answer)
        return 0.0

    def _next(self) -> tuple[str, list[str], int]:
        with self._lock:
            if not self._batch and self._lines:
                self._turn += 1
                size = 0
                while self._lines and (not self._batch or size + len(self._lines[0]) <= _BATCH):
                    size += len(self._lines[0])
                    self._batch.append(self._lines.popleft())
            return self._session, list(self._batch), self._turn
