"""Slots of a node: what is taken and given back, by several, and by those who die at it."""

import json
import threading

import pytest

from flyinglow.nodectl.errors import BrokenError, ConflictError, DeniedError, ExhaustedError, TransientError
from flyinglow.nodectl.slots.ledger import Entry
from flyinglow.nodectl.slots.wanted import MemoryPolicy
from rigs.slots import BASE, SlotSite, slot


def test_a_slot_takes_memory_and_gives_it_back_to_the_last_byte(site: SlotSite) -> None:
    slots = site.view()
    info = slots.reserve(slot())
    assert (info.memory_mb, info.base_mb, info.target_mb, info.actual_mb, info.settled) == (300, BASE, 700, 700, True)
    site.vms["a.0"] = ["vm1"]
    destroyed, info = slots.release("a.0")
    assert destroyed == ["vm1"]
    assert (info.memory_mb, info.target_mb, info.actual_mb, info.settled) == (0, BASE, BASE, True)
    assert not site.books().exists()


def test_the_same_order_again_is_done_already(site: SlotSite) -> None:
    slots = site.view()
    slots.reserve(slot())
    slots.reserve(slot())
    assert site.memory.set == [700]
    with pytest.raises(ConflictError, match="asked for differently"):
        slots.reserve(slot(memory_mb=301))
    slots.release("a.0")
    assert slots.release("a.0")[0] == []
    assert slots.release("nobody's")[1].settled


def test_several_slots_are_books_over_one_base_whatever_is_read_meanwhile(site: SlotSite) -> None:
    """A base read again while memory is on its way would shrink the node for ever."""
    site.memory.step = 40
    slots = site.view()
    assert slots.reserve(slot("a.0")).target_mb == 700
    assert slots.reserve(slot("b.0", 200)).target_mb == 500
    site.memory.own_mb = 430
    _, info = slots.release("a.0")
    assert (info.target_mb, info.actual_mb, info.settled) == (800, 800, True)
    assert slots.reserve(slot("c.0", 100)).base_mb == BASE
    slots.release("b.0")
    assert slots.release("c.0")[1].actual_mb == BASE
    assert not site.books().exists()


def test_a_slot_is_ready_when_the_memory_is_there_not_when_it_was_asked_for(site: SlotSite) -> None:
    site.memory.step = 100
    info = site.view().reserve(slot())
    assert info.actual_mb == 700
    assert info.seconds > 0


def test_memory_that_does_not_get_there_is_given_back(site: SlotSite) -> None:
    site.memory.step = 0
    with pytest.raises(ExhaustedError, match=r"was to become 700 MiB and is 1000 MiB after 5 s") as caught:
        site.view().reserve(slot())
    assert caught.value.figures == {"memory_mb.target": 700, "memory_mb.actual": 1000}
    assert site.memory.set == [700, BASE]
    assert not site.books().exists()


def test_a_node_that_refuses_is_left_as_it_was(site: SlotSite) -> None:
    site.memory.least_mb = 701
    with pytest.raises(ExhaustedError, match="does not fit"):
        site.view().reserve(slot())
    assert site.memory.own_mb == BASE
    assert not site.books().exists()


def test_the_minimum_is_the_nodes_own(site: SlotSite) -> None:
    slots = site.view(minimum_mb=250)
    slots.reserve(slot("a.0", 500))
    with pytest.raises(ExhaustedError, match="minimum_node_mb") as caught:
        slots.reserve(slot("b.0", 251))
    assert caught.value.figures == {
        "memory_mb.asked": 251,
        "memory_mb.free": 250,
        "memory_mb.base": BASE,
        "memory_mb.minimum": 250,
    }
    assert slots.reserve(slot("b.0", 250)).target_mb == 250


def test_cpus_are_counted(site: SlotSite) -> None:
    slots = site.view(cpus=2)
    slots.reserve(slot("a.0", 10, cpus=1))
    with pytest.raises(ExhaustedError) as caught:
        slots.reserve(slot("b.0", 10, cpus=2))
    assert caught.value.figures == {"cpus.asked": 2, "cpus.free": 1}


