"""What time alone brings about."""

from datetime import timedelta
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import ClaimNews, ClaimTopic
from flyinglow.nodectl.errors import ConflictError, DeniedError, InvalidError, UnknownError
from flyinglow.workspace.model import Topic
from flyinglow.workspace.terms import Terms
from rigs.site import START, MakeSite, Site, key_of, part, whole


def test_a_lease_ends_at_its_end_and_not_before(site: Site) -> None:
    before = site.free()
    created = site.create(part("a"), part("worker", 2), duration=600)
    assert created.ends_at == START + timedelta(seconds=600)
    site.settle(599)
    assert site.sweep().expired == 0
    site.settle(1)
    assert site.sweep().expired == 3
    assert set(site.states().values()) == {"Ended"}
    assert {row.reason for row in site.rows()} == {"the lease has ended"}
    assert site.free() == before
    assert not site.simulation.vms()


def test_the_end_is_announced_once_and_again_after_an_extension(site: Site) -> None:
    created = site.create(duration=600)
    site.settle(301)
    assert site.sweep().warned == 1
    assert site.sweep().warned == 0
    told = site.told(whole(created), Topic.WARNING)
    assert [event.body["seconds"] for event in told] == [299]
    until = START + timedelta(seconds=1200)
    assert site.workspace.set_end(LOCAL, whole(created).id, until) == until
    assert site.told(whole(created), Topic.SCHEDULE)[-1].body["ends_at"] == until.isoformat()
    site.settle(299)
    assert site.sweep().expired == 0
    site.settle(400)
    assert site.sweep().warned == 1


def test_an_end_is_bounded(make_site: MakeSite) -> None:
    site = make_site(terms=Terms(max_duration=1000))
    key = whole(site.create(duration=600)).id
    site.settle(10)
    with pytest.raises(InvalidError, match="in the past"):
        site.workspace.set_end(LOCAL, key, START + timedelta(seconds=9))
    with pytest.raises(DeniedError) as denied:
        site.workspace.set_end(LOCAL, key, START + timedelta(seconds=1001))
    assert denied.value.figures == {"duration.asked": 1001, "duration.max": 1000}
    site.workspace.set_end(LOCAL, key, START + timedelta(seconds=20))
    site.settle(10)
    site.sweep()
    with pytest.raises(ConflictError, match="is over"):
        site.workspace.set_end(LOCAL, key, START + timedelta(seconds=900))


@pytest.mark.parametrize("by", ["within", "at"])
def test_a_launch_that_waits_too_long_is_cancelled_with_its_reason(make_site: MakeSite, by: str) -> None:
    site = make_site(options={"queue": True, "grant_after": "never"})
    before = site.free()
    deadline = {"start_within": 60} if by == "within" else {"start_by": START + timedelta(seconds=60)}
    site.create(part("a"), part("b"), **deadline)
    key, why = site.row("a").launch_set, "2 of 4 nodes ready; the scheduler says Resources"
    site.settle(59)
    site.provisioner.claims(ClaimNews(key=key, topic=ClaimTopic.WAITING, reason=why))
    assert site.sweep().overdue == 0
    site.settle(1)
    assert site.sweep().overdue == 2
    assert site.states() == {"a": "Cancelled", "b": "Cancelled"}
    assert {row.reason for row in site.rows()} == {f"not started by 2030-01-01T12:01:00+00:00: {why}"}
    assert site.free() == before


def test_an_ensemble_that_stays_open_ends(make_site: MakeSite) -> None:
    site = make_site(terms=Terms(open_limit=100))
    before = site.free()
    created = site.create(part("a"), open=True)
    site.settle(99)
    assert site.sweep().overdue == 0
    site.settle(1)
    assert site.sweep().overdue == 1
    assert site.states() == {"a": "Ended"}
    assert site.free() == before
    with pytest.raises(ConflictError, match="done already"):
        site.ensemble.done(LOCAL, whole(created).id)


def test_what_is_over_stays_readable_and_is_then_forgotten(make_site: MakeSite) -> None:
    site = make_site(terms=Terms(retain=100))
    created = site.create(part("a"), part("worker", 2), duration=10)
    site.settle(10)
    site.sweep()
    site.settle(99)
    assert site.sweep().purged == 0
    assert site.workspace.get(LOCAL, key_of(created, "a").id).state == "Ended"
    site.settle(1)
    assert site.sweep().purged == 3
    assert site.rows() == []
    for _, key in created.resources:
        service: Any = {"workspace": site.workspace, "group": site.group, "ensemble": site.ensemble}[key.kind]
        with pytest.raises(UnknownError):
            service.get(LOCAL, key.id)


def test_a_set_is_forgotten_only_as_a_whole(make_site: MakeSite) -> None:
    site = make_site(terms=Terms(retain=100))
    created = site.create(part("a"), part("b"))
    site.settle()
    site.workspace.destroy(LOCAL, key_of(created, "a").id)
    site.settle(1000)
    assert site.sweep().purged == 0
    site.workspace.destroy(LOCAL, key_of(created, "b").id)
    site.settle(101)
    assert site.sweep().purged == 2
