"""A node's slots with a memory, a clock and processes of the test's choice."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import processes
from flyinglow.nodectl.errors import BrokenError, ExhaustedError
from flyinglow.nodectl.memory.api import Reading
from flyinglow.nodectl.slots.ledger import Limits
from flyinglow.nodectl.slots.ports import Pace
from flyinglow.nodectl.slots.taking import Slots
from flyinglow.nodectl.slots.wanted import SlotSpec
from flyinglow.nodectl.vmdir import ProcessMark, StateDir

BASE = 1000


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.while_asleep: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.while_asleep()


class Memory:
    """A node's memory that moves ``step`` MiB with every look, or refuses, or dies under the order."""

    def __init__(self, own_mb: int = BASE, step: int = 10_000) -> None:
        self.own_mb = self.target_mb = own_mb
        self.step = step
        self.least_mb = 0
        self.broken = False
        self.dies = False
        self.set: list[int] = []

    def read(self) -> Reading:
        if self.broken:
            raise BrokenError("memory does not answer")
        way = max(-self.step, min(self.step, self.target_mb - self.own_mb))
        self.own_mb += way
        return Reading(self.own_mb, str(self.own_mb))

    def reserve(self, target_mb: int) -> None:
        if self.dies:
            raise KeyboardInterrupt
        if target_mb < self.least_mb:
            raise ExhaustedError("it does not fit")
        self.set.append(target_mb)
        self.target_mb = target_mb

    def release(self, raw: str) -> None:
        self.reserve(int(raw))


class SlotSite:
    """One node, its books and VMs, as several processes see them."""

    def __init__(self, folder: Path) -> None:
        self.state = StateDir(folder / "state", folder / "run")
        self.state.prepare()
        self.memory = Memory()
        self.clock = Clock()
        self.ended: list[str] = []
        self.resists: set[str] = set()
        self.vms: dict[str, list[str]] = {}
        self._children: list[subprocess.Popen[bytes]] = []

    def view(self, me: ProcessMark | None = None, **limits: int) -> Slots:
        """Return the books as the process ``me``, else this one, sees them."""
        own = me or processes.mark(os.getpid())
        assert own is not None
        plain = {"minimum_mb": 100, "cpus": 8, **limits}
        return Slots(self.state, self.memory, Limits(**plain), self, own, Pace(5.0, self.clock, self.clock.sleep))

    def process(self) -> ProcessMark:
        """Return a living process, which ``kill`` ends."""
        self._children.append(subprocess.Popen(["sleep", "300"]))
        mark = processes.mark(self._children[-1].pid)
        assert mark is not None
        return mark

    def kill(self, mark: ProcessMark) -> None:
        """End one of these processes."""
        child = next(child for child in self._children if child.pid == mark.pid)
        child.kill()
        child.wait()

    def close(self) -> None:
        """End all of them."""
        for child in self._children:
            child.kill()
            child.wait()

    def books(self) -> Path:
        """Return where the books are kept."""
        return self.state.path / "slots.json"

    def slots(self) -> set[str]:
        """Return the slots that VMs are in."""
        return set(self.vms)

    def end_slot(self, slot: str) -> list[str]:
        """End the VMs that are in a slot."""
        if slot in self.resists:
            raise BrokenError(f"VM of {slot} cannot be ended")
        self.ended.append(slot)
        return self.vms.pop(slot, [])


def slot(name: str = "a.0", memory_mb: int = 300, cpus: int = 1, **more: Any) -> SlotSpec:
    """Return what a pilot asks for."""
    return SlotSpec(name, memory_mb, cpus, **more)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SlotSite]:
    made = SlotSite(tmp_path)
    yield made
    made.close()
