"""What each policy makes of a claim, of slots that are there, and of slots that nobody uses."""

from dataclasses import replace
from typing import Any

import pytest

from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.policy import load
from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Layout, Wanted
from flyinglow.backend.lrm.policy.registry import NAMES
from flyinglow.backend.lrm.policy.wanted import largest_vm_mb, longest_lease
from flyinglow.nodectl.errors import InvalidError, NeverError
from rigs.slot_cluster import SIZES, demand, request

OPTIONS: dict[str, dict[str, Any]] = {"proactive": {"memory_mb": 512}}
CLUSTER = request(demand("wn1", 1024, 2), demand("ce", 2048), demand("wn2", 1024, 2), demand("se", 2048))


def free(name: str, job: str = "j", **changes: Any) -> FreeSlot:
    slot = FreeSlot(slot=name, job=job, memory_mb=608, cpus=1, left=7200.0, claims=0, idle=0.0)
    return replace(slot, **changes)


def part(nodes: int, memory_mb: int, cpus: int) -> Component:
    return Component(nodes=nodes, memory_mb=memory_mb, cpus=cpus)


def test_exact_asks_for_the_smallest_slots_one_for_each_vm() -> None:
    layout = load("exact", {}).layout(CLUSTER, [free("j.0", memory_mb=4000, cpus=4)], SIZES)
    components = (part(2, 2048 + 160, 1), part(2, 1024 + 160, 2))
    members = {"ce": 0, "se": 1, "wn1": 2, "wn2": 3}
    assert layout == Layout(uses={}, jobs=(Wanted(components=components, seconds=3720, members=members),))


def test_packing_asks_for_as_few_nodes_as_it_can() -> None:
    (job,) = load("packing", {}).layout(CLUSTER, (), SIZES).jobs
    # 4096 holds one of 2048 with one of 1024, and the CPUs of both
    assert job.components == (part(2, 2048 + 1024 + 2 * 96 + 64, 3),)
    assert (job.members["ce"], job.members["wn1"]) == (0, 0)
    assert sorted(job.members.values()) == [0, 0, 1, 1]


def test_packing_may_take_whole_nodes() -> None:
    (job,) = load("packing", {"whole": True}).layout(request(demand("a")), (), SIZES).jobs
    assert job.components == (part(1, 4096, 4),)
    (job,) = load("packing", {"whole": True, "memory_mb": 1000, "cpus": 1}).layout(CLUSTER, (), SIZES).jobs
    assert job.components == (part(2, 2048 + 160, 1), part(2, 1024 + 160, 2))


def test_packing_does_not_pack_into_what_nobody_knows() -> None:
    sizes = replace(SIZES, node_cpus=None)
    assert load("packing", {}).layout(CLUSTER, (), sizes) == load("exact", {}).layout(CLUSTER, (), sizes)
    (job,) = load("packing", {"cpus": 8}).layout(CLUSTER, (), sizes).jobs
    assert job.components == (part(2, 2048 + 1024 + 2 * 96 + 64, 3),)


def test_over_provision_asks_for_longer_within_what_the_site_allows() -> None:
    def seconds(duration: int = 3600, longest: int | None = None, **options: Any) -> int:
        wanted, sizes = request(demand("a"), duration=duration), replace(SIZES, longest=longest)
        return load("over_provision", options).layout(wanted, (), sizes).jobs[0].seconds

    assert seconds() == 5400 + 120
    assert seconds(factor=1.0, seconds=600) == 3600 + 600 + 120
    assert seconds(longest=4000) == 4000
    assert seconds(longest=3720) == 3720
    with pytest.raises(NeverError):
        seconds(longest=3719)


def test_a_lease_longer_than_any_job_is_refused_with_the_longest() -> None:
    for name in NAMES:
        with pytest.raises(NeverError, match="at most 86280 s") as caught:
            load(name, OPTIONS.get(name, {})).layout(request(demand("a"), duration=86281), (), SIZES)
        assert caught.value.figures == {"duration.asked": 86281, "longest": 86280}
        load(name, OPTIONS.get(name, {})).layout(request(demand("a"), duration=86280), (), SIZES)
    assert longest_lease(SIZES) == 86280
    assert longest_lease(replace(SIZES, longest=None)) is None


