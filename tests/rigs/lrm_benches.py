"""Batch schedulers for the contract suite: each with stand-in pilots that write down what they see (``fake_pilot``)."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from flyinglow.backend.lrm.api import JobRequest, Lrm
from flyinglow.backend.lrm.gridengine.adapter import GridEngine
from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.pbs.adapter import Pbs
from flyinglow.backend.lrm.shell import CommandLrm
from flyinglow.backend.lrm.simulated.scheduler import Hooks, Machine, SimulatedLrm
from flyinglow.backend.lrm.slurm.adapter import Slurm
from flyinglow.backend.lrm.states import LrmSays
from rigs.gridengine import gridengine_world
from rigs.gridengine import terms as gridengine_terms
from rigs.slurm import slurm_world, terms
from rigs.torque_rig import torque as torque_rig
from rigs.waiting import eventually

PROGRAM = Path(__file__).with_name("fake_pilot.py").read_bytes()
NODES = 4
MEMORY_MB = 2000
GRACE = 5


@dataclass(frozen=True)
class LrmBench:
    """A scheduler with four nodes of 2000 MB and 2 CPUs, and 5 seconds of grace; pilots write below ``jobs``."""

    name: str
    lrm: Lrm
    jobs: Path
    run: Callable[..., Any]

    def request(self, tag: str, *sizes: tuple[int, int, int], seconds: int = 300, **settings: Any) -> JobRequest:
        """Make a request of (nodes, memory, CPUs); ``settings`` are those of the stand-in pilot."""
        directory = self.jobs / tag
        directory.mkdir(exist_ok=True)
        directory.chmod(0o1777)
        told = {"directory": str(directory), "key": f"key-of-{tag}", "grace": 0.3, **settings}
        components = tuple(Component(nodes=nodes, memory_mb=memory, cpus=cpus) for nodes, memory, cpus in sizes)
        line = json.dumps(told).encode() + b"\n"
        return JobRequest(tag=tag, components=components, seconds=seconds, program=PROGRAM, settings=line)

    def submit(self, request: JobRequest) -> str:
        """Submit it and return the LRM's id."""
        lrm_id: str = self.run(lambda: self.lrm.submit(request))
        return lrm_id

    def view(self, lrm_id: str) -> Any:
        """Return the job as it is listed, or None."""
        views = self.run(self.lrm.list)
        return next((view for view in views if view.lrm_id == lrm_id), None)

    def says(self, lrm_id: str) -> LrmSays:
        """Return what the LRM says of the job."""
        view = self.view(lrm_id)
        return view.says if view else LrmSays.GONE

    def over(self, lrm_id: str, seconds: float = 180) -> None:
        """Wait until the job has ended."""
        eventually(lambda: self.says(lrm_id) in {LrmSays.ENDED, LrmSays.GONE}, seconds)

    def pilots(self, tag: str, count: int, what: str = "start", seconds: float = 180) -> Sequence[dict[str, Any]]:
        """Wait for so many pilots to have noted something, and return each one's first note of it, by rank."""

        def notes() -> list[dict[str, Any]]:
            found = []
            for path in sorted((self.jobs / tag).glob("pilot.*.jsonl"), key=lambda path: int(path.name.split(".")[1])):
                told = [json.loads(line) for line in path.read_text().splitlines()]
                found += [note for note in told if note["what"] == what][:1]
            return found

        eventually(lambda: len(notes()) >= count, seconds)
        return notes()


@contextlib.contextmanager
def slurm(run: Callable[..., Any], **options: Any) -> Iterator[LrmBench]:
    """Run a private Slurm."""
    with slurm_world(nodes=NODES, memory_mb=MEMORY_MB, kill_wait=GRACE, **options) as world:
        yield LrmBench("slurm", CommandLrm(Slurm(terms(world)), reactor), world.jobs, run)


@contextlib.contextmanager
def simulated(run: Callable[..., Any]) -> Iterator[LrmBench]:
    """Run a simulated scheduler, whose pilots are its hooks."""
    with tempfile.TemporaryDirectory(prefix="fl-lrm-") as directory:
        lrm = SimulatedLrm(
            reactor, {f"node{number}": Machine(MEMORY_MB, 2) for number in range(1, NODES + 1)}, grace=GRACE
        )
        lrm.hooks = _Pilots(lrm).hooks()
        yield LrmBench("simulated", lrm, Path(directory), run)


@contextlib.contextmanager
def gridengine(run: Callable[..., Any]) -> Iterator[LrmBench]:
    """Run a private Grid Engine, with memory asked for by the attribute that every host has."""
    with gridengine_world(nodes=NODES, notify=GRACE) as world:
        site = gridengine_terms(world, extra=("-l", "mem_total={memory_mb}M"))
        yield LrmBench("gridengine", CommandLrm(GridEngine(site), reactor), world.jobs, run)


@contextlib.contextmanager
def torque(run: Callable[..., Any]) -> Iterator[LrmBench]:
    """Run a pretended Torque, with the signals of a real one; its other nodes hear theirs when the grace is over."""
    times = {"kill_delay": 1, "kill_after": GRACE, "queue_wait": 0, "wall_late": 5}
    with torque_rig(nodes=NODES, np=2, memory_mb=MEMORY_MB, **times) as rig:
        site = rig.terms()
        lrm = CommandLrm(Pbs(site, user=rig.environment["USER"]), reactor, environment=site.environment)
        yield LrmBench("torque", lrm, rig.jobs, run)


BENCHES: dict[str, Callable[..., contextlib.AbstractContextManager[LrmBench]]] = {
    "gridengine": gridengine,
    "simulated": simulated,
    "slurm": slurm,
    "torque": torque,
}
"""Whoever adds a scheduler adds it here, and the contract suite runs over it."""


class _Pilots:
    """Writes for a simulated job what the stand-in pilots of a real one write."""

    def __init__(self, lrm: SimulatedLrm) -> None:
        self._lrm = lrm
        self._paths: dict[str, list[Path]] = {}
        self._settings: dict[str, dict[str, Any]] = {}

    def hooks(self) -> Hooks:
        return Hooks(start=self._start, notice=self._notice)

    def _start(self, request: JobRequest, lrm_id: str, ranks: Sequence[tuple[int, str]]) -> None:
        settings = self._settings[lrm_id] = json.loads(request.settings)
        for rank, node in ranks:
            path = Path(settings["directory"], f"pilot.{rank}.0.jsonl")
            self._paths.setdefault(lrm_id, []).append(path)
            path.write_text(json.dumps({"what": "start", "rank": rank, "node": node, "key": settings["key"]}) + "\n")
        self._later(settings.get("stay", 60), lrm_id)

    def _notice(self, lrm_id: str, _seconds: float) -> None:
        for path in self._paths[lrm_id]:
            path.write_text(path.read_text() + json.dumps({"what": "signal"}) + "\n")
        self._later(self._settings[lrm_id]["grace"], lrm_id)

    def _later(self, seconds: float, lrm_id: str) -> None:
        timed: Any = reactor
        timed.callLater(seconds, self._lrm.finish, lrm_id)
