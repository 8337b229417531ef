"""What the back-end tells of claims: why they wait, that their places will go, that they are gone."""

from datetime import timedelta

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import Claim, ClaimNews, ClaimTopic, Observation
from flyinglow.nodectl.errors import ConflictError, NeverError, TransientError
from flyinglow.nodectl.messages import OrderName
from flyinglow.workspace.model import Topic
from rigs.site import MakeSite, Site, part, whole

QUEUE = {"queue": True, "grant_after": "never"}


def waiting(site: Site, reason: str, starts_in: float | None = None) -> None:
    key = site.rows()[0].launch_set
    site.provisioner.claims(ClaimNews(key=key, topic=ClaimTopic.WAITING, reason=reason, starts_in=starts_in))
    site.settle()


def schedules(site: Site, name: str) -> list[tuple[str, str | None]]:
    key = site.row(name).key
    return [(e.body["reason"], e.body["starts_at"]) for e in site.told(key, Topic.SCHEDULE)]


def test_why_a_launch_set_waits_is_kept_and_told_when_it_is_new(make_site: MakeSite) -> None:
    site = make_site(options=QUEUE)
    site.create(part("a"), part("b"))
    site.settle()
    site.events.clear()
    waiting(site, "the scheduler says Resources", 600.0)
    expected = site.now() + timedelta(seconds=600)
    assert {(row.reason, row.starts_at) for row in site.rows()} == {("the scheduler says Resources", expected)}
    waiting(site, "the scheduler says Resources", 630.0)  # every look gives another estimate
    assert schedules(site, "a") == [("the scheduler says Resources", expected.isoformat())]
    waiting(site, "the scheduler says Resources", 700.0)
    waiting(site, "the scheduler says Priority", 700.0)
    waiting(site, "the scheduler says Priority", None)
    assert [reason for reason, _ in schedules(site, "b")] == [
        "the scheduler says Resources", "the scheduler says Resources",
        "the scheduler says Priority", "the scheduler says Priority",
    ]  # fmt: skip
    assert site.row("b").starts_at is None
    assert set(site.states().values()) == {"Unpropagated/Queued"}


def test_a_row_that_went_on_does_not_wait_any_more(make_site: MakeSite) -> None:
    site = make_site(options=QUEUE)
    site.create(part("a"))
    site.settle()
    waiting(site, "why", 60.0)
    site.backend.grant(site.row("a").launch_set)
    site.settle()
    waiting(site, "late", 60.0)
    row = site.row("a")
    assert (row.state, row.reason, row.starts_at) == ("Running", "", None)


def test_an_ending_claim_is_warned_of_and_taken_down_at_once(site: Site) -> None:
    before = site.free()
    created = site.create(part("a", 2))
    site.settle()
    site.simulation.delay("destroy", 5.0)
    site.events.clear()
    site.backend.take(site.row("a-1").launch_set, 20.0, "pre-empted by partition urgent")
    site.settle()
    for name in ("a-1", "a-2"):
        key = site.row(name).key
        (warning,) = site.told(key, Topic.WARNING)
        at = (site.now() + timedelta(seconds=20)).isoformat()
        assert warning.body == {"name": name, "ends_at": at, "seconds": 20, "reason": "pre-empted by partition urgent"}
        assert site.told(key)[0].sequence == warning.sequence + 1
        assert not site.told(key, Topic.TERMINATION)
    assert {event.body["reason"] for event in site.drain() if event.topic is Topic.WARNING} == {
        "pre-empted by partition urgent"
    }
    assert set(site.states().values()) == {"Running/Reclaiming"}
    assert [order.name for _, order in site.simulation.log].count(OrderName.DESTROY) == 2
    site.settle(6)
    assert set(site.states().values()) == {"Cancelled"}
    assert {row.reason for row in site.rows()} == {"pre-empted by partition urgent"}
    assert site.free() == before
    site.drain()
    assert site.told(whole(created), Topic.TERMINATION)[0].body["reason"] == "pre-empted by partition urgent"


def test_news_of_some_places_concern_only_the_workspaces_there(make_site: MakeSite) -> None:
    site = make_site(options={"placement": "spread"})
    site.create(part("a"), part("b"))
    site.settle()
    gone, stays = site.row("a"), site.row("b")
    assert gone.node
    assert gone.node != stays.node
    site.backend.take(gone.launch_set, 20.0, "the node is drained", frozenset({gone.node}))
    site.settle()
    assert site.states() == {"a": "Cancelled", "b": "Running"}
    assert not site.told(stays.key, Topic.WARNING)


