"""A launch set comes up as a whole, or is backed out as a whole."""

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.errors import TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.model import InitialState, Topic
from flyinglow.workspace.states import State
from rigs.site import MakeSite, Site, key_of, part, whole


def test_one_workspace_runs(site: Site) -> None:
    created = site.create()
    assert site.states() == {"vm": "Unpropagated/Queued"}
    site.settle()
    row = site.row("vm")
    assert site.states() == {"vm": "Running"}
    assert row.reason == ""
    assert {"accepted", "scheduled", "launched", "image", "network", "started"} <= set(row.stamps)
    told = [(event.body["state"], event.body["task"]) for event in site.told(whole(created))]
    assert told == [
        ("Unpropagated", "Queued"),
        ("Unpropagated", "Propagating"),
        ("Propagated", "Starting"),
        ("Running", None),
    ]
    numbers = [event.sequence for event in site.events if event.key == whole(created)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("initial", "state"), [(InitialState.PROPAGATED, "Propagated"), (InitialState.PAUSED, "Paused")]
)
def test_the_initial_state_asked_for_is_reached(site: Site, initial: InitialState, state: str) -> None:
    site.create(part("a"), part("b"), initial_state=initial)
    site.settle()
    assert site.states() == {"a": state, "b": state}


@pytest.mark.parametrize("order", ["create", "start"])
def test_one_failure_backs_out_the_whole_set(site: Site, order: str) -> None:
    before = site.free()
    created = site.create(part("ce"), part("worker", 3, networks=("private", "public")))
    assert site.free() != before
    site.simulation.fail_next(order, TransientError("no space left on device"), tag=site.row("worker-2").tag)
    site.settle()
    assert set(site.states().values()) == {"Corrupted"}
    assert site.free() == before
    assert not site.simulation.vms()
    for name in ("ce", "worker-1", "worker-2", "worker-3"):
        last = site.told(key_of(created, name))[-1]
        assert last.body["reason"] == "member worker-2: no space left on device"
        ended = site.told(key_of(created, name), Topic.TERMINATION)
        assert [event.body["reason"] for event in ended] == [last.body["reason"]]


def test_a_node_that_does_not_answer_backs_out_the_set_and_holds_what_it_has(site: Site) -> None:
    before = site.free()
    site.create(part("a", memory_mb=900), part("b", memory_mb=900))
    silent = site.row("a").node
    assert silent is not None
    site.simulation.silence(silent)
    site.settle()
    assert "Unpropagated/Propagating" in site.states().values()
    site.settle(site.timing.create + 1)
    assert site.states() == {"a": "Unpropagated/Reclaiming", "b": "Corrupted"}
    assert site.free()[f"{silent}.memory"] == 100  # held until the node has confirmed
    site.settle(site.timing.destroy + 1)
    assert site.row("a").attempts == 1
    site.simulation.speak(silent)
    site.settle(site.timing.destroy + site.timing.backoff(2))
    assert site.states() == {"a": "Corrupted", "b": "Corrupted"}
    assert site.free() == before
    assert site.row("b").reason.startswith("member a: ")


def test_destroy_while_creating_lets_the_others_go_on(make_site: MakeSite) -> None:
    site = make_site(options={"delays": {"create": 5.0}})
    before = site.free()
    created = site.create(part("a"), part("b"))
    site.settle()
    assert set(site.states().values()) == {"Unpropagated/Propagating"}
    site.workspace.destroy(LOCAL, key_of(created, "a").id)
    with pytest.raises(UnknownError):
        site.workspace.get(LOCAL, key_of(created, "a").id)
    site.settle(6)
    assert site.states() == {"a": "Ended", "b": "Running"}
    assert list(site.simulation.vms()) == [site.row("b").tag]
    site.workspace.destroy(LOCAL, key_of(created, "b").id)
    site.settle(6)
    assert site.free() == before


def test_destroy_before_anything_was_sent_sends_nothing(site: Site) -> None:
    created = site.create()
    site.workspace.destroy(LOCAL, whole(created).id)
    site.settle()
    assert site.states() == {"vm": "Ended"}
    assert site.simulation.log == []


def test_a_queued_claim_waits_and_can_be_destroyed(make_site: MakeSite) -> None:
    site = make_site(options={"queue": True, "grant_after": "never"})
    before = site.free()
    created = site.create(part("a"), part("b"))
    site.settle()
    assert set(site.states().values()) == {"Unpropagated/Queued"}
    assert site.row("a").ends_at is None
    site.ensemble.destroy(LOCAL, whole(created).id)
    site.settle()
    assert site.states() == {"a": "Ended", "b": "Ended"}
    assert site.free() == before


def test_a_queued_claim_runs_when_it_is_granted(make_site: MakeSite) -> None:
    site = make_site(options={"queue": True, "grant_after": 100.0})
    site.create(part("a"), duration=60)
    site.settle()
    site.settle(100)
    row = site.row("a")
    assert row.state is State.RUNNING
    assert row.ends_at is not None
    assert (row.ends_at - row.accepted_at).total_seconds() == 160
    assert site.free()[f"{row.node}.memory"] == 900


def test_the_node_is_told_context_and_addresses(site: Site) -> None:
    from flyinglow.workspace.model import Context

    site.create(
        part(
            "ce",
            networks=("public", "private"),
            context=Context(provides=("compute-element",), keys=("ssh-rsa AA me",)),
        ),
        part("se", networks=("public",), image="guest", context=Context(provides=("storage-element",))),
    )
    site.settle()
    row = site.row("ce")
    spec = site.simulation.spec(row.tag)
    assert spec is not None
    assert [(nic.network, nic.bridge, nic.ip) for nic in spec.nics] == [
        ("public", "br0", row.nics[0].ip),
        ("private", None, row.nics[1].ip),
    ]
    lines = spec.context.splitlines()
    assert lines[:3] == ["name ce", f"hostname {row.nics[0].hostname}", "role compute-element"]
    assert "ssh-rsa AA me" in lines
    other = site.row("se")
    assert f"member se storage-element {other.nics[0].ip} public={other.nics[0].hostname}" in lines


def test_a_member_that_its_owner_gave_up_cannot_fail_the_others(make_site: MakeSite) -> None:
    site = make_site(options={"delays": {"create": 5.0}})
    created = site.create(part("a"), part("b"))
    site.simulation.fail_next("create", TransientError("the disk is full"), tag=site.row("a").tag)
    site.settle(1)
    site.workspace.destroy(LOCAL, key_of(created, "a").id)
    site.settle(10)
    assert site.states() == {"a": "Ended", "b": "Running"}


def test_orders_for_one_workspace_never_overlap(make_site: MakeSite) -> None:
    site = make_site(options={"delays": {"create": 5.0}})
    created = site.create()
    site.settle(1)
    site.workspace.destroy(LOCAL, whole(created).id)
    site.settle(3)
    assert [order.name for _, order in site.simulation.log] == [OrderName.CREATE]
    site.settle(2)
    assert [order.name for _, order in site.simulation.log] == [OrderName.CREATE, OrderName.DESTROY]
