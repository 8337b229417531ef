"""The folded state of many, and the events derived from members' events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.access.identity import LOCAL
from flyinglow.group.fold import fold
from flyinglow.group.members import members_of
from flyinglow.group.service import state_of
from flyinglow.nodectl.errors import TransientError
from flyinglow.workspace.model import ResourceKey, Topic, Workspace
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import FINAL, NEXT, State, Status, Task
from rigs.site import Site, key_of, part, whole
from rigs.store import workspace


@pytest.mark.parametrize(("states", "word"), [
    ((), "Ended"),
    (("Running", "Running"), "Running"),
    (("Running", "Propagated"), "Propagated"),
    (("Running", "Paused"), "Paused"),
    (("Unpropagated", "Paused"), "Unpropagated"),
    (("Running", "Ended"), "Running"),
    (("Ended", "Ended"), "Ended"),
    (("Running", "Corrupted"), "Corrupted"),
    (("Cancelled", "Running"), "Cancelled"),
    (("Cancelled", "Corrupted"), "Corrupted"),
])  # fmt: skip
def test_the_rules(states: tuple[str, ...], word: str) -> None:
    members = [workspace(number, state=State(state), task=None) for number, state in enumerate(states)]
    assert fold(members).state == word


@given(st.lists(st.sampled_from(sorted(NEXT, key=str)), max_size=12), st.randoms())
def test_the_order_of_members_does_not_matter_and_counts_add_up(statuses: list[Status], random: object) -> None:
    members = [workspace(number, state=s.state, task=s.task) for number, s in enumerate(statuses)]
    shuffled = list(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    folded = fold(members)
    assert folded == fold(shuffled)
    assert sum(folded.counts.values()) == folded.total == len(members)
    if folded.state == "Running":
        assert all(s.state is State.RUNNING or s.state is State.ENDED for s in statuses)
    if folded.state == "Ended":
        assert all(s.state in FINAL for s in statuses)


def test_a_launch_is_told_step_by_step_to_group_and_ensemble(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 3))
    group, ensemble = key_of(created, "worker"), whole(created)
    site.drain()
    site.settle()
    site.drain()
    assert site.drain() == []
    for key, total in ((group, 3), (ensemble, 4)):
        told = site.told(key)
        assert [event.body["state"] for event in told] == ["Unpropagated", "Running"]
        assert told[-1].body["counts"] == {"Running": total}
        numbers = [event.sequence for event in site.events if event.key == key]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_warning_and_a_termination_are_told_once(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 3), duration=600)
    site.settle(400)
    site.sweep()
    site.drain()
    site.settle(200)
    site.sweep()
    site.drain()
    for key in (key_of(created, "worker"), whole(created)):
        assert [event.body["seconds"] for event in site.told(key, Topic.WARNING)] == [200]
        assert [event.body["reason"] for event in site.told(key, Topic.TERMINATION)] == ["the lease has ended"]
        assert site.told(key)[-1].body["state"] == "Ended"


def test_the_reason_of_a_back_out_reaches_the_ensemble(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 3))
    site.simulation.fail_next("start", TransientError("no kernel"), tag=site.row("worker-2").tag)
    site.settle()
    site.drain()
    told = site.told(whole(created))[-1].body
    assert (told["state"], told["reason"]) == ("Corrupted", "member worker-2: no kernel")


def test_a_batch_costs_one_read_of_each_collection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from flyinglow.group import derive

    site.create(part("ce"), part("worker", 10))
    site.settle()
    reads: list[ResourceKey] = []

    def counted(tx: Tx, key: ResourceKey) -> list[Workspace]:
        reads.append(key)
        return members_of(tx, key)

    monkeypatch.setattr(derive, "members_of", counted)
    site.drain()
    assert len(reads) == 2


def test_a_fan_out_has_one_result_per_member(site: Site) -> None:
    created = site.create(part("worker", 3))
    site.settle()
    site.workspace.shutdown(LOCAL, key_of(created, "worker-2").id, ShutdownMode.NORMAL)
    site.settle()
    results = site.group.shutdown(LOCAL, whole(created).id, ShutdownMode.PAUSE, "")  # SaveTo is not there
    assert [(r.workspace.name, r.error and r.error.kind) for r in results] == [
        ("worker-1", None), ("worker-2", "conflict"), ("worker-3", None),
    ]  # fmt: skip
    site.settle()
    assert site.states() == {"worker-1": "Paused", "worker-2": "Propagated", "worker-3": "Paused"}
    assert all(result.error is None for result in site.group.start(LOCAL, whole(created).id))
    site.settle()
    assert state_of(site.group.get(LOCAL, whole(created).id)).state == "Running"


def test_a_destroyed_member_leaves_the_others_running(site: Site) -> None:
    created = site.create(part("worker", 3))
    site.settle()
    site.workspace.destroy(LOCAL, key_of(created, "worker-1").id)
    site.settle()
    found = site.group.get(LOCAL, whole(created).id)
    assert [member.name for member in found.members] == ["worker-2", "worker-3"]
    assert state_of(found).counts == {"Running": 2, "Ended": 1}


def test_a_report_can_pick_members(site: Site) -> None:
    created = site.create(part("worker", 3))
    site.settle()
    site.workspace.shutdown(LOCAL, key_of(created, "worker-3").id, ShutdownMode.PAUSE)
    folded, rows = site.group.report(LOCAL, whole(created).id, lambda row: row.task is Task.PAUSING)
    assert [row.name for row in rows] == ["worker-3"]
    assert (folded.state, folded.task) == ("Running", "Pausing")