def test_a_second_warning_changes_nothing(site: Site) -> None:
    site.create(part("a"))
    site.settle()
    site.simulation.delay("destroy", 5.0)
    for seconds in (20.0, 19.0):
        site.backend.take(site.row("a").launch_set, seconds, f"{seconds:g} left")
        site.settle()
    assert len(site.told(site.row("a").key, Topic.WARNING)) == 1
    site.settle(6)
    assert site.row("a").reason == "20 left"


@pytest.mark.parametrize(("notice", "places"), [(20.0, True), (None, True), (20.0, False)])
@pytest.mark.parametrize("order", ["create", "start"])
def test_a_launch_whose_places_go_backs_out_as_a_whole_at_once(
    make_site: MakeSite, order: str, notice: float | None, places: bool
) -> None:
    site = make_site(options={"placement": "spread", "delays": {order: 100.0}})
    before = site.free()
    site.create(part("a", 20, memory_mb=50))
    site.settle(1)
    row = site.row("a-1")
    assert row.task in {"Propagating", "Starting"}
    assert row.node
    site.backend.take(row.launch_set, notice, "pre-empted", frozenset({row.node} if places else ()))
    site.settle(0.5)
    asked = {order.tag for _, order in site.simulation.log if order.name is OrderName.DESTROY}
    assert asked == {row.tag for row in site.rows()}  # nobody waited for the orders under way
    site.settle(300)
    assert set(site.states().values()) == {"Cancelled"}
    assert {row.reason for row in site.rows()} == {"pre-empted"}
    assert not site.simulation.vms()
    assert site.free() == before


def test_nothing_more_is_sent_to_places_that_go(make_site: MakeSite) -> None:
    site = make_site(nodes=1, options={"delays": {"create": 5.0}})
    site.create(part("a", 20, memory_mb=50))
    site.settle(1)
    site.backend.take(site.row("a-1").launch_set, 20.0, "pre-empted")
    site.settle(100)
    assert [order.name for _, order in site.simulation.log].count(OrderName.CREATE) == site.timing.per_node
    assert not site.simulation.vms()


def test_a_group_tells_why_it_waits_and_that_it_is_taken_away(make_site: MakeSite) -> None:
    site = make_site(options=QUEUE)
    created = site.create(part("a", 2), duration=400)
    site.settle()
    site.drain()
    site.events.clear()
    for reason, starts_in in (("Resources", None), ("Resources", 600.0), ("Priority", 600.0), ("Priority", 600.0)):
        waiting(site, reason, starts_in)
        site.drain()
    expected = (site.now() + timedelta(seconds=600)).isoformat()
    told = [(e.body["reason"], e.body["starts_at"]) for e in site.told(whole(created), Topic.SCHEDULE)]
    assert told == [("Resources", None), ("Resources", expected), ("Priority", expected)]
    site.backend.grant(site.rows()[0].launch_set)
    site.settle(250)
    site.sweep()  # the end of the lease is near; both warnings are read in one batch
    site.backend.take(site.rows()[0].launch_set, 20.0, "pre-empted", frozenset({site.row("a-1").node or ""}))
    site.settle()
    site.drain()
    (warning,) = site.told(whole(created), Topic.WARNING)
    assert (warning.body["seconds"], warning.body["reason"]) == (20, "pre-empted")


def test_an_operation_under_way_is_not_waited_for(site: Site) -> None:
    site.create(part("a"))
    site.settle()
    site.simulation.delay("pause", 50.0)
    from flyinglow.workspace.outcomes import ShutdownMode

    site.workspace.shutdown(LOCAL, site.row("a").id, ShutdownMode.PAUSE)
    site.settle(1)
    site.backend.take(site.row("a").launch_set, 10.0, "pre-empted")
    site.settle(0.5)
    assert OrderName.DESTROY in {order.name for _, order in site.simulation.log}
    site.settle(100)
    assert (site.row("a").state, site.row("a").reason) == ("Cancelled", "pre-empted")


