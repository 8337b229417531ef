"""Requests that fit no site, no state or no policy: the answers that the SOAP reference promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flyinglow.client import Disk, Nic, Part, Resource, Site, connect
from flyinglow.nodectl.errors import (
    ConflictError,
    DeniedError,
    ExhaustedError,
    FlyingLowError,
    InvalidError,
    NeverError,
    UnknownError,
)
from rigs.daemon import Daemon
from rigs.raw_soap import ask

pytestmark = pytest.mark.xdist_group("bad-input")

OPTIONS = {"nodectl": {"simulated": {"delays": {"create": 1.0}}}}
Eventually = Callable[..., Any]
SHA = "ab" * 32


def part(name: str = "wn", **changes: Any) -> Part:
    plain: dict[str, Any] = {"memory_mb": 64, "disks": (Disk(image="guest"),), "nics": (Nic(network="private"),)}
    return Part(name=name, **{**plain, **changes})


def free(daemon: Daemon) -> list[dict[str, int]]:
    return [node["free"] for node in daemon.admin("node.list")]


ALL_FREE = [{"memory_mb": 2048, "cpus": 8, "disk_mb": 20480}] * 2


@pytest.fixture(autouse=True)
def nothing_stays(shared: Daemon, eventually: Eventually) -> Any:
    """Have every test give back what it leased, and see that nothing is held any more."""
    yield
    site = connect(shared.url)
    for entry in list(site.list()):
        try:
            entry.resource.destroy()
        except UnknownError:
            continue  # it went with its ensemble
    eventually(lambda: shared.admin("workspace.list") == [])
    assert free(shared) == ALL_FREE


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([part(memory_mb=2049)], NeverError),
        ([part(cpus=9)], NeverError),
        ([part(disk_mb=20481)], NeverError),
        ([part(count=3, memory_mb=2048)], NeverError),
        ([part(count=41)], NeverError),  # the network has 40 addresses
        ([part(count=513)], NeverError),
        ([part(count=65536)], NeverError),
        ([part(count=10**9)], InvalidError),  # the schema's own limit
        ([part(memory_mb=0)], InvalidError),
        ([part(memory_mb=-5)], InvalidError),
        ([part(memory_mb=10**30)], InvalidError),
        ([part(count=0)], InvalidError),
        ([part(count=-1)], InvalidError),
        ([part(count=10**30)], InvalidError),
        ([part(cpus=0)], InvalidError),
        ([part(disk_mb=-1)], InvalidError),
        ([part(nics=(Nic(network="nowhere"),))], InvalidError),
        ([part(nics=(Nic(network=""),))], InvalidError),
        ([part(nics=(Nic(network="private", name="a"), Nic(network="public", name="a")))], InvalidError),
        ([part(nics=(Nic(network="private"),) * 9)], InvalidError),
        ([part(disks=())], InvalidError),
        ([part(disks=(Disk(image="windows"),))], InvalidError),
        ([part(disks=(Disk(image="file:///etc/shadow", sha256=SHA, format="raw"),))], DeniedError),
        ([part(disks=(Disk(image="http://169.254.169.254/latest", sha256=SHA, format="raw"),))], DeniedError),
        ([part(disks=(Disk(image="store:../x", sha256=SHA, format="raw"),))], InvalidError),
        ([part(disks=(Disk(image="store:x", format="raw"),))], InvalidError),
        ([part(disks=(Disk(image="store:x", sha256="ab", format="raw"),))], InvalidError),
        ([part(disks=(Disk(image="store:x", sha256=SHA, format="vmdk"),))], InvalidError),
        ([part(disks=(Disk(image="store:x", sha256=SHA, format="raw", kernel_from="mine"),))], InvalidError),
        ([part(disks=(Disk(image="../../etc/shadow"),))], InvalidError),
        ([part(disks=(Disk(image="/dev/sda"),))], InvalidError),
        ([part(disks=(Disk(partition="../../x"),))], InvalidError),
        ([part("a"), part("a")], InvalidError),
        ([part("a-1"), part("a", count=2)], InvalidError),
        ([part("A")], InvalidError),
        ([part("")], InvalidError),
        ([part("a" * 41)], InvalidError),
        ([part("a b;$(reboot)")], InvalidError),
        ([], InvalidError),
    ],
)
def test_a_request_that_nobody_could_grant(
    shared: Daemon, site: Site, parts: list[Part], error: type[FlyingLowError]
) -> None:
    with pytest.raises(error) as caught:
        site.create(parts, name="x")
    assert "Traceback" not in caught.value.message
    assert list(site.list()) == []


CANARY = "c4n4ry"


@pytest.mark.parametrize(
    "uri", [f"https://me:{CANARY}@a.example/x", f"https://a.example/x?key={CANARY}", f"scp://me:{CANARY}@a.example/x"]
)
def test_credentials_in_a_uri_are_refused_and_are_nowhere_afterwards(shared: Daemon, site: Site, uri: str) -> None:
    lease = site.create([part("a", count=2)], name="x")
    image = Disk(image=uri, sha256=SHA, format="raw")
    attempts: list[Callable[[], object]] = [
        lambda: site.create([part(disks=(image,))], name="y"),
        lambda: site.create([part()], name="z", end_action="Save", save_to=uri),
        lambda: lease.resources["a-1"].shutdown("Save", uri),
        lambda: lease.whole.shutdown("Save", f"{uri}/{{name}}"),
    ]
    for attempt in attempts:
        with pytest.raises((InvalidError, DeniedError)) as caught:
            attempt()
        assert CANARY not in caught.value.message
    kept = [path.read_bytes() for path in (shared.log, *shared.state.glob("*.sqlite*"))]
    assert len(kept) >= 2
    assert not any(CANARY.encode() in data for data in kept)


def test_a_group_is_saved_with_a_result_for_each_and_names_of_their_own(site: Site, eventually: Eventually) -> None:
    lease = site.create([part("a", count=2)], name="x", duration=600)
    lease.whole.wait("Running", timeout=30)
    with pytest.raises(InvalidError, match="under one name"):
        lease.whole.shutdown("Save", "store:x")
    with pytest.raises(InvalidError, match="stands for nothing"):
        lease.whole.shutdown("Save", "store:{owner}")
    results = lease.whole.shutdown("Save", "store:mine/{name}")
    assert [(result.name, result.error) for result in results] == [("a-1", None), ("a-2", None)]
    # simulated disks cannot be sent, which each of them says
    reasons = {"its disks are pretended"}
    eventually(lambda: {m.reason.rpartition(": ")[2] for m in lease.whole.properties().members} == reasons)


def test_never_tells_the_limit_that_stands_in_the_way(site: Site) -> None:
    with pytest.raises(NeverError) as caught:
        site.create([part(memory_mb=4096)], name="x")
    assert caught.value.figures == {"memory_mb.asked": 4096, "memory_mb.largest_node": 2048}
    assert not caught.value.retryable


def test_more_than_is_free_is_not_now_with_figures(site: Site) -> None:
    site.create([part(memory_mb=1500)], name="first")
    with pytest.raises(ExhaustedError) as caught:
        site.create([part(count=2, memory_mb=1500)], name="more")
    figures = caught.value.figures
    assert (figures["members.asked"], figures["would_fit"]) == (2, 1)
    assert (figures["memory_mb.asked"], figures["memory_mb.free"]) == (3000, 2 * 2048 - 1500)
    assert caught.value.retryable
    assert [entry.name for entry in site.list()] == ["wn"]


def test_no_address_left_is_not_now_with_figures(site: Site) -> None:
    site.create([part(count=10, memory_mb=16), part("b", count=6, memory_mb=16)], name="first")
    with pytest.raises(ExhaustedError) as caught:
        site.create(
            [part(count=1, nics=(Nic(network="public"),) * 8), part("b", nics=(Nic(network="private"),) * 8)]
            + [part(f"c{n}", nics=(Nic(network="private"),) * 4) for n in range(6)],
            name="more",
        )
    assert caught.value.figures["addresses.private.free"] == 24
    assert caught.value.figures["addresses.private.asked"] == 32


def create(daemon: Daemon, lease: str, count: str = "1") -> str:
    """Send a Create as text."""
    body = (
        '<Create xmlns="urn:flyinglow:factory:1"><Name>x</Name><Part><Name>x</Name>'
        f"<Count>{count}</Count><MemoryMB>64</MemoryMB><CPUs>1</CPUs><Disk><Image>guest</Image></Disk></Part>"
        f"<Lease>{lease}</Lease></Create>"
    )
    return ask(daemon, "/factory", body)


@pytest.mark.parametrize(
    ("lease", "said"),
    [
        ("<Duration>PT0S</Duration>", "InvalidFault"),
        ("<Duration>-PT1H</Duration>", ""),
        ("<Duration></Duration>", ""),
        ("<Duration>P1Y</Duration>", ""),
        ("<Duration>P1M</Duration>", ""),
        ("<Duration>PT1E9S</Duration>", ""),
        ("<Duration>PT0.5S</Duration>", "InvalidFault"),
        ("<Duration>P8D</Duration>", "DeniedFault"),
        ("<Duration>P999999D</Duration>", "InvalidFault"),
        ("<Duration>PT99999999999S</Duration>", "InvalidFault"),
        (f"<Duration>PT{'9' * 400}S</Duration>", ""),
        ("<StartWithin>P999999D</StartWithin>", "InvalidFault"),
        ("<StartBy>2001-01-01T00:00:00Z</StartBy>", "InvalidFault"),
        ("<StartBy>99999-01-01T00:00:00Z</StartBy>", "InvalidFault"),
        ("<StartBy>2026-02-30T00:00:00Z</StartBy>", ""),
        ("<InitialState>Ended</InitialState>", ""),
        ("<EndAction>Save</EndAction>", "InvalidFault"),
    ],
)
def test_terms_that_make_no_sense(shared: Daemon, site: Site, lease: str, said: str) -> None:
    assert create(shared, lease) == said
    assert list(site.list()) == []


@pytest.mark.parametrize("count", ["", "x", "1.5", "0x10", "\u0661", "1" + "0" * 5000])
def test_a_count_that_is_no_number(shared: Daemon, count: str) -> None:
    assert create(shared, "", count) == ""


@pytest.mark.parametrize("kind", ["workspace", "group", "ensemble", "subscription"])
@pytest.mark.parametrize("identifier", ["0" * 32, "f" * 32, "x", "..", "%2e%2e", "' OR 1=1 --", "é", "0" * 9999])
def test_an_unknown_resource(shared: Daemon, kind: str, identifier: str) -> None:
    operation = '<Destroy xmlns="http://docs.oasis-open.org/wsrf/rl-2"/>'
    if kind == "subscription":
        operation = '<Unsubscribe xmlns="http://docs.oasis-open.org/wsn/b-2"/>'
    header = f'<ResourceID xmlns="urn:flyinglow:types:1">{identifier}</ResourceID>'
    assert ask(shared, f"/{kind}", operation, header) == "ResourceUnknownFault"


def test_a_reference_to_another_site_or_of_another_kind(shared: Daemon, site: Site) -> None:
    mine = site.create([part()], name="mine").whole
    with pytest.raises(UnknownError):
        site.resource(mine.url.replace("/workspace/", "/group/")).properties()
    ensemble = site.resource(f"http://elsewhere.invalid/ensemble/{mine.id}")
    with pytest.raises(UnknownError):
        site.create([part()], name="x", join=ensemble)
    with pytest.raises(UnknownError):
        site.create([part()], name="x", join=site.resource(f"{shared.url}/ensemble/{'0' * 32}"))
    with pytest.raises(InvalidError, match="a workspace, not an ensemble"):
        site.create([part()], name="x", join=mine)


def test_two_creates_with_one_token_in_parallel_are_one_lease(shared: Daemon, site: Site) -> None:
    answers: list[list[Resource]] = []
    clients = [connect(shared.url) for _ in range(6)]
    gate = threading.Barrier(len(clients))

    def ask(client: Site) -> None:
        gate.wait(120)
        lease = client.create([part(count=2)], name="wn", token="just-one")
        answers.append([lease.whole, *lease.resources.values()])

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(answers) == 6
    assert all(answer == answers[0] for answer in answers)
    assert len(shared.admin("workspace.list")) == 2
    with pytest.raises(InvalidError):
        site.create([part(count=3)], name="wn", token="just-one")


def test_what_a_workspace_refuses_and_what_it_takes_for_done(site: Site) -> None:
    lease = site.create([part()], name="osg", open=True)
    one = lease.resources["wn"]
    for refused in (one.start, one.pause, one.reboot, one.shutdown, one.console):
        with pytest.raises(ConflictError):  # nothing is there yet
            refused()
    lease.whole.done()
    one.wait("Running", timeout=120)
    one.start()
    assert (one.properties().state, one.properties().task) == ("Running", None)
    one.pause()
    one.wait("Paused", timeout=120)
    one.pause()
    with pytest.raises(ConflictError):
        one.reboot()
    assert (one.properties().state, one.properties().task) == ("Paused", None)
    one.shutdown()
    one.wait("Propagated", timeout=120)
    one.shutdown()
    for refused in (one.pause, one.reboot):
        with pytest.raises(ConflictError):
            refused()
    with pytest.raises(InvalidError):
        one.shutdown("Save")
    with pytest.raises(InvalidError):
        one.shutdown("Explode")
    with pytest.raises(InvalidError):
        one.property("Colour")


def test_destroy_while_it_is_created_and_destroy_twice(shared: Daemon, site: Site, eventually: Eventually) -> None:
    whole = site.create([part(count=2)], name="wn").whole
    eventually(lambda: {row["task"] for row in shared.admin("workspace.list")} == {"Propagating"})
    whole.destroy()
    for again in (whole.destroy, whole.properties, whole.start):
        with pytest.raises(UnknownError):
            again()
    eventually(lambda: shared.admin("workspace.list") == [])
    assert [shared.nodectl(node, "list")["vms"] for node in ("n1", "n2")] == [[], []]


def test_the_end_of_a_lease_is_not_moved_everywhere(site: Site) -> None:
    whole = site.create([part()], name="wn", duration=600).whole
    ends = whole.properties().ends_at
    for seconds in (-700, 8 * 86400):
        with pytest.raises((InvalidError, DeniedError)):
            whole.extend(seconds)
    assert whole.properties().ends_at == ends
