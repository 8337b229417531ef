"""The client library against a running service: from request to destroy."""

import itertools
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flyinglow.client import Consumer, Disk, LeaseFailed, Nic, Part, Properties, Site, connect
from flyinglow.nodectl.errors import (
    ConflictError,
    DeniedError,
    ExhaustedError,
    InvalidError,
    NeverError,
    TransientError,
    UnknownError,
)
from rigs.daemon import Daemon, one_store

DISK = (Disk(image="guest"),)


@pytest.fixture
def site(daemon: Daemon) -> Site:
    return connect(daemon.url)


def small(name: str = "vm", count: int = 1, memory_mb: int = 16) -> Part:
    return Part(name=name, count=count, memory_mb=memory_mb, disks=DISK, nics=(Nic(network="private"),))


def test_a_lease_takes_another_name_and_another_end(site: Site) -> None:
    lease = site.create([small("wn", 2)], name="night", duration=600)
    one = lease.resources["wn-1"]
    one.rename("first")
    assert (one.name, one.properties().name) == ("first", "first")
    with pytest.raises(ConflictError, match="unique"):
        one.rename("wn-2")
    with pytest.raises(InvalidError, match="lower-case"):
        one.rename("First!")
    lease.whole.rename("day")
    assert lease.whole.properties().name == "day"
    with pytest.raises(InvalidError, match="several"):
        lease.whole.set_end_action("Save", "https://store.example/same.qcow2")
    lease.whole.set_end_action("Save", "https://store.example/{name}.qcow2")
    found = one.properties()
    assert (found.end_action, found.save_to) == ("Save", "https://store.example/first.qcow2")
    lease.whole.set_end_action("Trash")
    found = one.properties()
    assert (found.end_action, found.save_to, found.saves_at) == ("Trash", None, None)
    entries = lease.whole.property("{http://docs.oasis-open.org/wsrf/sg-2}Entry")
    assert len(entries) == 2
    one.destroy()
    assert len(lease.whole.property("{http://docs.oasis-open.org/wsrf/sg-2}Entry")) == 1
    lease.whole.destroy()


def test_a_cluster_from_request_to_destroy(site: Site) -> None:
    ce = Part(
        name="ce",
        memory_mb=16,
        disks=DISK,
        nics=(Nic(network="public"), Nic(network="private", name="inner")),
        provides=("compute-element",),
        keys=("ssh-ed25519 AAAA someone",),
        user_data="grüße".encode(),
    )
    with Consumer() as consumer:
        lease = site.create([ce, small("wn", 2)], name="osg", duration=600)
        watch = consumer.watch(lease.whole)
        assert (lease.whole.kind, sorted(lease.resources)) == ("ensemble", ["ce", "osg", "wn", "wn-1", "wn-2"])
        found = lease.whole.wait("Running", timeout=120)
        assert [member.name for member in found.members] == ["ce", "wn-1", "wn-2"]
        assert [nic.network for nic in found.members[0].nics] == ["public", "private"]
        assert (found.census, found.total) == ({"Running": 3}, 3)
        ends_at = found.ends_at
        assert ends_at is not None
        assert (lease.whole.extend(60) - ends_at).total_seconds() == 60
        assert lease.whole.report().census == {"Running": 3}
        assert [result.error for result in lease.whole.pause()] == [None] * 3
        lease.whole.wait("Paused", timeout=120)
        assert len(list(site.list())) == 5
        lease.whole.destroy()
        news = list(watch)
    assert [each.sequence for each in news] == sorted({each.sequence for each in news})
    assert news[-1].topic == "termination"
    assert {each.state for each in news} >= {"Running", "Paused", "Ended"}
    assert list(site.list()) == []
    with pytest.raises(UnknownError):
        lease.whole.properties()


@one_store
def test_one_workspace(site: Site) -> None:
    lease = site.create([small()], name="vm", duration=600)
    changes: list[Properties] = []
    found = lease.whole.wait(timeout=120, on_change=changes.append)
    assert lease.whole.kind == found.kind == "workspace"
    assert found.allocation is not None
    assert (found.allocation.memory_mb, found.duration, found.initial_state) == (16, 600, "Running")
    assert next(iter(found.timing)) == "accepted"
    assert found.timing["started"] >= found.timing["accepted"]
    assert changes[-1] == found
    assert "no guest runs" in lease.whole.console().data.decode()
    by_url = site.resource(lease.whole.url)
    assert by_url.name == "vm"
    assert site.resource(lease.whole.epr.element()) == lease.whole
    assert [each.text for each in by_url.property("State")] == ["Running"]
    lease.whole.trash()
    with pytest.raises(LeaseFailed, match="Ended"):
        lease.whole.wait("Running", timeout=120)
    assert lease.whole.wait("Ended", timeout=120).state == "Ended"