def test_a_vm_larger_than_any_node_is_refused_with_the_largest() -> None:
    for name in NAMES:
        policy = load(name, OPTIONS.get(name, {}))
        with pytest.raises(NeverError, match=r"big asks for 3937 MB .* 3936 for a VM and for 5 CPUs") as caught:
            policy.layout(request(demand("a"), demand("big", 3937, 5)), (), SIZES)
        assert caught.value.figures == {
            "memory_mb.asked": 3937,
            "node_memory_mb": 3936,
            "cpus.asked": 5,
            "node_cpus": 4,
        }
        policy.layout(request(demand("big", 3936, 4)), (), SIZES)
    assert largest_vm_mb(SIZES) == 3936
    assert largest_vm_mb(replace(SIZES, node_memory_mb=None)) is None


def test_members_have_names_of_their_own() -> None:
    with pytest.raises(InvalidError, match="the same id"):
        load("exact", {}).layout(request(demand("a"), demand("a")), (), SIZES)


def test_keep_warm_uses_the_smallest_idle_slots_that_fit_and_last() -> None:
    slots = [
        free("large.0", memory_mb=2000, cpus=4),
        free("used.0", claims=1),
        free("short.0", left=3719.0),
        free("small.0"),
        free("narrow.0", memory_mb=607),
    ]
    policy = load("keep_warm", {})
    assert policy.layout(request(demand("a")), slots, SIZES) == Layout(uses={"a": "small.0"}, jobs=())
    both = policy.layout(request(demand("a"), demand("b", 512, 2)), slots, SIZES)
    assert both == Layout(uses={"a": "small.0", "b": "large.0"}, jobs=())


def test_slots_that_wait_for_others_need_time_to_spare() -> None:
    wanted = request(demand("a"), demand("b"))
    policy = load("keep_warm", {"patience": 300})
    mixed = policy.layout(wanted, [free("warm.0", left=4020.0)], SIZES)
    assert (mixed.uses, mixed.jobs[0].members) == ({"a": "warm.0"}, {"b": 0})
    assert mixed.jobs[0].components == (part(1, 672, 1),)
    late = policy.layout(wanted, [free("warm.0", left=4019.0)], SIZES)
    assert (late.uses, late.jobs[0].members) == ({}, {"a": 0, "b": 1})


def test_idle_slots_are_shared_only_where_the_base_packs() -> None:
    wanted, slots = request(demand("a"), demand("b")), [free("warm.0", memory_mb=4000, cpus=4)]
    assert load("keep_warm", {}).layout(wanted, slots, SIZES).uses == {"a": "warm.0"}
    assert load("keep_warm", {"base": "packing"}).layout(wanted, slots, SIZES).uses == {"a": "warm.0", "b": "warm.0"}


def test_what_may_be_preempted_uses_what_running_slots_have_left() -> None:
    slots = [free("idle.0", memory_mb=4000, cpus=4), free("full.0", memory_mb=0, cpus=0, claims=1)]
    slots += [free("half.0", memory_mb=1300, cpus=2, claims=1)]
    policy = load("opportunistic", {})
    guest = request(demand("a"), demand("b"), preemptable=True)
    assert policy.layout(guest, slots, SIZES) == Layout(uses={"a": "half.0", "b": "half.0"}, jobs=())
    assert policy.layout(replace(guest, preemptable=False), slots, SIZES).uses == {}
    over_the_top = request(*(demand(f"m{n}") for n in range(7)), preemptable=True)
    layout = policy.layout(over_the_top, slots, SIZES)
    assert sorted(layout.uses.values()) == ["half.0"] * 2 + ["idle.0"] * 4
    assert len(layout.jobs[0].members) == 1


def test_what_nobody_uses_is_given_back_at_once_or_after_a_while() -> None:
    slots = (
        free("a.0", "a", idle=599.0),
        free("b.0", "b", idle=9999.0),
        free("b.1", "b", claims=1),
        free("c.0", "c", idle=600.0),
        free("c.1", "c", idle=700.0),
        free("d.0", "d", left=119.0),
        free("e.0", "e", idle=700.0),
        free("e.1", "e", idle=10.0),
    )

    def back(name: str, **options: Any) -> tuple[str, ...]:
        upkeep = load(name, options).upkeep(Holdings(free=slots), SIZES)
        assert upkeep.ask == ()
        return upkeep.give_back

    assert back("exact") == back("packing") == ("a", "c", "d", "e")
    assert back("over_provision") == back("opportunistic") == ("a", "c", "d", "e")
    assert back("keep_warm") == ("c", "d")
    assert back("keep_warm", seconds=0) == ("a", "c", "d", "e")
    assert back("keep_warm", seconds=9, base="keep_warm", base_options={"seconds": 650}) == ("d",)


