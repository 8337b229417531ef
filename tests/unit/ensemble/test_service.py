"""The whole of an ensemble: its end, its destruction before Done, its members' fan-out."""

from datetime import timedelta

import pytest

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.group.service import state_of
from flyinglow.nodectl.errors import ConflictError, DeniedError, UnknownError
from flyinglow.workspace.model import Topic
from flyinglow.workspace.outcomes import ShutdownMode
from rigs.site import START, Site, key_of, part, whole


def test_an_open_ensemble_can_be_destroyed_before_it_is_done(site: Site) -> None:
    before = site.free()
    created = site.create(part("ce"), part("worker", 2), open=True)
    site.ensemble.destroy(LOCAL, whole(created).id)
    site.settle()
    assert set(site.states().values()) == {"Ended"}
    assert site.free() == before
    assert site.simulation.log == []
    with pytest.raises(UnknownError):
        site.ensemble.done(LOCAL, whole(created).id)


def test_the_end_is_moved_for_all_or_none(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 2), duration=600)
    until = START + timedelta(seconds=900)
    assert site.ensemble.set_end(LOCAL, whole(created).id, until) == until
    assert {row.ends_at for row in site.rows()} == {until}
    with pytest.raises(DeniedError):
        site.ensemble.set_end(LOCAL, whole(created).id, START + timedelta(days=365))
    assert {row.ends_at for row in site.rows()} == {until}
    site.drain()
    assert [event.body["ends_at"] for event in site.told(whole(created), Topic.SCHEDULE)] == [until.isoformat()]


def test_the_end_of_an_open_ensemble_cannot_be_moved(site: Site) -> None:
    created = site.create(part("ce"), open=True)
    with pytest.raises(ConflictError, match="has not begun"):
        site.ensemble.set_end(LOCAL, whole(created).id, START + timedelta(seconds=900))


def test_shutdown_reaches_every_member(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 2))
    site.settle()
    results = site.ensemble.shutdown(LOCAL, whole(created).id, ShutdownMode.NORMAL)
    assert [result.workspace.name for result in results] == ["ce", "worker-1", "worker-2"]
    site.settle()
    assert state_of(site.ensemble.get(LOCAL, whole(created).id)).counts == {"Propagated": 3}
    assert state_of(site.group.get(LOCAL, key_of(created, "worker").id)).total == 2


def test_another_cannot_see_it(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 2))
    with pytest.raises(UnknownError):
        site.ensemble.report(Identity("eve"), whole(created).id)
    with pytest.raises(UnknownError):
        site.group.destroy(Identity("eve"), key_of(created, "worker").id)
