"""One running agent: its process, its hello, the orders that wait for an answer, and its last words."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

from flyinglow.backend.channel.cork import Cork
from flyinglow.backend.channel.waiting import Waiting, unwanted
from flyinglow.backend.channel.wire import Hello, Lines, News, order_piece, read
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, TransientError
from flyinglow.nodectl.framing import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from twisted.python.failure import Failure

    from flyinglow.backend.api import Order
    from flyinglow.nodectl.messages import VmInfo

_LAST_WORDS = 2000  # bytes of its standard error that are kept
_LINGER = 1.0  # seconds from the end of its output to the process's own end
_PATIENCE = (3.0, 6.0)  # seconds after the end of its input when it is asked, and made, to go


class Agent(ProcessProtocol):
    """A process that was started for one node. Once it has ended it is of no more use: start another.

    ``on_end`` is called once with the error that every waiting order got. A line that is not of the protocol ends it.
    """

    log = Logger()

    def __init__(
        self, clock: Any, node: str, news: Callable[[str, VmInfo], None], on_end: Callable[[FlyingLowError], None]
    ) -> None:
        self.node = node
        self.hello: Hello | None = None
        self.answered = False
        self.ended: FlyingLowError | None = None
        self._clock = clock
        self._news = news
        self._on_end = on_end
        self._numbers = itertools.count(1)
        self._lines = Lines()
        self._last_words = b""
        self._greeted: list[Deferred[None]] = []
        self._gone: list[Deferred[None]] = []
        self._waiting = Waiting(self._given_up)
        self._unwritten: deque[tuple[int, bytes]] = deque()
        self._notes: set[int] = set()  # orders that nobody waits for, and that go out all the same
        self._cork = Cork(self._flush)
        self._paused = False
        self.exited = False
        self._timers: list[Any] = []
        self._pipe: Any = None

    # what the channel asks for

    def greeted(self) -> Deferred[None]:
        """Fire when the agent said hello, or fail when it ended before."""
        return self._wait(self._greeted, over=self.hello is not None)

    def gone(self) -> Deferred[None]:
        """Fire when the process has ended."""
        waiter: Deferred[None] = Deferred(self._gone.remove)
        if self.exited:
            waiter.callback(None)
        else:
            self._gone.append(waiter)
        return waiter

    def ask(self, order: Order) -> Deferred[Mapping[str, Any]]:
        """Write an order and fire with the answer's body, or fail with its error. Raises InvalidError when too long."""
        number = next(self._numbers)
        text = order_piece(number, order)
        answer = self._waiting.add(number, order)
        if self.ended:
            self._waiting.fail(self.ended)
            return answer
        self._unwritten.append((number, text))
        self._flush()
        return answer

    def together(self) -> AbstractContextManager[None]:
        """Write the orders that are given within this context as one message."""
        return self._cork.together()

    def finish(self) -> None:
        """Let it end by closing its input; what does not end is asked, then made to. VMs are left alone."""
        self._end(TransientError(f"the channel to node {self.node} was closed"))

    # flow control: the pipe to the process says when it is full

    def pauseProducing(self) -> None:
        """Hold orders back, as the process does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Write again."""
        self._paused = False
        self._flush()

    def stopProducing(self) -> None:
        """Write no more: the process reads nothing any longer."""
        self._paused = True

    def _flush(self) -> None:
        if self._is_held() or self._cork.is_in or self.hello is None or self._pipe is None:
            return
        wanted = [one for one in self._unwritten if one[0] in self._waiting or one[0] in self._notes]
        self._unwritten.clear()
        for numbers, data in frames(wanted, self.hello.speaks):
            if self._is_held():  # by what was written a moment ago
                self._unwritten.extend(one for one in wanted if one[0] in set(numbers))
            else:
                self._notes.difference_update(numbers)
                self._pipe.write(data)

    def _is_held(self) -> bool:
        return self._paused

    def _given_up(self, number: int, order: Order) -> None:
        """Nobody waits for an order any longer: where the node has it already, it is told so."""
        begun = all(number != one for one, _ in self._unwritten)
        cancel = unwanted(order, self.hello.speaks) if self.hello and begun and not self.ended else None
        if cancel is not None:
            note = next(self._numbers)
            self._notes.add(note)
            self._unwritten.append((note, order_piece(note, cancel)))
            self._flush()

    # what the process does

    def connectionMade(self) -> None:
        """Take part in the flow control of its input."""
        self._pipe = self.transport
        self._pipe.registerProducer(self, True)

    def outReceived(self, data: bytes) -> None:
        """Read what it wrote."""
        if self.ended:
            return
        try:
            for line in self._lines.feed(data):
                self._received(line)
        except BrokenError as error:
            self._end(BrokenError(f"the agent of node {self.node} is not understood: {error.message}"))

    def errReceived(self, data: bytes) -> None:
        """Keep its last words."""
        self._last_words = (self._last_words + data)[-_LAST_WORDS:]

    def outConnectionLost(self) -> None:
        """Give it a moment to end and to say why: ssh may leave its error output open for longer."""
        self._timers.append(self._clock.callLater(_LINGER, self._end, None))

    def processEnded(self, reason: Failure) -> None:
        """Fail what waits."""
        self.exited = True
        code, signal = getattr(reason.value, "exitCode", None), getattr(reason.value, "signal", None)
        self._end(None, f"was killed by signal {signal}" if signal else f"ended with code {code}")
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        for waiter in _emptied(self._gone):
            waiter.callback(None)

    def _received(self, line: bytes) -> None:
        message = read(line)
        if self.hello is None and not isinstance(message, Hello):
            raise BrokenError("it did not say hello first")
        if isinstance(message, Hello):
            self.hello = message
            with self.together():
                for waiter in _emptied(self._greeted):
                    waiter.callback(None)
        elif isinstance(message, News):
            self._pass_on(message.info)
        else:
            self.answered = True
            if not self._waiting.take(message):
                self.log.debug("node {node} answered to an order that nobody waits for any longer", node=self.node)

    def _pass_on(self, info: VmInfo) -> None:
        try:
            self._news(self.node, info)
        except Exception:  # noqa: BLE001 - whoever hears the news must not cut the line it came by
            self.log.failure("news of VM {tag} on node {node} could not be taken in", tag=info.tag, node=self.node)

    def _end(self, error: FlyingLowError | None, how: str = "closed its output") -> None:
        """Make this agent useless, once: tell all who wait and see to it that the process ends."""
        if self.ended is None:
            words = " | ".join(self._last_words.decode(errors="replace").split("\n")).strip(" |")
            message = f"the agent of node {self.node} {how}" + (f": {words}" if words else "")
            self.ended = error or TransientError(message)
            if not self.exited:
                self._dismiss()
            self._on_end(self.ended)
            for waiter in _emptied(self._greeted):
                waiter.errback(self.ended)
            self._waiting.fail(self.ended)

    def _dismiss(self) -> None:
        if self._pipe is not None:
            self._pipe.unregisterProducer()
            self._pipe.closeStdin()
            self._timers += [
                self._clock.callLater(seconds, self._signal, name)
                for seconds, name in zip(_PATIENCE, ("TERM", "KILL"), strict=True)
            ]

    def _signal(self, name: str) -> None:
        # A process under sudo cannot be signalled by us; the end of its input has to do.
        with contextlib.suppress(ProcessExitedAlready, OSError):
            self._pipe.signalProcess(name)

    def _wait(self, waiters: list[Deferred[None]], *, over: bool) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(waiters.remove)
        if self.ended:
            waiter.errback(self.ended)
        elif over:
            waiter.callback(None)
        else:
            waiters.append(waiter)
        return waiter


def _emptied(waiters: list[Deferred[None]]) -> list[Deferred[None]]:
    """Take all out, so that a waiter that is called cannot be called again."""
    taken = list(waiters)
    waiters.clear()
    return taken
