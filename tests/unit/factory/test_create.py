"""Create: all or nothing, idempotent by its token, and every refusal with its reason."""

from dataclasses import replace
from threading import Thread
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL, OPERATOR, Identity
from flyinglow.factory.model import Created
from flyinglow.nodectl.errors import (
    ConflictError,
    DeniedError,
    ExhaustedError,
    FlyingLowError,
    InvalidError,
    NeverError,
    UnknownError,
)
from flyinglow.notification.service import SubscriptionSettings
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.workspace.model import Allocation, Context, Disk, EndAction, File, Kind, Nic, Selection, Topic
from flyinglow.wsrf.faults import TypedFault
from rigs.site import MakeSite, Site, key_of, kinds, part, request, subscriptions, whole


def test_one_part_is_a_workspace_or_a_group_and_several_are_an_ensemble(site: Site) -> None:
    assert kinds(site.create(part("vm"))) == [("vm", Kind.WORKSPACE)]
    assert kinds(site.create(part("worker", 2), name="farm")) == [
        ("farm", Kind.GROUP), ("worker-1", Kind.WORKSPACE), ("worker-2", Kind.WORKSPACE),
    ]  # fmt: skip
    created = site.create(part("ce"), part("worker", 2), name="cluster")
    assert kinds(created) == [
        ("cluster", Kind.ENSEMBLE), ("ce", Kind.WORKSPACE), ("worker", Kind.GROUP),
        ("worker-1", Kind.WORKSPACE), ("worker-2", Kind.WORKSPACE),
    ]  # fmt: skip


def test_addresses_are_leased_and_told_at_once(site: Site) -> None:
    created = site.create(part(networks=("public", "private")))
    row = site.row("vm")
    assert [nic.name for nic in row.nics] == ["eth0", "eth1"]
    assert all(nic.ip and nic.mac and nic.hostname for nic in row.nics)
    (told,) = site.told(whole(created), Topic.NETWORKING)
    assert [nic["ip"] for nic in told.body["nics"]] == [nic.ip for nic in row.nics]


def test_a_tag_that_is_taken_is_not_given_again(site: Site) -> None:
    site.create(part("first"))
    taken = site.row("first").tag
    tags = iter([taken, "t9999998", "t9999999"])
    site.factory._new_tag = lambda: next(tags)
    site.create(part("second"))
    assert (site.row("first").tag, site.row("second").tag) == (taken, "t9999998")


