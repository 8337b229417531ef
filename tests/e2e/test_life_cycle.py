"""The life of leases on simulated nodes: fan-out, open ensembles, lists, the lease's end, and being forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flyinglow.client import Consumer, Disk, Nic, Part, Resource, Site
from flyinglow.client.notification import Notification
from flyinglow.client.watch import Watch
from flyinglow.nodectl.errors import ConflictError, UnknownError
from rigs.daemon import Daemon
from rigs.raw_soap import S11, S12, send

pytestmark = pytest.mark.xdist_group("life-cycle")

RETAIN, LEAD = 6, 4
OPTIONS = {
    "toml": f"[notification]\nallow_loopback = true\n[lease]\nretain = {RETAIN}\nwarn_before = {LEAD}\n",
    "nodectl": {"simulated": {"delays": {"start": 0.1}}},
}
WSA = "{http://www.w3.org/2005/08/addressing}"
Eventually = Callable[..., Any]
Gather = Callable[[Watch], list[Notification]]


def part(name: str = "wn", **changes: Any) -> Part:
    plain: dict[str, Any] = {"memory_mb": 16, "disks": (Disk(image="guest"),), "nics": (Nic(network="private"),)}
    return Part(name=name, **{**plain, **changes})


def left(resource: Resource) -> int:
    """Return how many seconds of the lease there are left."""
    found = resource.properties()
    assert found.ends_at is not None
    assert found.current_time is not None
    return int((found.ends_at - found.current_time).total_seconds())


def in_order(news: list[Notification]) -> bool:
    """Say whether the sequence numbers of all these go up, each by one."""
    numbers = [each.sequence for each in news]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("kind", ["group", "ensemble"])
def test_an_order_to_the_whole_reaches_every_member(site: Site, consumer: Consumer, kind: str, news_of: Gather) -> None:
    parts = [part(count=3)] if kind == "group" else [part("head"), part(count=2)]
    lease = site.create(parts, name="osg")
    whole = lease.whole
    assert whole.kind == kind
    watch = consumer.watch(whole)
    whole.wait("Running", timeout=120)
    names = [member.name for member in whole.report().members]
    assert [(result.name, result.error) for result in whole.pause()] == [(name, None) for name in names]
    assert whole.wait("Paused", timeout=120).census == {"Paused": 3}
    first = whole.report().members[0]
    first.resource.resume()
    first.resource.wait("Running", timeout=120)
    results = whole.reboot()  # those that are paused cannot
    refused = {result.name: type(result.error) for result in results if result.error}
    assert refused == {name: ConflictError for name in names if name != first.name}
    whole.start()
    whole.wait("Running", timeout=120)
    report = whole.report()
    assert (report.state, dict(report.census)) == ("Running", {"Running": 3})
    assert len({member.nics[0].ip for member in report.members}) == 3
    whole.destroy()
    news = news_of(watch)
    assert in_order(news)
    assert news[-1].topic == "termination"
    assert {each.topic for each in news} <= {"state", "termination", "schedule", "networking"}
    for resource in lease.resources.values():
        with pytest.raises(UnknownError):
            resource.properties()


def test_an_open_ensemble_is_joined_and_starts_when_it_is_done(site: Site) -> None:
    lease = site.create([part("head")], name="osg", open=True)
    ensemble = lease.whole
    joined = site.create([part("wn", count=2)], name="more", join=ensemble)
    assert joined.resources["wn"].kind == "group"
    found = ensemble.properties()
    assert sorted(member.name for member in found.members) == ["head", "wn-1", "wn-2"]
    assert {member.state for member in found.members} == {"Unpropagated"}
    assert ensemble.report().open
    ensemble.done()
    ensemble.wait("Running", timeout=120)
    assert joined.resources["wn"].properties().state == "Running"
    assert not ensemble.report().open
    with pytest.raises(ConflictError):
        ensemble.done()
    with pytest.raises(ConflictError):
        site.create([part("late")], name="late", join=ensemble)
    ensemble.destroy()


def test_a_list_goes_over_its_pages(shared: Daemon, site: Site) -> None:
    made = [site.create([part(f"p{number}", nics=())], name=f"p{number}").whole for number in range(6)]
    names: list[str] = []
    after, pages = "", 0
    while True:
        body = f'<List xmlns="urn:flyinglow:factory:1">{after}<Limit>4</Limit></List>'
        answer = send(shared, "/factory", body)[1].find(f"{S11}Body")
        assert answer is not None
        own = "{urn:flyinglow:factory:1}"
        names += [entry.findtext(f"{own}Name", "") for entry in answer[0].iterfind(f"{own}Entry")]
        following = answer[0].findtext(f"{own}Next")
        pages += 1
        if following is None:
            break
        after = f"<After>{following}</After>"
    mine = [name for name in names if name.startswith("p")]
    assert sorted(mine) == [f"p{number}" for number in range(6)]
    assert pages >= 2
    assert {entry.name for entry in site.list(kind="workspace")} >= set(mine)
    for each in made:
        each.destroy()
    assert not {entry.name for entry in site.list()} & set(mine)


def test_a_groups_lease_ends_with_a_warning_and_is_forgotten_in_the_end(
    shared: Daemon, site: Site, consumer: Consumer, eventually: Eventually, news_of: Gather
) -> None:
    lease = site.create([part(count=2)], name="wn", duration=600)
    watch = consumer.watch(lease.whole)
    lease.whole.wait("Running", timeout=120)
    lease.whole.extend(LEAD + 1 - left(lease.whole))
    news = news_of(watch)
    assert in_order(news)
    topics = [each.topic for each in news]
    assert topics[-1] == "termination"
    assert topics.index("schedule") < topics.index("warning") < topics.index("termination")
    warning = next(each for each in news if each.topic == "warning")
    assert 0 <= (warning.seconds or 0) <= LEAD
    last = [each for each in news if each.topic == "state"][-1]
    assert (last.state, last.reason) == ("Ended", "the lease has ended")
    ended = lease.whole.properties()
    assert ended.state == "Ended"
    assert not {"wn-1", "wn-2"} & {row["name"] for row in shared.admin("workspace.list")}

    def gone() -> bool:
        try:
            lease.whole.properties()
        except UnknownError:
            return True
        return False

    assert not gone()
    eventually(gone)
    assert lease.whole.url not in {entry.resource.url for entry in site.list()}


def test_a_lease_that_starts_paused_and_is_trashed(site: Site, consumer: Consumer, news_of: Gather) -> None:
    lease = site.create([part()], name="wn", initial_state="Paused", duration=120)
    watch = consumer.watch(lease.whole)
    lease.whole.wait("Paused", timeout=120)
    lease.whole.trash()
    news = news_of(watch)
    assert in_order(news)
    assert lease.whole.properties().state == "Ended"
    lease.whole.destroy()


@pytest.mark.parametrize("soap", [S11, S12], ids=["1.1", "1.2"])
def test_answers_say_what_they_answer(shared: Daemon, soap: str) -> None:
    action = "urn:flyinglow:factory:1/Factory/List"
    header = (
        f'<a:Action xmlns:a="{WSA[1:-1]}">{action}Request</a:Action>'
        f'<a:MessageID xmlns:a="{WSA[1:-1]}">urn:uuid:1-2-3</a:MessageID>'
    )
    status, answer = send(shared, "/factory", '<List xmlns="urn:flyinglow:factory:1"/>', header, soap)
    head = answer.find(f"{soap}Header")
    assert status == 200
    assert head is not None
    assert head.findtext(f"{WSA}Action") == f"{action}Response"
    assert head.findtext(f"{WSA}RelatesTo") == "urn:uuid:1-2-3"
    assert head.findtext(f"{WSA}MessageID", "").startswith("urn:uuid:")
    status, answer = send(shared, "/workspace/" + "0" * 32, '<Start xmlns="urn:flyinglow:workspace:1"/>', header, soap)
    assert answer.findtext(f"{soap}Header/{WSA}RelatesTo") == "urn:uuid:1-2-3"
    assert answer.findtext(f"{soap}Header/{WSA}Action", "").startswith("http://www.w3.org/2005/08/addressing/")
