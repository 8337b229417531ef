"""Carries an adapter's calls out: one process each, no shell, in the C locale, with an end to its time and its output.

A command that hangs is killed and left behind, and holds nothing else up.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol

from flyinglow.backend.lrm.api import Output, Queue, Survey
from flyinglow.nodectl.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from twisted.python.failure import Failure

    from flyinglow.backend.lrm.api import Adapter, Call, JobRequest, JobView, Rehearsal
    from flyinglow.backend.lrm.model import Component

T = TypeVar("T")

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
MOST_OUTPUT = 32 << 20
_KILLED = 128


class CommandLrm:
    """See ``api.Lrm``: a batch scheduler by its commands."""

    def __init__(
        self,
        adapter: Adapter,
        reactor: Any,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        most_output: int = MOST_OUTPUT,
    ) -> None:
        """``environment`` is the site's, on top of a minimal one; ``timeout`` is in seconds, for each command."""
        self._adapter = adapter
        self._reactor = reactor
        self._environment = surroundings(environment or {})
        self._timeout = timeout
        self._most_output = most_output

    async def submit(self, job: JobRequest) -> str:
        """See ``api.Lrm.submit``."""
        return await self._run(self._adapter.submit(job))

    async def list(self) -> tuple[JobView, ...]:
        """See ``api.Lrm.list``."""
        return await self._run(self._adapter.list())

    async def cancel(self, lrm_id: str) -> None:
        """See ``api.Lrm.cancel``."""
        await self._run(self._adapter.cancel(lrm_id))

    async def rehearse(self, job: JobRequest) -> Rehearsal:
        """See ``api.Lrm.rehearse``."""
        return await self._run(self._adapter.rehearse(job))

    async def extend(self, lrm_id: str, seconds: int) -> None:
        """See ``api.Lrm.extend``."""
        await self._run(self._adapter.extend(lrm_id, seconds))

    async def survey(self) -> Survey:
        """See ``api.Lrm.survey``."""
        return together([await self._run(call) for call in self._adapter.survey()])

    def splits(self, components: tuple[Component, ...]) -> tuple[tuple[Component, ...], ...]:
        """See ``api.Lrm.splits``."""
        return self._adapter.splits(components)

    async def _run(self, call: Call[T]) -> T:
        limits = {"timeout": self._timeout, "most": self._most_output}
        return call.read(await output_of(self._reactor, call.argv, call.stdin, environment=self._environment, **limits))


async def output_of(
    reactor: Any,
    argv: Sequence[str],
    given: bytes,
    *,
    timeout: float,
    most: float,
    environment: Mapping[str, str] | None = None,
) -> Output:
    """Run one command to its end. Raises TransientError when it cannot be started or is given up."""
    command = _Command(argv[0], given, reactor, most)
    timer = reactor.callLater(timeout, command.give_up, f"did not answer in {timeout:g} s")
    try:
        reactor.spawnProcess(command, argv[0], argv, env=environment or surroundings({}), path="/")
        return await command.done
    except OSError as error:
        raise TransientError(f"{argv[0]} could not be started: {error}") from error
    finally:
        if timer.active():
            timer.cancel()


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the scheduler's commands: a minimal one, and the site's on top of it."""
    # schedulers print times in their zone, which must not depend on where this service runs
    return {"PATH": PATH, "LC_ALL": "C", "TZ": "UTC0", **environment}


def together(answers: Sequence[Survey]) -> Survey:
    """Lay the answers of a survey's commands together."""
    return Survey(
        version=next((answer.version for answer in answers if answer.version), ""),
        queues=_laid_together(queue for answer in answers for queue in answer.queues),
        findings=tuple(finding for answer in answers for finding in answer.findings),
        notice=next((answer.notice for answer in answers if answer.notice is not None), None),
    )


def _laid_together(queues: Iterable[Queue]) -> tuple[Queue, ...]:
    """Make one of what several commands told of a queue: one may know its nodes, another its limit."""
    found: dict[str, Queue] = {}
    for queue in queues:
        known = found.setdefault(queue.name, queue)
        found[queue.name] = Queue(
            name=queue.name,
            nodes=max(known.nodes, queue.nodes),
            memory_mb=queue.memory_mb if known.memory_mb is None else known.memory_mb,
            cpus=queue.cpus if known.cpus is None else known.cpus,
            max_seconds=queue.max_seconds if known.max_seconds is None else known.max_seconds,
            default=known.default or queue.default,
        )
    return tuple(found.values())


class _Command(ProcessProtocol):
    """One process; ``done`` fires when it has ended, or fails with TransientError when it was given up."""

    def __init__(self, name: str, stdin: bytes, reactor: Any, most: float) -> None:
        self.done: Deferred[Output] = Deferred()
        self._name = name
        self._stdin = stdin
        self._reactor = reactor
        self._most = most
        self._said: dict[int, list[bytes]] = {1: [], 2: []}
        self._size = 0

    def connectionMade(self) -> None:
        """Hand over its input."""
        process: Any = self.transport
        process.write(self._stdin)
        process.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - Twisted's name
        """Collect what it says, up to the limit."""
        self._size += len(data)
        if self._size > self._most:
            self.give_up(f"said more than {self._most} bytes")
        else:
            self._said[childFD].append(data)

    def processEnded(self, reason: Failure) -> None:
        """Hand on what it left behind."""
        if self.done.called:
            return
        code = getattr(reason.value, "exitCode", None)
        out, err = (b"".join(self._said[stream]).decode(errors="replace") for stream in (1, 2))
        self.done.callback(Output(_KILLED if code is None else code, out, err, self._reactor.seconds()))

    def give_up(self, why: str) -> None:
        """Kill it, and do not wait for what it started."""
        if self.done.called:
            return
        self.done.errback(TransientError(f"{self._name} {why}"))
        process: Any = self.transport
        if process is not None:
            with suppress(ProcessExitedAlready):  # then something it started holds its output open
                process.signalProcess("KILL")
            process.loseConnection()