def test_proactive_asks_for_what_is_missing_and_holds_what_lasts_longest() -> None:
    policy = load("proactive", {"slots": 2, "memory_mb": 512, "seconds": 1800, "least": 600})
    new = Wanted(components=(part(1, 672, 1),), seconds=1920, members={})

    def upkeep(*slots: FreeSlot, coming: tuple[Component, ...] = ()) -> tuple[int, tuple[str, ...]]:
        result = policy.upkeep(Holdings(free=slots, coming=coming), SIZES)
        assert result.ask == (new,) * len(result.ask)
        return len(result.ask), result.give_back

    good, better, best = free("a.0", "a", left=720.0), free("b.0", "b", left=800.0), free("c.0", "c", left=900.0)
    assert upkeep() == (2, ())
    assert upkeep(coming=(part(1, 672, 1),)) == (1, ())
    assert upkeep(coming=(part(9, 672, 1),)) == (0, ())
    assert upkeep(coming=(part(1, 671, 1),)) == (2, ())
    assert upkeep(good) == (1, ())
    assert upkeep(good, better, best) == (0, ("a",))
    assert upkeep(good, replace(better, left=719.0)) == (1, ("b",))
    assert upkeep(good, replace(better, claims=1)) == (1, ())
    assert upkeep(good, replace(better, memory_mb=607)) == (1, ("b",))


def test_proactive_asks_for_no_more_than_a_node_has_or_a_job_may() -> None:
    policy = load("proactive", {"memory_mb": 9999, "cpus": 9, "seconds": 10**6})
    (job,) = policy.upkeep(Holdings(free=()), SIZES).ask
    assert (job.components, job.seconds) == ((part(1, 4096, 4),), SIZES.longest)
    brief = replace(SIZES, longest=300)
    ready = free("a.0", memory_mb=4096 - 64, cpus=4, left=200.0)
    assert policy.upkeep(Holdings(free=(ready,)), brief).ask == ()


def test_policies_build_on_each_other() -> None:
    options = {"factor": 2.0, "base": "keep_warm", "base_options": {"seconds": 5, "base": "packing"}}
    policy = load("over_provision", options)
    layout = policy.layout(CLUSTER, [free("warm.0", memory_mb=4032, cpus=4, left=9999.0)], SIZES)
    assert sorted(layout.uses) == ["ce", "wn1"]
    assert [(job.seconds, job.components) for job in layout.jobs] == [(7320, (part(1, 3328, 3),))]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("greedy", {}, "no policy 'greedy'; known are exact, packing, keep_warm"),
        ("exact", {"seconds": 1}, "the policy exact has the unknown key 'seconds'"),
        ("packing", {"cpus": 0}, "at least 1 MB"),
        ("packing", {"memory_mb": -5}, "at least 1 MB"),
        ("packing", {"whole": "yes"}, "must be bool"),
        ("packing", {"base": "exact"}, "unknown key 'base'"),
        ("keep_warm", {"seconds": -1}, "at least 0 s"),
        ("keep_warm", {"base": 5}, "a name as 'base'"),
        ("keep_warm", {"base": "none"}, "no policy 'none'"),
        ("keep_warm", {"base_options": "x"}, "a table as 'base_options'"),
        ("keep_warm", {"base": "packing", "base_options": {"x": 1}}, "the policy packing has the unknown key 'x'"),
        ("proactive", {}, "lacks the key 'memory_mb'"),
        ("proactive", {"memory_mb": 0}, "at least 1"),
        ("proactive", {"memory_mb": 1, "seconds": 600, "least": 600}, "'least' to be less"),
        ("over_provision", {"factor": 0.9}, "factor of at least 1"),
        ("over_provision", {"factor": float("nan")}, "factor of at least 1"),
        ("over_provision", {"seconds": -1}, "at least 0"),
        ("opportunistic", {"patience": -1}, "at least 0 s"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        load(name, options)


def test_policies_do_not_build_on_each_other_for_ever() -> None:
    options: dict[str, Any] = {}
    for _ in range(9):
        options = {"base": "keep_warm", "base_options": options}
    with pytest.raises(InvalidError, match="more than 8"):
        load("keep_warm", options)
