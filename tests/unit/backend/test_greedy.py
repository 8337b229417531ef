"""The greedy mapping: what it promises for every site and request, and its figures when it refuses."""

import dataclasses
import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.backend import greedy
from flyinglow.backend.api import (
    Decision,
    Demand,
    Never,
    NodePolicy,
    NodeState,
    NodeView,
    NotNow,
    Placed,
    PoolView,
    Request,
    View,
)
from flyinglow.backend.greedy import Placement
from flyinglow.nodectl.errors import InvalidError

NETWORKS = ("private", "public")
COUNTER = itertools.count()


def node(
    name: str, memory: int = 1000, cpus: int = 10, disk: int = 1000, networks: tuple[str, ...] = NETWORKS
) -> NodeState:
    return NodeState(name=name, memory_mb=memory, cpus=cpus, disk_mb=disk, networks=dict.fromkeys(networks))


def seen(state: NodeState, memory: int | None = None) -> NodeView:
    free = state.memory_mb if memory is None else memory
    return NodeView(node=state, free_memory_mb=free, free_cpus=state.cpus, free_disk_mb=state.disk_mb)


def demand(memory: int = 100, cpus: int = 1, disk: int = 0, networks: tuple[str, ...] = ()) -> Demand:
    member = f"m{next(COUNTER)}"
    return Demand(member=member, name=member, memory_mb=memory, cpus=cpus, disk_mb=disk, networks=networks)


def view(*nodes: NodeView, **pools: PoolView) -> View:
    return View(nodes=nodes, pools={**dict.fromkeys(NETWORKS, PoolView(100, 100)), **pools})


def ask(*demands: Demand) -> Request:
    return Request(demands=demands, duration=60)


def emptied(site: View) -> View:
    nodes = tuple(seen(dataclasses.replace(n.node, policy=NodePolicy.ACTIVE)) for n in site.nodes)
    return View(nodes=nodes, pools={name: PoolView(pool.total, pool.total) for name, pool in site.pools.items()})


names = st.lists(st.sampled_from(NETWORKS), max_size=3).map(tuple)
demands = st.builds(demand, st.integers(0, 1500), st.integers(0, 12), st.integers(0, 1200), names)
requests = st.lists(demands, min_size=1, max_size=12).map(lambda many: ask(*many))


@st.composite
def sites(draw: st.DrawFn) -> View:
    nodes = []
    for number in range(draw(st.integers(0, 5))):
        state = node(
            f"n{number}",
            draw(st.integers(1, 2000)),
            draw(st.integers(1, 16)),
            draw(st.integers(0, 2000)),
            tuple(draw(st.sets(st.sampled_from(NETWORKS)))),
        )
        policy = draw(st.sampled_from([NodePolicy.ACTIVE, NodePolicy.ACTIVE, NodePolicy.DRAIN]))
        nodes.append(
            NodeView(
                node=dataclasses.replace(state, policy=policy),
                free_memory_mb=draw(st.integers(0, state.memory_mb)),
                free_cpus=draw(st.integers(0, state.cpus)),
                free_disk_mb=draw(st.integers(0, state.disk_mb)),
            )
        )
    pools = {}
    for name in NETWORKS:
        total = draw(st.integers(0, 20))
        pools[name] = PoolView(total, draw(st.integers(0, total)))
    return View(nodes=tuple(nodes), pools=pools)


placements = st.sampled_from(list(Placement))


@given(requests, sites(), placements)
def test_what_is_placed_fits(request: Request, site: View, placement: Placement) -> None:
    decision = greedy.decide(request, site, placement=placement)
    if not isinstance(decision, Placed):
        return
    assert set(decision.nodes) == {d.member for d in request.demands}
    for entry in site.nodes:
        here = [d for d in request.demands if decision.nodes[d.member] == entry.node.name]
        if not here:
            continue
        assert entry.node.policy is NodePolicy.ACTIVE
        assert sum(d.memory_mb for d in here) <= entry.free_memory_mb
        assert sum(d.cpus for d in here) <= entry.free_cpus
        assert sum(d.disk_mb for d in here) <= entry.free_disk_mb
        assert all(set(d.networks) <= set(entry.node.networks) for d in here)
    asked = Counter(name for d in request.demands for name in d.networks)
    assert all(count <= site.pools[name].free for name, count in asked.items())


