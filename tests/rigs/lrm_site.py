"""A site in memory: the LRM back-end over a simulated scheduler, with pilots that speak the real protocol to it.

The clock is Twisted's; nothing waits for real. The back-end can be killed and started anew on the same ledger while
scheduler and pilots live on.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.backend.abilities import Reply
from flyinglow.backend.api import Claim, ClaimNews, ClaimTopic, Demand, PoolView, Request, Settings, View
from flyinglow.backend.lrm.api import JobRequest
from flyinglow.backend.lrm.backend import LrmBackend, Making, key, tag
from flyinglow.backend.lrm.model import PilotJob, Slot
from flyinglow.backend.lrm.settings.options import options
from flyinglow.backend.lrm.simulated.scheduler import Machine, SimulatedLrm
from flyinglow.pilot.messages import Kind
from flyinglow.pilot.messages import settings as read_settings
from rigs.intake import SignedPilot
from rigs.lrm_ledger import Ledger

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
STEP = 0.25
T = TypeVar("T")


def known(value: T | None) -> T:
    """Return what must be known by now."""
    assert value is not None
    return value


class Pilot:
    """One pilot: says hello, is ready, polls, ends when told to or signalled; repeats what is not acknowledged."""

    def __init__(self, site: "Site", request: JobRequest, lrm_id: str, rank: int, node: str) -> None:
        self.settings = read_settings(request.settings)
        self.site, self.lrm_id, self.rank, self.node = site, lrm_id, rank, node
        self.slot = f"{self.settings.job}.{rank}"
        self.incarnation = f"{lrm_id}-{site.clock.seconds()}-{rank}"
        self.signed = SignedPilot(self.slot, self.settings.key, node, self.incarnation)
        self.outbox: list[tuple[Kind, Mapping[str, Any], int]] = []
        self.standing: Any = None
        self.dead = self.over = self.polling = self.sending = self.ending = False
        self.deadline = site.clock.seconds() + self.settings.seconds
        self.vms: dict[str, dict[str, Any]] = {}
        self.killed_at: float | None = None
        self.numbers = 0

    def say(self, kind: Kind, body: Mapping[str, Any] | None = None) -> None:
        """Put a report into the outbox and see it off."""
        self.numbers += 1
        self.outbox.append((kind, body or {}, self.numbers))
        self._send()

    def tick(self) -> None:
        """Act on the clock: repeat, poll, end by the deadline."""
        if self.dead:
            return
        if not self.over and self.site.clock.seconds() >= self.deadline:
            self.give_back("deadline")
        self._send()
        if not self.polling and self.signed.key != self.settings.key and not self.over:
            self.polling = True
            self._post(self.signed.poll, self._polled)

    def give_back(self, reason: str) -> None:
        """Undo everything and end."""
        if not self.ending and not self.dead:
            self.ending = True
            self.vms.clear()
            self.say(Kind.RELEASING, {"reason": reason})
            self.say(Kind.RELEASED, {"reason": reason, "destroyed": [], "restored_mb": 1})
            self.over = True
            self._perhaps_over()

    def _send(self) -> None:
        if self.outbox and not self.sending and not self.dead:
            kind, body, number = self.outbox[0]
            self.sending = True
            self._post(lambda: self.signed.seal(kind, body, sequence=number), self._acknowledged)

    def _post(self, seal: Callable[[], bytes], answered: Callable[[Any], None]) -> None:
        sent = seal()

        def reply(result: Any) -> None:
            answer = None
            if isinstance(result, Reply) and result.status == 200 and not self.dead:
                answer = self.signed.read(sent, result)
            answered(answer)

        self.site.post(sent, self.node).addBoth(reply)

    def _acknowledged(self, answer: Any) -> None:
        self.sending = False
        if answer is None:
            return
        self._stand(answer)
        refused = answer.error is not None and answer.error["kind"] != "transient"
        if self.outbox and (answer.ack >= self.outbox[0][2] or refused):
            self.outbox.pop(0)
            self._send()
        self._perhaps_over()

    def _perhaps_over(self) -> None:
        if self.over and not self.outbox and not self.dead:
            self.site.ended(self)

    def _polled(self, answer: Any) -> None:
        self.polling = False
        if answer is None:
            return
        self._stand(answer)
        for _number, order in answer.orders:
            self._obey(order)

    def _obey(self, order: Mapping[str, Any]) -> None:
        body = {"vms": list(self.vms.values())} if order["order"] == "list" else {}
        line = json.dumps({"v": 1, "id": order["id"], "ok": True, "body": body})
        self.signed.turn += 1
        self._post(
            lambda: self.signed.seal(Kind.SAID, {"lines": [line]}, session=self.signed.session, turn=self.signed.turn),
            lambda _: None,
        )

    def _stand(self, answer: Any) -> None:
        standing = self.standing = answer.standing
        if standing.end:
            self.site.clock.callLater(self.site.undoing, self.give_back, "ended: " + standing.reason)
        if standing.left is not None:
            self.deadline = self.site.clock.seconds() + standing.left
        if standing.warned is not None:
            self.doom(standing.warned, signal=False)

    def doom(self, left: float, *, signal: bool = True, word: str = "SIGTERM") -> None:
        """Be signalled, or warned that another was."""
        if self.dead or self.over:
            return
        if signal:
            self.say(Kind.SIGNALLED, {"signal": word, "grace": self.settings.grace, "left": left})
        if self.killed_at is None:
            self.killed_at = self.site.clock.seconds() + left
            own = left - self.settings.grace * (1 - self.settings.share)
            self.site.clock.callLater(max(0.0, own), self.give_back, f"signal {word}" if signal else "warned")


@dataclass
class Site:
    """``options`` are those of the table; ``away`` cuts pilots off; ``start``: seconds until a pilot is ready."""

    nodes: int = 4
    options: dict[str, Any] = field(default_factory=dict)
    start: float = 0.5
    undoing: float = 0.5
    silent: bool = False  # pilots never report
    deaf: bool = False  # only the first pilot of a job hears the scheduler's notice
    away: bool = False
    store: Any = None  # in the place of a ledger in memory

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.ledger = self.store or Ledger()
        machines = {f"n{number}": Machine(8000, 8) for number in range(1, self.nodes + 1)}
        self.grace = float(self.options.get("grace", 30.0))
        self.lrm = SimulatedLrm(self.clock, machines, grace=self.grace, start_delay=0.5)
        self.lrm.hooks.start = self._start
        self.lrm.hooks.notice = self._notice
        self.lrm.hooks.kill = self._kill
        self.pilots: list[Pilot] = []
        self.news: list[ClaimNews] = []
        self.cancels: list[str] = []
        self.submits: list[JobRequest] = []
        self._wrap()
        self.backend: LrmBackend = self._made()
        self.run(1)

    def _wrap(self) -> None:
        submit, cancel = self.lrm.submit, self.lrm.cancel

        async def submitted(job: JobRequest) -> str:
            self.submits.append(job)
            return await submit(job)

        async def cancelled(lrm_id: str) -> None:
            self.cancels.append(lrm_id)
            await cancel(lrm_id)

        self.lrm.submit, self.lrm.cancel = submitted, cancelled  # type: ignore[method-assign]

    def _made(self) -> LrmBackend:
        table = {"lrm": "slurm", "networks": {"public": "br0"}, "grace": self.grace, **self.options}
        settings = Settings(
            reactor=self.clock,
            nodes={},
            options=table,
            news=lambda _node, _info: None,
            claims=self.news.append,
            ledger=self.ledger,
            urls={"node": "http://service:1"},
            now=self.now,
        )
        return LrmBackend(settings, self.lrm, options(table), b"pilot", Making(tag=tag, key=key))

    def now(self) -> datetime:
        """Tell the wall clock's time."""
        return NOON + timedelta(seconds=self.clock.seconds())

    # the service

    def kill(self) -> None:
        """Let the service be gone."""
        self.away = True
        self.backend._desk.close()
        self.backend._intake.stop()

    def restart(self) -> None:
        """Start the service anew on what the ledger holds."""
        self.away = False
        self.backend = self._made()
        self.run(1)

    # time

    def run(self, seconds: float) -> None:
        """Let time pass, and pilots act."""
        for _ in range(max(1, round(seconds / STEP))):
            self.clock.advance(STEP)
            for pilot in list(self.pilots):
                pilot.tick()

    def until(self, question: Callable[[], Any], seconds: float = 120.0) -> Any:
        """Let time pass until something is so."""
        for _ in range(round(seconds / STEP)):
            if answer := question():
                return answer
            self.run(STEP)
        raise AssertionError(f"not so within {seconds} s")

    def spawn(self, work: Coroutine[Any, Any, Any]) -> list[Any]:
        """Start something; its result or failure comes into the list."""
        done: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(done.append)
        return done

    def result(self, work: Coroutine[Any, Any, Any], seconds: float = 120.0) -> Any:
        """Do something to its end; raise what it raises."""
        done = self.spawn(work)
        result = self.until(lambda: done, seconds)[0]
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    # pilots

    def post(self, sent: bytes, peer: str) -> Deferred[Any]:
        """Carry a message to the service; nothing comes back while it is away."""
        if self.away:
            lost: Deferred[Any] = Deferred()
            self.clock.callLater(0.2, lost.callback, None)
            return lost
        backend = self.backend
        carried: Deferred[Any] = Deferred()
        back = Deferred.fromCoroutine(backend.answer(sent, peer))
        back.addBoth(lambda reply: carried.callback(reply if self.backend is backend and not self.away else None))
        return carried

    def _start(self, request: JobRequest, lrm_id: str, places: Any) -> None:
        for rank, node in places:
            pilot = Pilot(self, request, lrm_id, rank, node)
            self.pilots.append(pilot)
            if not self.silent:
                self.clock.callLater(0.1, self._hello, pilot)

    def _hello(self, pilot: Pilot) -> None:
        if not pilot.dead:
            pilot.say(Kind.HELLO, {"pilot": "1", "python": "3", "node": pilot.node, "pid": 1, "seconds_up": 0.1})
            self.clock.callLater(self.start, self._ready, pilot)

    def _ready(self, pilot: Pilot) -> None:
        if not pilot.dead and not pilot.over and pilot.killed_at is None:
            left = pilot.deadline - self.clock.seconds()
            pilot.say(Kind.READY, {"memory_mb": 1, "left": left})

    def _notice(self, lrm_id: str, grace: float) -> None:
        for pilot in self.of(lrm_id):
            if not (self.deaf and pilot.rank):
                pilot.doom(grace)

    def _kill(self, lrm_id: str) -> None:
        for pilot in self.of(lrm_id):
            pilot.dead = True

    def of(self, lrm_id: str) -> list[Pilot]:
        """Return a job's pilots that live."""
        return [pilot for pilot in self.pilots if pilot.lrm_id == lrm_id and not pilot.dead]

    def ended(self, pilot: Pilot) -> None:
        """Let a pilot's process be over; the last one's end is its job's."""
        pilot.dead = True
        if not self.of(pilot.lrm_id):
            self.lrm.finish(pilot.lrm_id)

    # claims and rows

    def claim(self, key: str = "k1", members: int = 2, memory_mb: int = 500, duration: int = 600, **kw: Any) -> Claim:
        """Describe a claim."""
        demands = tuple(
            Demand(member=f"{key}-{n}", name=f"vm{n}", memory_mb=memory_mb, cpus=1, disk_mb=10, networks=("public",))
            for n in range(members)
        )
        return Claim(key=key, request=Request(demands=demands, duration=duration, **kw))

    def acquire(self, key: str = "k1", members: int = 2, **kw: Any) -> Any:
        """Acquire a claim to its end."""
        return self.result(self.backend.acquire(self.claim(key, members, **kw)))

    def view(self) -> View:
        """Return the site with all addresses free."""
        return View(pools={"public": PoolView(100, 100)})

    @property
    def jobs(self) -> list[PilotJob]:
        """Return the jobs of the ledger."""
        return list(self.ledger.rows.job_rows.values())

    @property
    def slots(self) -> list[Slot]:
        """Return the slots of the ledger."""
        return list(self.ledger.rows.slot_rows.values())

    def told(self, topic: ClaimTopic) -> list[ClaimNews]:
        """Return the news of one kind."""
        return [news for news in self.news if news.topic is topic]

    def states(self) -> tuple[list[str], list[str]]:
        """Return the states of jobs and slots."""
        return [job.state.value for job in self.jobs], [slot.state.value for slot in self.slots]