def test_a_member_destroyed_before_keeps_its_own_end(site: Site) -> None:
    site.create(part("a"), part("b"))
    site.settle()
    site.simulation.delay("destroy", 5.0)
    site.workspace.destroy(LOCAL, site.row("a").id)
    site.backend.take(site.row("b").launch_set, 10.0, "pre-empted")
    site.settle(10)
    assert site.states() == {"a": "Ended", "b": "Cancelled"}
    assert not site.told(site.row("a").key, Topic.WARNING)


def test_a_queued_launch_set_whose_claim_is_lost_is_cancelled(make_site: MakeSite) -> None:
    site = make_site(options=QUEUE)
    before = site.free()
    site.create(part("a"), part("b"))
    site.settle()
    site.backend.take(site.row("a").launch_set, None, "the job was cancelled by its operator")
    site.settle()
    assert site.states() == {"a": "Cancelled", "b": "Cancelled"}
    assert site.row("b").reason == "the job was cancelled by its operator"
    assert site.free() == before


@pytest.mark.parametrize(
    ("error", "state"), [(ConflictError("taken back"), "Cancelled"), (NeverError("the queue refuses it"), "Corrupted")]
)
def test_taken_away_is_cancelled_and_refused_is_corrupted(
    make_site: MakeSite, error: Exception, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(options=QUEUE)

    async def acquire(_claim: object) -> None:
        raise error

    monkeypatch.setattr(site.backend, "acquire", acquire)
    site.create(part("a"))
    site.settle()
    assert (site.row("a").state, site.row("a").reason) == (state, str(error))


def test_a_place_that_is_gone_needs_no_clean_up(site: Site) -> None:
    site.create(part("a"))
    site.settle()
    row = site.row("a")
    assert row.node
    del site.nodes[row.node]  # the back-end knows of no such place any more
    site.workspace.destroy(LOCAL, row.id)
    site.settle()
    assert site.states() == {"a": "Ended"}


def test_a_launch_onto_a_place_that_is_gone_is_cancelled(make_site: MakeSite) -> None:
    site = make_site(options=QUEUE)
    acquire = site.backend.acquire

    async def granted_and_gone(claim: Claim) -> object:
        grants = await acquire(claim)
        site.nodes.clear()
        return grants

    site.backend.acquire = granted_and_gone  # type: ignore[method-assign, assignment]
    site.create(part("a"))
    site.settle()
    site.backend.grant(site.row("a").launch_set)
    site.settle()
    assert site.states() == {"a": "Cancelled"}
    assert "cannot be reached" in site.row("a").reason


def test_a_place_that_goes_while_its_order_is_under_way_is_no_fault_of_the_member(make_site: MakeSite) -> None:
    site = make_site(options={"delays": {"create": 10.0}})
    site.create(part("a"))
    site.settle(1)
    site.simulation.fail_next("create", TransientError("the channel was closed"))
    site.nodes.clear()
    site.settle(20)
    assert site.states() == {"a": "Cancelled"}
    assert site.row("a").reason == "member a: the channel was closed"


@pytest.mark.parametrize("launching", [False, True])
def test_a_pass_that_finds_places_gone_cancels_who_was_there(make_site: MakeSite, launching: bool) -> None:
    site = make_site(options={"placement": "spread", "delays": {"create": 100.0} if launching else {}})
    site.create(part("a"), part("b"))
    site.settle(1)
    node = site.row("a").node
    assert node

    async def reconcile(_keys: object) -> Observation:
        return Observation(lost_places={node: "the slot was lost"})

    site.backend.reconcile = reconcile  # type: ignore[method-assign, assignment]
    site.run(site.provisioner.reconcile())
    site.settle(200)
    assert site.states() == {"a": "Cancelled", "b": "Cancelled" if launching else "Running"}
    assert site.row("a").reason == "the slot was lost"


def test_unreadable_news_of_one_claim_leaves_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from flyinglow.workspace import claims

    site.create(part("a"))
    site.create(part("b"))
    site.settle()
    bad, good = site.row("a").launch_set, site.row("b").launch_set
    take = claims._take

    def failing(tx: object, row: object, news: ClaimNews, now: object) -> object:
        if news.key == bad:
            raise RuntimeError("a bad row")
        return take(tx, row, news, now)  # type: ignore[arg-type]

    monkeypatch.setattr(claims, "_take", failing)
    site.backend.take(bad, None)
    site.backend.take(good, None)
    site.settle()
    assert site.states() == {"a": "Running", "b": "Cancelled"}