def test_a_workspace_is_added_to_an_ensemble_that_is_done(site: Site) -> None:
    lease = site.create([small("ce"), small("se")], name="farm", duration=600)
    extra = site.create([small("extra")], name="extra", duration=600).whole
    lease.whole.add(extra)
    assert [each.name for each in lease.whole.report().members] == ["ce", "extra", "se"]
    with pytest.raises(ConflictError, match="a member of another whole already"):
        lease.whole.add(extra)
    lease.whole.destroy()
    with pytest.raises(UnknownError):
        extra.properties()


def test_a_list_of_many_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyinglow.client.site._PAGE", 2)
    site.create([small(count=5)], name="wn", initial_state="Propagated")
    names = [entry.name for entry in site.list()]
    assert len(names) == len(set(names)) == 6
    assert {entry.kind for entry in site.list(kind="group")} == {"group"}


@one_store
def test_an_open_ensemble(site: Site) -> None:
    lease = site.create([small("ce")], name="osg", open=True)
    site.create([small("se")], name="more", join=lease.whole)
    found = lease.whole.properties()
    assert found.open
    assert [member.name for member in found.members] == ["ce", "se"]
    lease.whole.done()
    assert not lease.whole.wait("Running", timeout=120).open
    with pytest.raises(ConflictError):
        lease.whole.done()


REFUSED: list[tuple[Part, dict[str, Any], type[Exception]]] = [
    (small(memory_mb=99_999), {}, NeverError),
    (small(name="Bad_Name"), {}, InvalidError),
    (Part(name="vm", memory_mb=16, disks=(Disk(image="nope"),)), {}, InvalidError),
    (Part(name="vm", memory_mb=16, disks=DISK, nics=(Nic(network="nope"),)), {}, InvalidError),
    (Part(name="vm", memory_mb="much", disks=DISK), {}, InvalidError),  # type: ignore[arg-type]
    (small(), {"duration": -5}, InvalidError),
    (small(), {"duration": 10**8}, DeniedError),
    (small(), {"initial_state": "Asleep"}, InvalidError),
]


@one_store
def test_refusals_are_typed(site: Site) -> None:
    """On one service: a refusal leaves nothing behind."""
    for part, options, expected in REFUSED:
        with pytest.raises(expected):
            site.create([part], name="vm", **options)
    assert list(site.list()) == []


@one_store
def test_not_now_comes_with_figures_and_an_incident(site: Site) -> None:
    site.create([small("a", memory_mb=2000), small("b", memory_mb=2000)], name="full")
    with pytest.raises(ExhaustedError) as caught:
        site.create([small(memory_mb=500)], name="more")
    assert caught.value.retryable
    assert caught.value.figures
    assert caught.value.incident


def test_one_token_one_lease(site: Site) -> None:
    first = site.create([small()], name="vm", token="t1")
    assert site.create([small()], name="vm", token="t1").whole == first.whole
    with pytest.raises((ConflictError, InvalidError)):
        site.create([small("other")], name="vm", token="t1")


@one_store
def test_a_broken_connection_is_tried_again_with_the_same_token(daemon: Daemon) -> None:
    """The first answer is lost on its way: the service has granted the lease, the client does not know."""
    bodies: list[bytes] = []

    with socket.create_server(("127.0.0.1", 0)) as server:

        def lose_the_first() -> None:
            for number in range(2):
                connection, _ = server.accept()
                with connection, socket.create_connection(("127.0.0.1", daemon.port)) as onward:
                    request = _request(connection)
                    bodies.append(request.partition(b"\r\n\r\n")[2])
                    onward.sendall(request)
                    answer = _answer(onward)
                    if number:
                        connection.sendall(answer)

        relay = threading.Thread(target=lose_the_first)
        relay.start()
        lease = connect(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=120).create([small()], name="vm")
        relay.join(120)
    assert len(bodies) == 2
    assert bodies[0].partition(b"<ns0:Token>")[2][:32] == bodies[1].partition(b"<ns0:Token>")[2][:32] != b""
    assert [entry.resource for entry in connect(daemon.url).list()] == [lease.whole]