BAD: dict[str, tuple[dict[str, Any], type[FlyingLowError], str]] = {
    "no parts": ({"parts": ()}, InvalidError, "at least one part"),
    "a count of 0": ({"parts": (part("a", 0),)}, InvalidError, "1 or more"),
    "a negative count": ({"parts": (part("a", -5),)}, InvalidError, "1 or more"),
    "a huge count": ({"parts": (part("a", 10**12),)}, NeverError, "at most"),
    "no duration": ({"duration": 0}, InvalidError, "longer than 0 s"),
    "a negative duration": ({"duration": -1}, InvalidError, "longer than 0 s"),
    "a huge duration": ({"duration": 10**15}, DeniedError, "at most"),
    "a negative wait": ({"start_within": -1}, InvalidError, "bounded"),
    "no memory": ({"parts": (part(memory_mb=0),)}, InvalidError, "1 or more"),
    "memory no node has": ({"parts": (part(memory_mb=1001),)}, NeverError, "1001"),
    "an unknown network": ({"parts": (part(networks=("storage",)),)}, InvalidError, "no network 'storage'"),
    "one's own address": ({"parts": (part(nics=(Nic(network="public", ip="1.2.3.4"),)),)}, InvalidError, "chooses"),
    "two parts of one name": ({"parts": (part("a"), part("a"))}, InvalidError, "named 2 times"),
    "two members of one name": ({"parts": (part("a", 2), part("a-1"))}, InvalidError, "'a-1' is named 2 times"),
    "a bad name": ({"parts": (part("a b"),)}, InvalidError, "lower-case"),
    "a name with a line break": ({"parts": (part("a\n"),)}, InvalidError, "lower-case"),
    "a role with a line break": ({"parts": (part(context=Context(provides=("a\nb",))),)}, InvalidError, "role"),
    "a key of two lines": ({"parts": (part(context=Context(keys=("ssh-rsa A\nrole x",))),)}, InvalidError, "key"),
    "no disk": ({"parts": (part(disks=()),)}, InvalidError, "1 to 8 disks"),
    "an unknown image": ({"parts": (part(image="windows"),)}, InvalidError, "not in this site's catalogue"),
    "an image by URI": ({"parts": (part(image="http://x/y"),)}, DeniedError, "images by http: URI are not offered"),
    "a path for an image": ({"parts": (part(image="../../x"),)}, InvalidError, "is a path; an image is a name"),
    "an absolute path for an image": ({"parts": (part(image="/dev/sda"),)}, InvalidError, "is a path"),
    "saved nowhere": ({"end_action": EndAction.SAVE}, InvalidError, "SaveTo is missing"),
    "saved to somewhere with credentials": (
        {"end_action": EndAction.SAVE, "save_uri": "https://u:canary@x/y"}, InvalidError, "would be stored and shown",
    ),
    "several saved under one name": (
        {"parts": (part("a", 2),), "end_action": EndAction.SAVE, "save_uri": "https://x/y"}, InvalidError, "own",
    ),
    "a place without an end action": ({"save_uri": "https://x/y"}, InvalidError, "SaveTo goes with EndAction Save"),
    "no time to save": (
        {"end_action": EndAction.SAVE, "save_uri": "https://x/y", "duration": 120}, InvalidError, "ask for longer",
    ),
    "nothing to save": (
        {"parts": (part(image="bare"),), "end_action": EndAction.SAVE, "save_uri": "https://x/y"}, InvalidError,
        "nothing to save",
    ),
    "an unknown partition": (
        {"parts": (part(disks=(Disk(name="d", partition="sda1"),)),)}, InvalidError, "partition 'sda1' is not in",
    ),
    "an image for a partition": (
        {"parts": (part(disks=(Disk(name="d", partition="plain"),)),)}, InvalidError, "partition 'plain' is not in",
    ),
    "a disk of two": ({"parts": (part(disks=(Disk(name="d", image="plain", blank_mb=1),)),)}, InvalidError, "one of"),
    "too small for a file system": (
        {"parts": (part(disks=(Disk(name="r", image="plain"), Disk(name="d", blank_mb=1, mount="/data"))),)},
        InvalidError, "with ext4 has 4 MB",
    ),
    "a mount point of the booted image": (
        {"parts": (part(disks=(Disk(name="r", image="plain", mount="/data"),)),)}, InvalidError, "mounts itself",
    ),
    "a mount point that is none": (
        {"parts": (part(disks=(Disk(name="r", image="plain"), Disk(name="d", blank_mb=9, mount="/a/../b"))),)},
        InvalidError, "a mount point is",
    ),
    "a mount point with a line break": (
        {"parts": (part(disks=(Disk(name="r", image="plain"), Disk(name="d", blank_mb=9, mount="/a\nb"))),)},
        InvalidError, "a mount point is",
    ),
    "one mount point twice": (
        {"parts": (part(disks=(Disk(name="r", image="plain"), Disk(name="d", blank_mb=9, mount="/a"),
                               Disk(name="e", blank_mb=9, mount="/a"))),)},
        InvalidError, "named 2 times",
    ),
    "swap that is mounted": (
        {"parts": (part(disks=(Disk(name="r", image="plain"),
                               Disk(name="d", blank_mb=9, mount="/a", file_system="swap"))),)},
        InvalidError, "mounted nowhere",
    ),
    "a file system on an image": (
        {"parts": (part(disks=(Disk(name="r", image="plain", file_system="ext4"),)),)},
        InvalidError,
        "blank disks only",
    ),
    "a disk of an image that has none": (
        {"parts": (part(disks=(Disk(name="r", image="plain"), Disk(name="d", image="bare"))),)},
        InvalidError, "no disk",
    ),
    "a blank disk first": ({"parts": (part(disks=(Disk(name="d", blank_mb=1),)),)}, InvalidError, "booted"),
    "a file nowhere": (
        {"parts": (part(context=Context(files=(File(path="/../x", content=b""),))),)}, InvalidError, "no step",
    ),
    "user data that is no text": ({"parts": (part(context=Context(user_data=b"\xff")),)}, InvalidError, "UTF-8"),
    "an empty token": ({"token": ""}, InvalidError, "token"),
    "an ensemble that is not there": ({"join": "0" * 32}, UnknownError, "no such ensemble"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_and_leaves_nothing(site: Site, name: str) -> None:
    changes, error, text = BAD[name]
    before = site.free()
    with pytest.raises(error, match=text):
        site.factory.create(LOCAL, replace(request(), **changes))
    assert site.free() == before
    assert site.rows() == []
    assert site.events == []


def test_more_than_is_free_is_not_now_with_figures(site: Site) -> None:
    site.create(part(memory_mb=900))
    before = site.free()
    with pytest.raises(ExhaustedError) as refused:
        site.create(part("a", 2, memory_mb=900))
    assert refused.value.figures["would_fit"] == 1
    assert refused.value.figures["memory_mb.asked"] == 1800
    assert site.free() == before


def test_no_address_left_takes_nothing(make_site: MakeSite) -> None:
    site = make_site(addresses=3)
    site.create(part("a", 2))
    before = site.free()
    with pytest.raises(ExhaustedError):
        site.create(part("b", networks=("public",)), part("c", 2))
    assert site.free() == before


def test_a_token_makes_one_lease(site: Site) -> None:
    first = site.create(part("a", 2), token="once")
    again = site.create(part("a", 2), token="once")
    assert again == first
    assert len(site.rows()) == 2
    with pytest.raises(InvalidError, match="used before"):
        site.create(part("a", 3), token="once")
    other = site.create(part("a", 2), token="once", caller=Identity("somebody"))
    assert other.lease_id != first.lease_id


def test_two_creates_with_one_token_in_parallel_make_one_lease(site: Site) -> None:
    answers: list[Created | Exception] = []

    def create() -> None:
        try:
            answers.append(site.factory.create(LOCAL, request(part("a", 3), token="both")))
        except Exception as error:  # noqa: BLE001
            answers.append(error)

    threads = [Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({repr(answer) for answer in answers}) == 1
    assert len(answers) == 4
    assert len(site.rows()) == 3


def test_an_open_ensemble_is_added_to_and_launched_as_one_by_done(site: Site) -> None:
    before = site.free()
    opened = site.create(part("ce"), open=True, name="cluster", duration=100)
    ensemble = whole(opened)
    assert opened.ends_at is None
    joined = site.create(part("worker", 2), join=ensemble.id)
    assert kinds(joined)[:2] == [("cluster", Kind.ENSEMBLE), ("worker", Kind.GROUP)]
    assert whole(joined) == ensemble
    site.settle(50)
    assert set(site.states().values()) == {"Unpropagated/Queued"}
    with pytest.raises(InvalidError, match="member of that name"):
        site.create(part("ce"), join=ensemble.id)
    with pytest.raises(UnknownError):
        site.create(part("x"), join=ensemble.id, caller=Identity("eve"))
    site.ensemble.done(LOCAL, ensemble.id)
    site.settle()
    assert set(site.states().values()) == {"Running"}
    assert {(row.ends_at - row.accepted_at).total_seconds() for row in site.rows() if row.name == "ce"} == {150}  # type: ignore[operator]
    for again in (lambda: site.create(part("x"), join=ensemble.id), lambda: site.ensemble.done(LOCAL, ensemble.id)):
        with pytest.raises(ConflictError, match="done"):
            again()
    site.ensemble.destroy(LOCAL, ensemble.id)
    site.settle()
    assert site.free() == before
    with pytest.raises(UnknownError):
        site.group.get(LOCAL, key_of(joined, "worker").id)


def test_a_disk_takes_what_its_images_and_blank_disks_take(site: Site) -> None:
    site.create(part(disks=(Disk(name="a", image="plain"), Disk(name="b", blank_mb=50))))
    assert site.row("vm").allocation == Allocation(memory_mb=100, cpus=1, disk_mb=150)


def test_offers_tell_what_is_free_now(site: Site) -> None:
    site.create(part(memory_mb=300))
    offers = site.factory.offers(LOCAL)
    assert (offers.free.memory_mb, offers.free.largest_memory_mb) == (1700, 1000)
    assert [(net.name, net.total, net.free) for net in offers.networks] == [("private", 20, 19), ("public", 20, 20)]
    assert [image.name for image in offers.images] == ["bare", "guest", "plain"]
    assert (offers.schedule, offers.default_duration) == ("immediate", 3600)


def test_only_who_may_read_everybodys_lists_it(site: Site) -> None:
    site.create(part("a"), name="mine")
    site.create(part("b"), name="his", caller=Identity("bob"))
    for caller in (LOCAL, Identity("bob"), Identity("eve", limited=True)):
        with pytest.raises(DeniedError, match="observers and administrators"):
            site.factory.list(caller, everybody=True)
    for caller in (Identity("eve", observer=True), OPERATOR):
        found = site.factory.list(caller, everybody=True, limit=1)
        rest = site.factory.list(caller, everybody=True, after=found.after)
        names = {(each.name, each.owner) for each in (*found.entries, *rest.entries)}
        assert names == {("a", "local"), ("b", "bob")}
        assert site.factory.list(caller).entries == ()


def test_a_list_has_mine_page_by_page(site: Site) -> None:
    mine = [site.create(part("a"), part("w", 2)), site.create()]
    site.create(caller=Identity("somebody"))
    site.settle()
    expected = sorted(key.id for created in mine for _, key in created.resources)
    seen: list[str] = []
    after = None
    while True:
        page = site.factory.list(LOCAL, after=after, limit=2)
        assert len(page.entries) <= 2
        seen += [entry.key.id for entry in page.entries]
        after = page.after
        if after is None:
            break
    assert seen == expected
    groups = site.factory.list(LOCAL, kind=Kind.GROUP).entries
    assert [(entry.name, entry.state) for entry in groups] == [("w", "Running")]
    site.workspace.destroy(LOCAL, whole(mine[1]).id)
    site.settle()
    assert whole(mine[1]).id not in {entry.key.id for entry in site.factory.list(LOCAL).entries}
    assert site.factory.list(LOCAL, state="Ended").entries == ()
    for limit in (0, 1001):
        with pytest.raises(InvalidError):
            site.factory.list(LOCAL, limit=limit)


CONSUMER = SubscribeRequest(consumer="http://127.0.0.1:4711/secret")


def test_a_consumer_can_be_subscribed_to_all_that_is_made_before_its_first_event(site: Site) -> None:
    created = site.factory.create(LOCAL, request(part("ce"), part("worker", 2), name="cluster"), CONSUMER)
    assert set(created.subscriptions) == {key for _, key in created.resources}
    rows = site.store.view(lambda tx: tx.subscriptions.of([key for _, key in created.resources]))
    assert {row.id for row in rows} == set(created.subscriptions.values())
    assert {row.consumer for row in rows} == {CONSUMER.consumer}


def test_a_repeated_request_is_told_of_the_subscriptions_that_it_has(site: Site) -> None:
    asked = request(part("vm"), token="again")
    first = site.factory.create(LOCAL, asked, CONSUMER)
    assert site.factory.create(LOCAL, asked, CONSUMER) == first
    assert len(site.store.view(lambda tx: tx.subscriptions.of([whole(first)]))) == 1


def test_a_repeated_request_is_not_told_of_what_others_subscribed_to(site: Site) -> None:
    asked = request(part("vm"), token="again")
    first = site.factory.create(LOCAL, asked, CONSUMER)
    book = subscriptions(site.store, site.now, lambda: "f" * 32)
    book.subscribe(OPERATOR, whole(first), CONSUMER)
    assert site.factory.create(LOCAL, asked, CONSUMER) == first


def test_a_consumer_that_is_refused_leaves_nothing_behind(site: Site) -> None:
    elsewhere = SubscribeRequest(consumer="http://169.254.169.254/latest")
    with pytest.raises(TypedFault, match="metadata service"):
        site.factory.create(LOCAL, request(part("vm")), elsewhere)
    assert site.store.view(lambda tx: tx.workspaces.select(Selection())) == []
    assert site.create(part("vm")).subscriptions == {}


@pytest.mark.parametrize("limit", ["per_owner", "per_consumer"])
def test_a_create_is_one_towards_the_most_subscriptions_however_much_it_makes(site: Site, limit: str) -> None:
    service = site.factory._subscriptions
    service._settings = replace(SubscriptionSettings(), **{limit: 2})  # type: ignore[arg-type]
    for name in ("one", "two"):
        site.factory.create(LOCAL, request(part(name, 5), name=name), CONSUMER)
        site.settle(1)
    with pytest.raises(TypedFault, match="the most allowed"):
        site.factory.create(LOCAL, request(part("three")), CONSUMER)
    assert not [row for row in site.rows() if row.name == "three"]
    with pytest.raises(TypedFault, match="the most allowed"):
        service.subscribe(LOCAL, site.row("one-1").key, CONSUMER)
