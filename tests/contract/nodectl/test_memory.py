"""What every driver of a node's memory promises."""

from pathlib import Path

import pytest

from flyinglow.nodectl.errors import BrokenError, ExhaustedError
from flyinglow.nodectl.memory.cgroup import Cgroup
from flyinglow.nodectl.memory.xen import Xen
from flyinglow.nodectl.slots.ledger import Limits
from flyinglow.nodectl.slots.ports import Pace
from flyinglow.nodectl.slots.taking import Slots
from flyinglow.nodectl.slots.wanted import SlotSpec
from rigs.memory import MemorySubject, hog, jobs_group, scripted_xl
from rigs.slots import SlotSite

pytestmark = pytest.mark.xdist_group("memory")  # one pool of huge pages for all


def test_what_is_asked_for_is_reached_and_what_was_comes_back_exactly(memory: MemorySubject) -> None:
    before = memory.again().read()
    low = before.own_mb - 2 * memory.step_mb
    memory.again().reserve(low)
    reached = memory.until(lambda reading: reading.own_mb <= low)
    assert reached.own_mb > low - memory.grain_mb
    memory.again().release(before.raw)
    assert memory.until(lambda reading: reading == before) == before


def test_the_own_share_goes_up_and_down_and_every_order_may_be_repeated(memory: MemorySubject) -> None:
    before = memory.again().read()
    low, lower = before.own_mb - memory.step_mb, before.own_mb - 2 * memory.step_mb
    for target in (low, low, lower, low, lower, lower):
        memory.again().reserve(target)
        memory.until(lambda reading, target=target: target - memory.grain_mb < reading.own_mb <= target)  # type: ignore[misc]
    for _ in range(2):
        memory.again().release(before.raw)
        memory.until(lambda reading: reading == before)


def test_slots_of_several_sizes_leave_no_trace(memory: MemorySubject, site: SlotSite) -> None:
    before = memory.again().read()
    plain = site.view()
    slots = Slots(site.state, memory.again(), Limits(1, 8), site, plain.me, Pace(10.0))
    sizes = [memory.step_mb - 1, memory.step_mb, 1]
    for number, size in enumerate(sizes):
        info = slots.reserve(SlotSpec(f"a.{number}", size, 1))
        assert info.settled
        assert info.actual_mb <= info.target_mb + 1
    for number in (1, 0, 2):
        assert slots.release(f"a.{number}")[1].settled
    assert memory.until(lambda reading: reading == before) == before
    assert not site.books().exists()


def test_a_group_of_jobs_that_needs_its_memory_is_not_shrunk() -> None:
    with jobs_group() as group, hog(group, 96) as job:
        driver = Cgroup(group, 100_000)
        before = driver.read()
        with pytest.raises(ExhaustedError, match="cannot be shrunk to it now"):
            driver.reserve(64)
        driver.release(before.raw)
        assert driver.read() == before
        assert job.poll() is None
        driver.reserve(256)
        assert driver.read().own_mb == 256


def test_a_newer_group_is_asked_to_make_room_and_never_cut_below_what_it_has(tmp_path: Path) -> None:
    for name, text in (("memory.max", "max"), ("memory.current", str(96 << 20)), ("memory.reclaim", "")):
        (tmp_path / name).write_text(text)
    with pytest.raises(ExhaustedError):
        Cgroup(tmp_path, 2000).reserve(64)
    assert (tmp_path / "memory.reclaim").read_text() == f"{32 << 20}\n"
    assert (tmp_path / "memory.max").read_text() == "max"


def test_domain_0_that_accepts_a_target_and_never_gets_there_is_given_back(tmp_path: Path, site: SlotSite) -> None:
    driver = Xen(str(scripted_xl(tmp_path / "xen", 500)))
    slots = Slots(site.state, driver, Limits(100, 8), site, site.view().me, Pace(0.3))
    with pytest.raises(ExhaustedError, match="was to become 130 MiB and is 166 MiB"):
        slots.reserve(SlotSpec("a.0", 370, 1))
    with pytest.raises(ExhaustedError, match=r"Xen refuses 105 MiB for domain 0: .*too low"):
        slots.reserve(SlotSpec("a.0", 395, 1))
    assert slots.sweep() == ([], [])
    assert driver.read().own_mb == 500
    assert not site.books().exists()


@pytest.mark.parametrize("text", ["", "Name ID Mem\n", "xl: command not understood\n"])
def test_an_xl_that_says_something_else_is_broken(tmp_path: Path, text: str) -> None:
    program = tmp_path / "xl"
    program.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    program.chmod(0o755)
    with pytest.raises(BrokenError):
        Xen(str(program)).read()
    with pytest.raises(BrokenError, match="not installed"):
        Xen(str(tmp_path / "none")).reserve(1)


def test_a_group_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenError, match="no control group with a memory limit"):
        Cgroup(tmp_path, 100).read()