def _request(connection: socket.socket) -> bytes:
    return _whole(connection.recv)


def _answer(connection: socket.socket) -> bytes:
    return _whole(connection.recv)


def _whole(receive: Callable[[int], bytes]) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < int(lengths[0]):
        piece = receive(65536)
        data, body = data + piece, body + piece
    return data


def test_a_service_that_is_not_there() -> None:
    with socket.socket() as held:  # nobody listens there, and nobody else can
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(TransientError, match=f"http://127.0.0.1:{port}/factory.*refused"):
            connect(f"http://127.0.0.1:{port}").offers()


def test_a_service_that_falls_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TransientError, match=f"{url}/factory.*timed out"):
            connect(url, timeout=0.3).offers()


def test_headers_that_go_out() -> None:
    """WS-Addressing: Action, To and MessageID, and the reference parameters of the endpoint reference."""
    from lxml import etree

    from flyinglow.client import Epr

    epr = Epr("", (b'<f:ResourceID xmlns:f="urn:flyinglow:types:1">abc</f:ResourceID>',))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/workspace"
        caught: list[bytes] = []

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                caught.append(_request(connection))

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TransientError):
            connect(url).resource(Epr(url, epr.parameters)).start()
        thread.join(120)
    header = etree.fromstring(caught[0].partition(b"\r\n\r\n")[2])[0]
    wsa = "{http://www.w3.org/2005/08/addressing}"
    assert header.findtext(f"{wsa}Action") == "urn:flyinglow:workspace:1/Workspace/StartRequest"
    assert header.findtext(f"{wsa}To") == url
    assert (header.findtext(f"{wsa}MessageID") or "").startswith("urn:uuid:")
    parameter = header.find("{urn:flyinglow:types:1}ResourceID")
    assert parameter is not None
    assert (parameter.text, parameter.get(f"{wsa}IsReferenceParameter")) == ("abc", "true")


@one_store
def test_a_watch_that_the_request_subscribes_misses_no_event(daemon: Daemon) -> None:
    part = Part(name="wn", count=2, memory_mb=64, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
    with Consumer() as consumer:
        watch = consumer.expect()
        lease = connect(daemon.url).create([part], name="wn", watch=watch)
        lease.whole.wait("Running", timeout=120)
        lease.whole.destroy()
        heard = list(watch)  # ends with the end of the whole
    for name in ("wn", "wn-1", "wn-2"):
        sequences = [each.sequence for each in heard if each.name == name]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) > 5
    assert {each.name for each in heard if each.topic == "termination"} == {"wn", "wn-1", "wn-2"}


@one_store
def test_a_watch_for_a_lease_that_is_not_granted_is_closed(daemon: Daemon) -> None:
    part = Part(name="big", memory_mb=10**6, disks=(Disk(image="guest"),))
    with Consumer() as consumer:
        watch = consumer.expect()
        with pytest.raises(NeverError):
            connect(daemon.url).create([part], name="big", watch=watch)
        assert list(watch) == []


@one_store
def test_the_standards_own_messages_are_told_as_events(daemon: Daemon) -> None:
    """Members that leave, values that change, and the end, by the standards' topics."""
    site = connect(daemon.url)
    with Consumer() as consumer, site.pull_point() as point:
        lease = site.create([small("wn", 2)], name="farm", duration=600)
        values = consumer.watch(lease.resources["wn-1"], topics=("state-value", "end-value", "rl:ResourceTermination"))
        point.watch(lease.whole, topics=("membership", "rl:ResourceTermination"))
        lease.whole.wait("Running", timeout=120)
        lease.resources["wn-1"].destroy()
        changes = list(values)  # ends with the workspace
        lease.whole.destroy()
        heard = list(point)
    assert {(each.kind, each.producer) for each in changes} == {("workspace", lease.resources["wn-1"].url)}
    states = [(each.previous, each.state) for each in changes if each.topic == "state-value"]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(states))
    assert states[-1][1] == "Ended"
    assert changes[-1].topic == "rl:ResourceTermination"
    left = heard[0]
    assert (left.topic, left.joined, left.member) == ("membership", False, "wn-1")
    assert (left.kind, left.member_url) == ("group", lease.resources["wn-1"].url)
    assert heard[-1].topic == "rl:ResourceTermination"