@given(requests, sites(), placements)
def test_never_is_not_said_of_what_the_empty_site_grants(request: Request, site: View, placement: Placement) -> None:
    if isinstance(greedy.decide(request, site, placement=placement), Never):
        assert not isinstance(greedy.decide(request, emptied(site), placement=placement), Placed)


@given(demands, sites(), placements)
def test_never_of_one_vm_is_a_proof(one: Demand, site: View, placement: Placement) -> None:
    needs = Counter(one.networks)
    possible = any(
        one.memory_mb <= n.node.memory_mb
        and one.cpus <= n.node.cpus
        and one.disk_mb <= n.node.disk_mb
        and set(one.networks) <= set(n.node.networks)
        for n in site.nodes
    ) and all(count <= site.pools[name].total for name, count in needs.items())
    assert isinstance(greedy.decide(ask(one), site, placement=placement), Never) is not possible


@given(requests, sites(), placements)
def test_a_refusal_has_true_figures(request: Request, site: View, placement: Placement) -> None:
    decision = greedy.decide(request, site, placement=placement)
    if isinstance(decision, NotNow):
        assert 0 <= decision.figures["would_fit"] < decision.figures["members.asked"] == len(request.demands)
        assert decision.message
    if isinstance(decision, Never):
        assert decision.figures
        assert decision.message


@given(requests, sites(), placements)
def test_the_same_question_has_the_same_answer(request: Request, site: View, placement: Placement) -> None:
    shuffled = dataclasses.replace(site, nodes=tuple(reversed(site.nodes)))
    first = greedy.decide(request, site, placement=placement)
    assert greedy.decide(request, site, placement=placement) == first
    assert greedy.decide(request, shuffled, placement=placement) == first


@given(demands, sites(), placements, st.integers(0, 500))
def test_more_room_never_refuses_one_vm(one: Demand, site: View, placement: Placement, more: int) -> None:
    roomier = dataclasses.replace(
        site,
        nodes=tuple(
            dataclasses.replace(n, free_memory_mb=min(n.free_memory_mb + more, n.node.memory_mb)) for n in site.nodes
        ),
    )
    if isinstance(greedy.decide(ask(one), site, placement=placement), Placed):
        assert isinstance(greedy.decide(ask(one), roomier, placement=placement), Placed)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 10))
