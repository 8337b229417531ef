"""An intake to talk to: a ledger in memory, pilots that sign, and what the engine would have heard."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from flyinglow.backend.abilities import Reply
from flyinglow.backend.lrm.intake.door import Intake, SlotChange
from flyinglow.backend.lrm.lines.channel import Lines
from flyinglow.backend.lrm.model import Component, PilotJob, Slot, Trail
from flyinglow.nodectl.errors import ConflictError
from flyinglow.nodectl.messages import VmInfo
from flyinglow.pilot.messages import Answer, Kind, Message, Standing, answer, opened, seal, verify

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
JOB = PilotJob(
    tag="j0000001",
    claim="claim",
    components=(Component(nodes=2, memory_mb=672, cpus=1),),
    seconds=3720,
    secret="ab" * 32,
    requested_at=NOON,
)


def noon() -> datetime:
    """Tell the same time for ever."""
    return NOON


def job_and_slots(slots: int) -> tuple[PilotJob, list[Slot]]:
    """Return a job and its slots, which no pilot has bound."""
    return JOB, [Slot(job=JOB.tag, rank=rank, memory_mb=672, cpus=1) for rank in range(slots)]


class Rows:
    """Jobs, slots, trails and marks of one transaction."""

    def __init__(self, rows: "Rows | None" = None) -> None:
        self.job_rows: dict[str, PilotJob] = dict(rows.job_rows) if rows else {}
        self.slot_rows: dict[str, Slot] = dict(rows.slot_rows) if rows else {}
        self.trail_rows: list[Trail] = list(rows.trail_rows) if rows else []
        self.mark_rows: dict[str, str] = dict(rows.mark_rows) if rows else {}

    @property
    def jobs(self) -> Any:
        return _Jobs(self)

    @property
    def slots(self) -> Any:
        return _Slots(self)

    @property
    def trails(self) -> Any:
        return _Trails(self)

    @property
    def marks(self) -> Any:
        return _Marks(self)


@dataclass
class _Jobs:
    rows: Rows

    def get(self, tag: str) -> PilotJob | None:
        return self.rows.job_rows.get(tag)


@dataclass
class _Slots:
    rows: Rows

    def select(self, *, ids: Sequence[str]) -> list[Slot]:
        return [self.rows.slot_rows[one] for one in ids if one in self.rows.slot_rows]

    def write(self, old: Slot, new: Slot) -> Slot:
        if self.rows.slot_rows[old.id].version != old.version:
            raise ConflictError("stale")
        self.rows.slot_rows[new.id] = replace(new, version=old.version + 1)
        return self.rows.slot_rows[new.id]


@dataclass
class _Trails:
    rows: Rows

    def add(self, rows: Sequence[Trail]) -> None:
        self.rows.trail_rows.extend(rows)

    def of(self, slot_id: str) -> list[Trail]:
        return [row for row in self.rows.trail_rows if row.slot == slot_id]


@dataclass
class _Marks:
    rows: Rows

    def get(self, name: str) -> str | None:
        return self.rows.mark_rows.get(name)

    def put(self, name: str, value: str) -> None:
        self.rows.mark_rows[name] = value


class MemoryLedger:
    """``Ledger`` over ``Rows``; for ``go`` wait, with ``hold``, transactions, with ``late`` their results."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.hold = self.late = False
        self.breaks: Callable[[], Exception | None] = lambda: None
        self.writes = self.reads = 0
        self._held: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, fn: Callable[[Any], Any], *, step: str | None = None) -> Deferred[Any]:
        self.writes += 1
        return self._defer(lambda: self._write(fn))

    def read(self, fn: Callable[[Any], Any]) -> Deferred[Any]:
        self.reads += 1
        return succeed(fn(Rows(self.rows)))

    def go(self) -> None:
        held, self._held = self._held, []
        for work, waiter in held:
            self._now(work).chainDeferred(waiter)

    def _defer(self, work: Callable[[], Any]) -> Deferred[Any]:
        if self.late:
            result = self._now(work)
            work = lambda: now(result)  # noqa: E731
        elif not self.hold:
            return self._now(work)
        waiter: Deferred[Any] = Deferred()
        self._held.append((work, waiter))
        return waiter

    def _now(self, work: Callable[[], Any]) -> Deferred[Any]:
        try:
            return succeed(work())
        except Exception as error:  # noqa: BLE001 - as a ledger's Deferred would bring it
            return fail(error)

    def _write(self, fn: Callable[[Any], Any]) -> Any:
        if error := self.breaks():
            raise error
        rows = Rows(self.rows)
        result = fn(rows)
        self.rows = rows
        return result


