"""The policies tried on traces of leases: what each gains, and what it costs. Every step is checked by the cluster."""

from statistics import mean
from typing import Any

import pytest

from flyinglow.backend.lrm.policy import load
from rigs.slot_cluster import JOB_START, POLL, Claimed, Cluster, play, trace

SEEDS = (1, 2, 3)
WARM: dict[str, Any] = {"seconds": 1800, "base": "over_provision", "base_options": {"factor": 1.0, "seconds": 7200}}


def waited(claims: list[Claimed]) -> float:
    return mean(claim.waited for claim in claims)


def run(name: str, claims: list[Claimed], nodes: int = 64, **options: Any) -> Cluster:
    return play(load(name, options), claims, nodes=nodes)


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_waits_for_every_job_and_holds_nothing(seed: int) -> None:
    claims = trace(seed)
    cluster = run("exact", claims)
    assert {round(claim.waited, 6) for claim in claims} == {JOB_START}
    assert cluster.jobs_asked == len(claims)
    used = sum(len(claim.request.demands) * (claim.request.duration + JOB_START) for claim in claims)
    assert cluster.node_seconds == pytest.approx(used)
    assert cluster.free_nodes == set(range(64))


@pytest.mark.parametrize("seed", SEEDS)
def test_keep_warm_waits_less_and_costs_nodes(seed: int) -> None:
    exact, warm = trace(seed), trace(seed)
    cold_cluster, warm_cluster = run("exact", exact), run("keep_warm", warm, **WARM)
    assert waited(warm) < 0.8 * waited(exact)
    assert warm_cluster.jobs_asked < cold_cluster.jobs_asked
    assert warm_cluster.node_seconds > cold_cluster.node_seconds
    assert warm_cluster.free_nodes == set(range(64))


@pytest.mark.parametrize("seed", SEEDS)
def test_packing_uses_fewer_nodes(seed: int) -> None:
    exact, packed = trace(seed, members=8), trace(seed, members=8)
    wide, narrow = run("exact", exact), run("packing", packed)
    assert narrow.most_nodes < wide.most_nodes
    assert narrow.node_seconds < 0.7 * wide.node_seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_packing_waits_less_where_nodes_are_short(seed: int) -> None:
    exact, packed = trace(seed, members=8, every=300), trace(seed, members=8, every=300)
    run("exact", exact, nodes=12)
    run("packing", packed, nodes=12)
    assert waited(packed) < waited(exact)


@pytest.mark.parametrize("seed", SEEDS)
def test_proactive_keeps_its_slots_ready(seed: int) -> None:
    claims = trace(seed, members=1, every=1200)
    options = {"slots": 2, "memory_mb": 1024, "cpus": 2, "seconds": 7200, "least": 3600}
    cluster = run("proactive", claims, **options)
    settled = [(at, ready) for at, ready in cluster.ready_ahead if at > 2 * POLL + JOB_START]
    # short of two only from when one was taken until the next is there
    assert mean(ready >= 2 for _, ready in settled) > 0.9
    assert max(ready for _, ready in settled) <= 3
    assert waited(claims) < 0.2 * JOB_START
    assert cluster.ready_ahead[-1][1] == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_what_may_be_preempted_needs_fewer_jobs(seed: int) -> None:
    base: dict[str, Any] = {"base": "packing", "base_options": {"whole": True}}
    alone, sharing = trace(seed, mixed=True), trace(seed, mixed=True)
    without, with_ = run("packing", alone, whole=True), run("opportunistic", sharing, **base)
    assert with_.jobs_asked < without.jobs_asked
    assert waited(sharing) < waited(alone)
    assert all(claim.waited == JOB_START for claim in sharing if not claim.request.preemptable)


@pytest.mark.parametrize("seed", SEEDS)
def test_over_provision_has_time_for_extensions(seed: int) -> None:
    claims = trace(seed)
    cluster = run("over_provision", claims, factor=2.0)
    assert all(slot.ends_at > 0 for slot in cluster.slots.values())
    for claim in claims:
        assert claim.began_at is not None
        left = min(cluster.slots[place].ends_at for place in claim.places.values()) - claim.began_at
        assert left >= 2 * claim.request.duration


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("nodes", [8, 9, 16])
@pytest.mark.parametrize("name", ["exact", "packing", "keep_warm", "proactive", "opportunistic"])
def test_no_lease_starves_on_a_small_cluster(name: str, nodes: int, seed: int) -> None:
    options: dict[str, Any] = {"memory_mb": 1024, "slots": 2} if name == "proactive" else {}
    claims = trace(seed, members=6, every=900, leases=30, mixed=True)
    cluster = run(name, claims, nodes=nodes, **options)
    assert cluster.most_nodes <= nodes