def test_alike_vms_on_alike_empty_nodes(count: int, nodes: int, room: int) -> None:
    """Pack uses as few nodes as can be; spread leaves no node more than one VM ahead of another."""
    site = view(*(seen(node(f"n{number}", memory=100 * room, cpus=100)) for number in range(nodes)))
    request = ask(*(demand(100) for _ in range(count)))
    packed = greedy.decide(request, site)
    spread = greedy.decide(request, site, placement=Placement.SPREAD)
    if count > nodes * room:
        assert isinstance(packed, Never)
        assert isinstance(spread, Never)
        return
    assert isinstance(packed, Placed)
    assert isinstance(spread, Placed)
    assert len(set(packed.nodes.values())) == -(-count // room)
    loads = Counter(spread.nodes.values())
    assert max(loads.values()) - min(loads[f"n{number}"] for number in range(nodes)) <= 1


@given(demands, sites())
def test_pack_opens_no_empty_node_while_a_used_one_has_room(one: Demand, site: View) -> None:
    decision = greedy.decide(ask(one), site)
    used = [n for n in site.nodes if n.free_memory_mb < n.node.memory_mb]
    if isinstance(decision, Placed) and isinstance(
        greedy.decide(ask(one), dataclasses.replace(site, nodes=tuple(used))), Placed
    ):
        chosen = next(n for n in site.nodes if n.node.name == decision.nodes[one.member])
        free = (chosen.free_memory_mb, chosen.free_cpus, chosen.free_disk_mb)
        assert free != (chosen.node.memory_mb, chosen.node.cpus, chosen.node.disk_mb)


def refused(decision: Decision, kind: type) -> dict[str, int]:
    assert isinstance(decision, kind)
    assert isinstance(decision, (NotNow, Never))
    return dict(decision.figures)


def test_not_now_tells_what_is_short() -> None:
    site = view(seen(node("a"), 300), seen(node("b"), 250))
    figures = refused(greedy.decide(ask(demand(200), demand(200), demand(200)), site), NotNow)
    assert figures == {
        "members.asked": 3,
        "would_fit": 2,
        "memory_mb.asked": 600,
        "memory_mb.free": 550,
        "memory_mb.largest_asked": 200,
        "memory_mb.largest_free": 300,
    }


def test_not_now_tells_which_addresses_are_short() -> None:
    site = view(seen(node("a")), public=PoolView(5, 1))
    figures = refused(greedy.decide(ask(*(demand(1, networks=("public",)) for _ in range(3))), site), NotNow)
    assert figures["addresses.public.asked"] == 3
    assert figures["addresses.public.free"] == 1
    assert figures["would_fit"] == 1


def test_would_fit_counts_the_most_members_and_not_the_largest() -> None:
    site = view(seen(node("a"), 300), seen(node("b"), 0))
    many = ask(demand(300), demand(100), demand(100), demand(100))
    assert refused(greedy.decide(many, site), NotNow)["would_fit"] == 3


def test_a_drained_node_takes_nothing_but_may_come_back() -> None:
    drained = dataclasses.replace(node("a"), policy=NodePolicy.DRAIN)
    figures = refused(greedy.decide(ask(demand()), view(seen(drained))), NotNow)
    assert figures["nodes.drained"] == 1


@pytest.mark.parametrize(
    ("site", "demands", "figures"),
    [
        (view(), [demand()], {"nodes.total": 0}),
        (view(seen(node("a"))), [demand(1001)], {"memory_mb.asked": 1001, "memory_mb.largest_node": 1000}),
        (view(seen(node("a"))), [demand(1, cpus=11)], {"cpus.asked": 11, "cpus.largest_node": 10}),
        (view(seen(node("a"))), [demand(1, disk=1001)], {"disk_mb.asked": 1001, "disk_mb.largest_node": 1000}),
        (view(seen(node("a"))), [demand(networks=("dmz",))], {"nodes.with.dmz": 0}),
        (
            view(seen(node("a")), public=PoolView(1, 1)),
            [demand(networks=("public",)), demand(networks=("public",))],
            {"addresses.public.asked": 2, "addresses.public.total": 1},
        ),
        (view(seen(node("a"))), [demand(600), demand(600)], {"memory_mb.asked": 1200, "memory_mb.total": 1000}),
        (
            view(seen(node("a")), seen(node("b"))),
            [demand(600), demand(600), demand(600)],
            {"members.asked": 3, "would_fit.empty_site": 2},
        ),
    ],
)
def test_never_names_the_limit(site: View, demands: list[Demand], figures: dict[str, int]) -> None:
    assert refused(greedy.decide(ask(*demands), site), Never) == figures


def test_never_when_no_one_node_has_all_of_it() -> None:
    site = view(seen(node("a", memory=2000, cpus=1)), seen(node("b", memory=500, cpus=20)))
    decision = greedy.decide(ask(demand(1500, cpus=8)), site)
    assert isinstance(decision, Never)
    assert "no one node" in decision.message


def test_a_member_that_few_nodes_can_carry_goes_first() -> None:
    both = seen(node("a", memory=100))
    private = seen(node("b", memory=100, networks=("private",)))
    decision = greedy.decide(
        ask(demand(100, networks=("private",)), demand(100, networks=("public",))), view(both, private)
    )
    assert isinstance(decision, Placed)


@pytest.mark.parametrize("bad", [demand(-1), demand(1, cpus=-1), demand(1, disk=-1)])
def test_less_than_nothing_is_invalid(bad: Demand) -> None:
    with pytest.raises(InvalidError):
        greedy.decide(ask(bad), view(seen(node("a"))))


def test_two_members_of_one_id_are_invalid() -> None:
    one = demand()
    with pytest.raises(InvalidError):
        greedy.decide(ask(one, one), view(seen(node("a"))))


def test_limits_are_the_largest_node_s() -> None:
    limits = greedy.limits(view(seen(node("a", memory=10, cpus=5)), seen(node("b", memory=20, cpus=1))))
    assert (limits.max_memory_mb, limits.max_cpus, limits.max_disk_mb, limits.max_members) == (20, 5, 1000, 6)
    assert greedy.limits(view(), 7).max_members == 7


def test_pack_takes_a_large_used_node_before_a_small_empty_one() -> None:
    one = demand(50)
    decision = greedy.decide(ask(one), view(seen(node("a", memory=100)), seen(node("b", memory=1000), 500)))
    assert decision == Placed({one.member: "b"})


def test_what_is_just_enough_is_not_called_short() -> None:
    site = view(seen(node("a"), 100), public=PoolView(5, 2))
    figures = refused(greedy.decide(ask(*(demand(100, networks=("public",)) for _ in range(2))), site), NotNow)
    assert not [name for name in figures if name.startswith("addresses.")]
