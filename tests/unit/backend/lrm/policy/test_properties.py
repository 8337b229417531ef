"""Whatever is asked and whatever is there: every member has one place, no slot is overfull, none used is given back."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flyinglow.backend.api import Demand, Request
from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.policy import load
from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Policy, Wanted
from rigs.slot_cluster import SIZES

plain = st.sampled_from(["exact", "packing"]).map(lambda name: {"base": name})
whole = st.just({"base": "packing", "base_options": {"whole": True}})
wrapped = st.sampled_from(["keep_warm", "over_provision", "opportunistic"])
policies = st.one_of(
    st.tuples(wrapped, plain | whole),
    st.tuples(wrapped, st.tuples(wrapped, plain | whole).map(lambda pair: {"base": pair[0], "base_options": pair[1]})),
    plain.map(lambda base: ("proactive", {"memory_mb": 700, "slots": 3, **base})),
    plain.map(lambda base: (base["base"], {})),
).map(lambda pair: load(*pair))
demands = st.lists(st.tuples(st.integers(1, 3936), st.integers(1, 4)), max_size=20).map(
    lambda sizes: tuple(
        Demand(member=f"m{n}", name=f"m{n}", memory_mb=mb, cpus=cpus, disk_mb=0) for n, (mb, cpus) in enumerate(sizes)
    )
)
requests = st.builds(Request, demands=demands, duration=st.integers(1, 10_000), preemptable=st.booleans())
free_slots = st.lists(
    st.builds(
        FreeSlot,
        slot=st.just(""),
        job=st.sampled_from(["j0", "j1", "j2"]),
        memory_mb=st.integers(0, 4032),
        cpus=st.integers(0, 4),
        left=st.floats(0, 20_000),
        claims=st.integers(0, 2),
        idle=st.floats(0, 2000),
    ),
    max_size=8,
).map(lambda slots: [replace(slot, slot=f"{slot.job}.{n}") for n, slot in enumerate(slots)])


def sized(job: Wanted) -> list[Component]:
    return [part for part in job.components for _ in range(part.nodes)]


def assert_fits(members: list[Demand], slot: Component) -> None:
    memory = sum(demand.memory_mb + SIZES.vm_overhead_mb for demand in members) + SIZES.slot_overhead_mb
    assert memory <= slot.memory_mb
    assert sum(demand.cpus for demand in members) <= slot.cpus


@settings(max_examples=400, deadline=None)
@given(policies, requests, free_slots)
def test_every_member_has_one_place_that_is_large_and_lasting_enough(
    policy: Policy, request: Request, free: list[FreeSlot]
) -> None:
    layout = policy.layout(request, free, SIZES)
    assert layout == policy.layout(request, free, SIZES)
    placed = [*layout.uses, *(member for job in layout.jobs for member in job.members)]
    assert sorted(placed) == sorted(demand.member for demand in request.demands)
    by_name = {demand.member: demand for demand in request.demands}
    used: dict[str, list[Demand]] = defaultdict(list)
    for member, slot in layout.uses.items():
        used[slot].append(by_name[member])
    there = {slot.slot: slot for slot in free}
    for place, members in used.items():
        free_slot = there[place]
        memory_mb = free_slot.memory_mb + SIZES.slot_overhead_mb
        assert_fits(members, Component(nodes=1, memory_mb=memory_mb, cpus=free_slot.cpus))
        assert free_slot.left >= request.duration + SIZES.margin
        assert request.preemptable or not free_slot.claims
    for job in layout.jobs:
        assert_job(job, by_name, request)


def assert_job(job: Wanted, by_name: dict[str, Demand], request: Request) -> None:
    slots = sized(job)
    assert request.duration + SIZES.margin <= job.seconds <= (SIZES.longest or 0)
    assert len({(part.memory_mb, part.cpus) for part in job.components}) == len(job.components)
    assert all(part.memory_mb <= 4096 and part.cpus <= 4 for part in job.components)
    assert set(job.members.values()) == set(range(len(slots)))
    for rank, slot in enumerate(slots):
        assert_fits([by_name[member] for member, at in job.members.items() if at == rank], slot)


@settings(max_examples=200, deadline=None)
@given(requests)
def test_exact_slots_are_no_larger_and_packed_ones_no_more_than_they_must_be(request: Request) -> None:
    exact = load("exact", {}).layout(request, (), SIZES).jobs
    packed = load("packing", {}).layout(request, (), SIZES).jobs
    if not request.demands:
        assert exact == packed == ()
        return
    assert len(sized(exact[0])) == len(request.demands) >= len(sized(packed[0]))
    for demand in request.demands:
        slot = sized(exact[0])[exact[0].members[demand.member]]
        assert (slot.memory_mb, slot.cpus) == (demand.memory_mb + 160, demand.cpus)


@settings(max_examples=300, deadline=None)
@given(
    policies,
    free_slots,
    st.lists(st.builds(Component, nodes=st.integers(1, 3), memory_mb=st.just(860), cpus=st.just(1))),
)
def test_what_is_used_is_never_given_back(policy: Policy, free: list[FreeSlot], coming: Any) -> None:
    upkeep = policy.upkeep(Holdings(free=tuple(free), coming=tuple(coming)), SIZES)
    used = {slot.job for slot in free if slot.claims}
    assert not used & set(upkeep.give_back)
    assert len(set(upkeep.give_back)) == len(upkeep.give_back)
    assert set(upkeep.give_back) <= {slot.job for slot in free}
    assert len(upkeep.ask) <= 3
