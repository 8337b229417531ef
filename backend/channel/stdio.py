"""A kept channel to one node: one agent process, started when it is first needed and again after it was lost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from flyinglow.backend.channel.agent import Agent
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flyinglow.backend.api import Order
    from flyinglow.nodectl.messages import VmInfo

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
"""All that an agent, ssh or sudo gets of the service's environment."""

_FIRST_PAUSE = 0.25  # seconds after the first failed start; doubled with each further one
_LONGEST_PAUSE = 30.0


class StdioChannel:
    """Implements ``NodeChannel`` over the standard input and output of ``argv``, which is run without a shell.

    When the process ends, orders under way fail with TransientError and the next one starts another. Starts that fail
    in a row are spaced with growing pauses; an order waits for the next start, but never beyond its own time limit.
    """

    def __init__(
        self,
        reactor: Any,
        node: str,
        argv: Sequence[str],
        news: Callable[[str, VmInfo], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._reactor = reactor
        self._node = node
        self._argv = list(argv)
        self._news = news
        self._environment = dict(ENVIRONMENT if environment is None else environment)
        self._agent: Agent | None = None
        self._failures = 0
        self._not_before = 0.0
        self._last: FlyingLowError | None = None  # why the last agent ended
        self._closed = False

    async def send(self, order: Order, timeout: float) -> Mapping[str, Any]:
        """Carry out one order; see ``NodeChannel``. Raises BrokenError when the agent speaks another version."""
        work = Deferred.fromCoroutine(self._ask(order))

        def too_late(_result: object, _seconds: float) -> Mapping[str, Any]:
            message = f"node {self._node} did not answer to {order.name.value} within {timeout:g} s"
            raise TransientError(f"{message}; before that: {self._last.message}" if self._last else message)

        work.addTimeout(timeout, self._reactor, too_late)
        return await work

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write the orders that are given within this context as one message; see ``Together``."""
        with self._agent.together() if self._agent else contextlib.nullcontext():
            yield

    def close(self) -> None:
        """End the agent by closing its input; VMs are left alone."""
        self._closed = True
        if self._agent:
            self._agent.finish()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed for good."""
        return self._closed

    @property
    def is_gone(self) -> bool:
        """Whether it is closed and its last agent has ended."""
        return self._closed and (self._agent is None or self._agent.exited)

    async def closed(self) -> None:
        """Wait until the agent's process has ended."""
        if self._agent:
            await self._agent.gone()

    async def _ask(self, order: Order) -> Mapping[str, Any]:
        agent = await self._ready()
        body = await agent.ask(order)
        self._last = None
        return body

    async def _ready(self) -> Agent:
        while not self._closed and (self._agent is None or self._agent.ended):
            pause = self._not_before - self._reactor.seconds()
            if pause <= 0:
                self._agent = self._start()
            elif isinstance(self._last, BrokenError):
                raise self._last  # waiting would not mend it
            else:
                await self._sleep(pause)
        if self._closed or self._agent is None:
            raise TransientError(f"the channel to node {self._node} was closed")
        agent = self._agent
        await agent.greeted()
        return agent

    def _start(self) -> Agent:
        agent = Agent(self._reactor, self._node, self._news, lambda error: self._ended(agent, error))
        try:
            self._reactor.spawnProcess(agent, self._argv[0], self._argv, env=self._environment)
        except OSError as error:
            failed = TransientError(f"{self._argv[0]} for node {self._node} cannot be started: {error}")
            self._pause(failed)
            raise failed from error
        return agent

    def _ended(self, agent: Agent, error: FlyingLowError) -> None:
        if agent.answered:
            self._failures = 0
        self._pause(error)

    def _pause(self, error: FlyingLowError) -> None:
        pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        self._failures += 1
        self._not_before = self._reactor.seconds() + pause
        self._last = error

    def _sleep(self, seconds: float) -> Deferred[None]:
        awake: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._reactor.callLater(seconds, awake.callback, None)
        return awake