@dataclass
class SignedPilot:
    """A pilot's side of the conversation: signs what it says and believes only what is signed for it."""

    slot: str
    key: str
    node: str = "n1"
    incarnation: str = "run1"
    epoch: int = 1
    sequence: int = 0
    session: str = ""
    turn: int = 0
    got: int = 0
    orders: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def seal(self, kind: Kind, body: Mapping[str, Any] | None = None, **fields: Any) -> bytes:
        """Sign a message of this pilot."""
        said = Message(
            **{
                "slot": self.slot,
                "node": self.node,
                "epoch": self.epoch,
                "kind": kind,
                "incarnation": self.incarnation,
                "time_ms": 1893499200123,
                "body": dict(body or {}),
                "software": "pilot 1",
                **fields,
            }
        )
        return seal(said, self.key)

    def report(self, kind: Kind, body: Mapping[str, Any] | None = None) -> bytes:
        """Sign the next report."""
        self.sequence += 1
        return self.seal(kind, body, sequence=self.sequence)

    def poll(self) -> bytes:
        """Sign the next poll."""
        self.turn += 1
        return self.seal(Kind.POLL, session=self.session, turn=self.turn, got=self.got)

    def read(self, sent: bytes, reply: Reply) -> Answer:
        """Believe an answer to what was sent, and take in what it brings."""
        assert reply.status == 200, reply
        fields, text, mac = opened(reply.body)
        verify(self.key, text, mac, opened(sent)[2])
        told = answer(fields)
        if told.key:
            self.key, self.epoch = told.key, told.epoch
        self.session = told.session or self.session
        for number, line in told.orders:
            if number > self.got:
                self.got = number
                self.orders.append((number, line))
        return told


class IntakeWorld:
    """One intake, one job with slots, and all that the engine would see."""

    def __init__(self, ledger: Any = None, *, slots: int = 2, clock: Any = None, seed: int = 7) -> None:
        self.clock = clock or Clock()
        self.ledger = ledger or MemoryLedger()
        self.changes: list[SlotChange] = []
        self.signed: list[Slot] = []
        self.news: list[tuple[str, VmInfo]] = []
        self.standings: dict[str, Standing] = {}
        self.job, rows = job_and_slots(slots)
        self._seed = seed
        if isinstance(self.ledger, MemoryLedger):
            self.ledger.rows.job_rows[self.job.tag] = self.job
            for row in rows:
                self.put(row)
        self.start()

    def start(self) -> None:
        """Begin, or begin anew as after a restart: the ledger is all that is left."""
        self._seed += 1
        seed = self._seed
        counter = iter(range(1, 1 << 30))

        def random(size: int) -> bytes:
            return (seed * 1000003 + next(counter)).to_bytes(size, "big")

        self.lines = Lines(self.clock, lambda place, info: self.news.append((place, info)), random)
        self.intake = Intake(
            self.ledger,
            self.clock,
            noon,
            self.changes.extend,
            lambda slot_id: self.standings.get(slot_id, Standing()),
            "service 1",
            lines=self.lines,
            random=random,
            ticket=self._ticket,
        )

    async def _ticket(self, slot: Slot) -> dict[str, str]:
        self.signed.append(slot)
        return {"text": f"{slot.id} on {slot.node}", "signature": "s"}

    def put(self, row: Slot) -> None:
        """Write a slot as the engine would."""
        self.ledger.rows.slot_rows[row.id] = row

    def change(self, slot_id: str, **changes: Any) -> None:
        """Change a slot as the engine would, and say so."""
        old = self.slot(slot_id)
        self.put(replace(old, version=old.version + 1, **changes))
        self.intake.wake([slot_id])

    def change_job(self, **changes: Any) -> None:
        """Change the job as the engine would, and say so."""
        self.job = replace(self.job, **changes)
        self.ledger.rows.job_rows[self.job.tag] = self.job
        self.intake.wake(self.ledger.rows.slot_rows)

    def slot(self, slot_id: str) -> Slot:
        """Return the slot as it is stored."""
        row = self.ledger.rows.slot_rows[slot_id]
        assert isinstance(row, Slot)
        return row

    def trail(self, slot_id: str) -> list[Trail]:
        """Return what is kept of a slot."""
        return [row for row in self.ledger.rows.trail_rows if row.slot == slot_id]

    def pilot(self, rank: int = 0, **fields: Any) -> SignedPilot:
        """Return a pilot of the job that has not said anything."""
        return SignedPilot(f"{self.job.tag}.{rank}", self.job.secret, **fields)

    def post(self, data: bytes) -> Deferred[Reply]:
        """Hand a message in."""
        return Deferred.fromCoroutine(self.intake.answer(data, "192.0.2.1"))

    def reply(self, data: bytes) -> Reply:
        """Hand a message in that is answered at once."""
        reply: Reply = now(self.post(data))
        return reply

    def say(self, pilot: SignedPilot, data: bytes) -> Answer:
        """Hand a pilot's message in and have it read the answer."""
        return pilot.read(data, self.reply(data))

    def bound(self, rank: int = 0, **fields: Any) -> SignedPilot:
        """Return a pilot that has said hello."""
        pilot = self.pilot(rank, **fields)
        self.say(pilot, pilot.report(Kind.HELLO, {"python": "3.9"}))
        return pilot

    def ready(self, rank: int = 0) -> SignedPilot:
        """Return a pilot that is ready."""
        pilot = self.bound(rank, node=f"n{rank + 1}")
        self.say(pilot, pilot.report(Kind.READY, {"left": 3600}))
        return pilot


def now(waiting: Deferred[Any]) -> Any:
    """Return the result of what must be there already, or raise its error."""
    results: list[Any] = []
    errors: list[Any] = []
    waiting.addCallbacks(results.append, errors.append)
    if errors:
        raise errors[0].value
    assert results, "there is no answer yet"
    return results[0]


def no_answer(waiting: Deferred[Any]) -> bool:
    """Tell whether there is no result yet."""
    return not waiting.called