def test_policies_of_memory(site: SlotSite) -> None:
    slots = site.view()
    assert slots.reserve(slot("a.0", 100, policy=MemoryPolicy.MARGIN, margin_mb=50)).memory_mb == 150
    assert slots.reserve(slot("b.0", 100, margin_mb=50)).memory_mb == 100
    rest = slots.reserve(slot("c.0", 100, policy=MemoryPolicy.ALL))
    assert (rest.memory_mb, rest.target_mb) == (650, 100)
    with pytest.raises(ExhaustedError):
        slots.reserve(slot("d.0", 1, policy=MemoryPolicy.ALL))


def test_a_slot_is_its_holders(site: SlotSite) -> None:
    other = site.process()
    site.view(other).reserve(slot())
    with pytest.raises(ConflictError, match=f"held by process {other.pid}"):
        site.view().reserve(slot())
    with pytest.raises(DeniedError):
        site.view().release("a.0")
    assert site.ended == []


def test_what_a_killed_holder_left_is_undone_by_the_next_pilot(site: SlotSite) -> None:
    other = site.process()
    site.view(other).reserve(slot("old.0", 600))
    site.vms["old.0"] = ["vm1"]
    site.kill(other)
    info = site.view().reserve(slot("new.0", 700))
    assert (info.base_mb, info.target_mb) == (BASE, 300)
    assert site.ended == ["old.0"]
    site.view().release("new.0")
    assert site.memory.own_mb == BASE


@pytest.mark.parametrize("memory_dies", [True, False])
def test_killed_between_the_books_and_the_memory(site: SlotSite, memory_dies: bool) -> None:
    """Killed after the books were written and before, or just after, the memory was ordered: nothing stays shrunk."""
    other = site.process()
    site.memory.dies = memory_dies
    site.clock.while_asleep = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    site.memory.step = 0
    with pytest.raises(KeyboardInterrupt):
        site.view(other).reserve(slot())
    assert json.loads(site.books().read_text())["base"]["own_mb"] == BASE
    site.kill(other)
    site.memory.dies, site.memory.step, site.clock.while_asleep = False, 10_000, lambda: None
    assert site.view().sweep() == (["a.0"], [])
    assert site.memory.target_mb == site.memory.own_mb == BASE
    assert not site.books().exists()


def test_killed_while_giving_back(site: SlotSite) -> None:
    other = site.process()
    slots = site.view(other)
    slots.reserve(slot("a.0"))
    slots.reserve(slot("b.0", 100))
    site.memory.dies = True
    with pytest.raises(KeyboardInterrupt):
        slots.release("a.0")
    site.memory.dies = False
    site.view().sweep()
    assert site.memory.own_mb == BASE - 100
    site.kill(other)
    assert site.view().sweep()[0] == ["b.0"]
    assert site.memory.own_mb == BASE


def test_no_memory_is_given_back_under_a_vm_that_cannot_be_ended(site: SlotSite) -> None:
    slots = site.view()
    slots.reserve(slot())
    site.resists.add("a.0")
    with pytest.raises(BrokenError, match="cannot be ended"):
        slots.release("a.0")
    assert site.memory.own_mb == 700
    site.resists.clear()
    assert slots.release("a.0")[1].actual_mb == BASE


def test_an_orphan_that_resists_harms_nobody_else(site: SlotSite) -> None:
    one, two = site.process(), site.process()
    site.view(one).reserve(slot("a.0", 100))
    site.view(two).reserve(slot("b.0", 100))
    for mark in (one, two):
        site.kill(mark)
    site.resists.add("a.0")
    assert site.view().sweep() == (["b.0"], ["slot a.0: VM of a.0 cannot be ended"])
    site.resists.clear()
    assert site.view().sweep() == (["a.0"], [])


def test_a_living_holders_slot_is_no_orphan(site: SlotSite) -> None:
    site.view(site.process()).reserve(slot())
    assert site.view().sweep() == ([], [])
    assert site.memory.own_mb == 700


