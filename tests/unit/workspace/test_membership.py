"""Groups and ensembles tell of members that come and go, not of those they began with, nor of their own end."""

from flyinglow.access.identity import LOCAL
from flyinglow.workspace.model import Topic
from rigs.site import Site, key_of, part, whole


def changes(site: Site, created: object, name: str) -> list[tuple[str, str]]:
    key = whole(created) if name == "whole" else key_of(created, name)  # type: ignore[arg-type]
    return [(event.body["change"], event.body["member_name"]) for event in site.told(key, Topic.MEMBERSHIP)]


def test_a_member_that_is_destroyed_has_left_its_group_and_its_ensemble(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 2))
    site.settle()
    site.workspace.destroy(LOCAL, key_of(created, "worker-1").id)
    assert changes(site, created, "whole") == changes(site, created, "worker") == [("removed", "worker-1")]
    (told,) = site.told(whole(created), Topic.MEMBERSHIP)
    assert told.body["member"] == key_of(created, "worker-1").id
    assert told.sequence == site.ensemble.get(LOCAL, whole(created).id).row.sequence


def test_a_member_that_was_over_already_has_left_when_it_is_destroyed(site: Site) -> None:
    created = site.create(part("worker", 2), duration=60)
    site.settle(61)
    site.sweep()
    site.settle()
    assert set(site.states().values()) == {"Ended"}
    assert changes(site, created, "whole") == []
    site.workspace.destroy(LOCAL, key_of(created, "worker-2").id)
    assert changes(site, created, "whole") == [("removed", "worker-2")]


def test_members_that_are_added_to_an_open_ensemble_are_told(site: Site) -> None:
    created = site.create(part("ce"), open=True)
    site.create(part("worker", 2), part("se"), join=whole(created).id)
    assert changes(site, created, "whole") == [("added", "worker-1"), ("added", "worker-2"), ("added", "se")]
    numbers = [event.sequence for event in site.told(whole(created), Topic.MEMBERSHIP)]
    assert numbers == sorted(set(numbers))


def test_nobody_is_told_when_all_of_it_is_destroyed(site: Site) -> None:
    created = site.create(part("worker", 2))
    site.group.destroy(LOCAL, whole(created).id)
    assert changes(site, created, "whole") == []


def test_a_group_that_is_destroyed_leaves_its_ensemble(site: Site) -> None:
    created = site.create(part("ce"), part("worker", 2))
    site.group.destroy(LOCAL, key_of(created, "worker").id)
    assert changes(site, created, "whole") == [("removed", "worker-1"), ("removed", "worker-2")]
    assert changes(site, created, "worker") == []
    site.ensemble.destroy(LOCAL, whole(created).id)
    assert len(changes(site, created, "whole")) == 2
