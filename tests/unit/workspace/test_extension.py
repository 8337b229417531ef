"""An end is moved to later only when the back-end can hold the places for so long."""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.errors import ConflictError, DeniedError, InvalidError
from flyinglow.workspace.model import Topic
from rigs.site import START, MakeSite, Site, part, whole


def queue(make_site: MakeSite, **options: Any) -> Site:
    return make_site(options={"queue": True, **options})


def grant(site: Site, asked: datetime | Awaitable[datetime]) -> datetime:
    """Await what has to be awaited."""

    async def wait() -> datetime:
        assert not isinstance(asked, datetime)
        return await asked

    return site.run(wait())


@pytest.mark.parametrize("of", ["workspace", "group", "ensemble"])
def test_the_back_end_is_asked_before_a_later_end_is_granted(make_site: MakeSite, of: str) -> None:
    site = queue(make_site, longest=900)
    parts = {"workspace": [part("a")], "group": [part("a", 2)], "ensemble": [part("a"), part("b")]}[of]
    created = site.create(*parts, duration=600)
    site.settle(100)
    asked: list[tuple[str, float]] = []
    extend = site.backend.extend  # type: ignore[attr-defined]

    async def noted(key: str, seconds: float) -> float:
        asked.append((key, seconds))
        return float(await extend(key, seconds))

    site.backend.extend = noted  # type: ignore[attr-defined]
    until = START + timedelta(seconds=1000)
    assert grant(site, getattr(site, of).set_end(LOCAL, whole(created).id, until)) == until
    assert asked == [(site.rows()[0].launch_set, 900.0)]
    assert {row.ends_at for row in site.rows()} == {until}


@pytest.mark.parametrize("of", ["workspace", "group"])
def test_a_refusal_names_the_longest_possible_end_and_changes_nothing(make_site: MakeSite, of: str) -> None:
    site = queue(make_site, longest=900)
    created = site.create(part("a", 1 if of == "workspace" else 2), duration=600)
    site.settle(100)
    before = site.rows()
    asked = getattr(site, of).set_end(LOCAL, whole(created).id, START + timedelta(seconds=1001))
    with pytest.raises(
        DeniedError, match=r"can end at 2030-01-01T12:16:40\+00:00 at the latest: the simulated"
    ) as denied:
        grant(site, asked)
    assert denied.value.figures == {"longest": 900}
    assert site.rows() == before
    assert not site.told(before[0].key, Topic.SCHEDULE)


def test_an_earlier_end_and_a_wrong_one_never_ask(make_site: MakeSite) -> None:
    site = queue(make_site, longest=1)
    created = site.create(duration=600)
    site.settle(100)
    earlier = START + timedelta(seconds=300)
    assert site.workspace.set_end(LOCAL, whole(created).id, earlier) == earlier
    with pytest.raises(InvalidError, match="in the past"):
        site.workspace.set_end(LOCAL, whole(created).id, START)
    with pytest.raises(DeniedError, match="after it was accepted"):
        site.workspace.set_end(LOCAL, whole(created).id, START + timedelta(days=365))


def test_a_lease_that_ends_while_the_back_end_is_asked_stays_over(make_site: MakeSite) -> None:
    site = queue(make_site)
    created = site.create(duration=600)
    site.settle(100)
    asked = site.workspace.set_end(LOCAL, whole(created).id, START + timedelta(seconds=1000))
    site.backend.take(site.rows()[0].launch_set, 10.0, "pre-empted")
    site.settle()
    with pytest.raises(ConflictError, match="is over"):
        grant(site, asked)
    assert site.row("vm").state == "Cancelled"


def test_a_queued_lease_has_no_end_to_move_and_gets_one_when_it_begins(make_site: MakeSite) -> None:
    site = queue(make_site, grant_after=50.0)
    created = site.create(duration=600)
    site.settle(10)
    with pytest.raises(ConflictError, match="has not begun"):
        site.workspace.set_end(LOCAL, whole(created).id, START + timedelta(seconds=1000))
    site.settle(60)
    assert site.row("vm").ends_at == START + timedelta(seconds=650)