def test_who_comes_while_another_is_ending_waits_for_it(site: SlotSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that pre-empts starts while the pre-empted one is still giving its memory back."""
    other = site.process()
    first = site.view(other)
    first.reserve(slot("old.0", 900))
    entered, go = threading.Event(), threading.Event()

    def slowly(name: str) -> list[str]:
        entered.set()
        assert go.wait(10)
        return ["vm1"]

    monkeypatch.setattr(site, "end_slot", slowly)
    ending = threading.Thread(target=first.release, args=("old.0",))
    ending.start()
    assert entered.wait(10)

    def meanwhile() -> None:
        go.set()
        ending.join(10)

    site.clock.while_asleep = meanwhile
    assert site.view().reserve(slot("new.0", 900)).target_mb == 100


def test_memory_that_is_slow_to_come_back_is_said_and_seen_to_later(site: SlotSite) -> None:
    slots = site.view()
    slots.reserve(slot())
    site.memory.step = 0
    assert not slots.release("a.0")[1].settled
    assert site.books().exists()
    site.memory.step = 50
    assert slots.reserve(slot("b.0", 100)).base_mb == BASE  # not the 700 it has just now
    assert slots.release("b.0")[1].settled
    assert not site.books().exists()


def test_vms_of_slots_that_nobody_remembers_are_ended(site: SlotSite) -> None:
    """As after a new start of the node, or when the books were lost."""
    site.view(site.process()).reserve(slot("lives.0"))
    site.vms = {"lives.0": ["vm1"], "lost.0": ["vm2"]}
    assert site.view().sweep() == (["lost.0"], [])
    assert site.vms == {"lives.0": ["vm1"]}
    site.books().unlink()
    assert site.view().sweep() == (["lives.0"], [])


def test_books_of_an_earlier_life_of_the_node_are_void(site: SlotSite) -> None:
    slots = site.view()
    slots.reserve(slot())
    data = json.loads(site.books().read_text())
    site.books().write_text(json.dumps({**data, "boot": "another"}))
    site.memory.own_mb = site.memory.target_mb = 2000
    assert slots.reserve(slot("b.0")).base_mb == 2000


@pytest.mark.parametrize("text", ["", "[]", "7", '{"boot": "x"', '{"slots": 1}', "\0"])
def test_books_that_cannot_be_read_are_said_and_made_anew_by_kill_all(site: SlotSite, text: str) -> None:
    slots = site.view()
    slots.reserve(slot())
    site.books().write_text(text)
    with pytest.raises(BrokenError, match=r"slots\.json"):
        slots.reserve(slot("b.0"))
    assert slots.clear(base_mb=BASE) == []
    assert site.memory.own_mb == BASE
    assert slots.reserve(slot("b.0")).target_mb == 700


def test_clear_forgets_all_and_restores_all(site: SlotSite) -> None:
    slots = site.view(site.process())
    slots.reserve(slot("a.0"))
    slots.reserve(slot("b.0"))
    assert site.view().clear(None) == ["a.0", "b.0"]
    assert site.memory.own_mb == BASE
    assert site.view().clear(None) == []


def test_clear_says_when_the_memory_does_not_come_back_and_can_be_repeated(site: SlotSite) -> None:
    slots = site.view()
    slots.reserve(slot())
    site.memory.step = 0
    with pytest.raises(TransientError, match="is to be 1000 MiB again, and is 700"):
        slots.clear(None)
    site.memory.step = 10_000
    assert slots.clear(None) == []
    assert not site.books().exists()


def test_a_slot_that_is_taken_away_while_it_is_waited_for(site: SlotSite) -> None:
    site.memory.step = 1
    slots = site.view()
    site.clock.while_asleep = lambda: site.books().unlink(missing_ok=True)
    with pytest.raises(ConflictError, match="taken away"):
        slots.reserve(slot())


def test_a_slot_does_not_wait_for_the_memory_of_a_later_one(site: SlotSite) -> None:
    site.memory.step = 0
    slots = site.view()

    def meanwhile() -> None:
        later = Entry(slot("b.0", 200), 200, site.process())
        slots.book.write(slots.book.read().with_entry(later))
        site.memory.own_mb = 700

    site.clock.while_asleep = meanwhile
    info = slots.reserve(slot("a.0", 300))
    assert (info.actual_mb, info.target_mb, info.settled) == (700, 500, True)
