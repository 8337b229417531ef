"""Images that pass from node to node: the source sends them about once, and a bad node costs others time only."""

import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.doctor.checks import examine
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, InvalidError
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.images.disks import Images
from flyinglow.nodectl.images.meter import Cancelled
from flyinglow.nodectl.images.peers import MOST_OFFERS, Peers, read_upstream
from flyinglow.nodectl.messages import DiskSpec, Offered, Upstream, VmSpec
from flyinglow.nodectl.vmdir import StateDir
from flyinglow.workspace.spreading import chains
from rigs.image_server import ImageServer, image_server
from rigs.node_agent import AgentProcess
from rigs.waiting import eventually

MIB = 1 << 20
DATA = os.urandom(3 * MIB)
DIGEST = hashlib.sha256(DATA).hexdigest()
KEY = b"c4na7y".hex() + secrets.token_hex(26)

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ImageServer]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "base.raw").write_bytes(DATA)
    with image_server(folder) as server:
        yield server


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[ImageServer]:
    """Another node, as bad as it is told to be."""
    folder = tmp_path / "peer"
    folder.mkdir()
    (folder / DIGEST).write_bytes(DATA)
    with image_server(folder) as server:
        yield server


class Node:
    """A node with its cache, its disks and what it does with others."""

    def __init__(self, folder: Path, site: ImageServer, **settings: Any) -> None:
        plain = {"state": str(folder), "run": str(folder / "run"), "image_sources": [site.url("")]}
        data = {**plain, "peer_address": "127.0.0.1", "image_timeout": 20, **settings}
        self.config = config.build(data)
        self.site = site
        self.state = StateDir(self.config.state, self.config.run)
        self.state.prepare()
        self.peers = Peers(self.config, self.state)
        self.images = Images(self.config, peers=self.peers)
        self.cache = folder / "cache"

    def offer(self, *digests: str, seconds: float = 60, key: str = KEY) -> Offered:
        """Have it serve."""
        told = self.peers.offer({"key": key, "digests": list(digests or [DIGEST]), "seconds": seconds})
        return Offered(told["url"], tuple(told["held"]))

    def fetch(self, tag: str = "a1", *urls: str) -> None:
        """Make a VM there."""
        disk = DiskSpec("root", source=self.site.url("base.raw"), sha256=DIGEST)
        spec = VmSpec(tag, "ce", 96, 1, disks=(disk,))
        vm = self.state.vm(tag)
        vm.create(spec)
        hint = {"upstream": {"key": KEY, "urls": {DIGEST: list(urls)}}} if urls else {}
        with self.peers.expecting({"tag": tag, **hint}) as plain:
            assert plain == {"tag": tag}
            self.images.prepare(vm, spec)

    @property
    def has(self) -> int:
        """How many bytes have arrived."""
        for path in (self.cache / DIGEST, self.cache / f"{DIGEST}.part"):
            if path.exists():
                return path.stat().st_size
        return 0

    @property
    def is_right(self) -> bool:
        """Whether the image is there, and nothing else."""
        return [path.name for path in self.cache.iterdir()] == [DIGEST] and (self.cache / DIGEST).read_bytes() == DATA


@pytest.fixture
def nodes(tmp_path: Path, site: ImageServer) -> Iterator[list[Node]]:
    found = [Node(tmp_path / name, site) for name in ("n1", "n2", "n3")]
    yield found
    for node in found:
        node.peers.close()


class Fetching(threading.Thread):
    """A transfer in a thread."""

    def __init__(self, node: Node, *urls: str, tag: str = "a1") -> None:
        super().__init__()
        self._node = node
        self._what = (tag, *urls)
        self.error: FlyingLowError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._node.fetch(*self._what)
        except FlyingLowError as error:
            self.error = error

    def end(self) -> FlyingLowError | None:
        """Wait for it, and return what it failed of."""
        self.join(60)
        assert not self.is_alive()
        return self.error


def _chain(nodes: list[Node]) -> list[list[str]]:
    """Return what each node is told of, as the service plans it."""
    offered = {f"n{number}": node.offer() for number, node in enumerate(nodes)}
    planned = chains({DIGEST: sorted(offered)}, offered)
    return [list(planned.get(name, {}).get(DIGEST, ())) for name in offered]


def test_three_agents_of_a_launch_set_take_an_image_from_its_source_once(tmp_path: Path, site: ImageServer) -> None:
    site.gate.clear()
    with ExitStack() as stack:
        agents = [stack.enter_context(_agent(stack, tmp_path / f"n{number}", site)) for number in range(3)]
        told = {"key": KEY, "digests": [DIGEST], "seconds": 60}
        offered = {f"n{number}": Offered(**agent.order("offer", **told)) for number, agent in enumerate(agents)}
        planned = chains({DIGEST: sorted(offered)}, offered)
        disk = {"name": "root", "source": site.url("base.raw"), "sha256": DIGEST}
        body = {"name": "ce", "memory_mb": 96, "cpus": 1, "disks": [disk], "nics": []}
        numbers = []
        for number, agent in enumerate(agents):
            urls = {digest: list(found) for digest, found in planned.get(f"n{number}", {}).items()}
            ahead = {"upstream": {"key": KEY, "urls": urls}} if urls else {}
            numbers.append(agent.send("create", "a1", tag="a1", **body, **ahead))
        part = tmp_path / f"n2/state/cache/{DIGEST}.part"
        eventually(lambda: part.exists() and part.stat().st_size > 0)  # the rest has not even left its source
        said = agents[2].wait(lambda message: message.get("body", {}).get("progress"))["body"]["progress"]
        assert said.endswith("of 3.0 MiB") or " of 3.0 MiB, " in said
        site.gate.set()
        answers = [agent.answer(number, 60) for agent, number in zip(agents, numbers, strict=True)]
        assert [answer["ok"] for answer in answers] == [True] * 3, answers
        assert site.gets() == 1
        eventually(lambda: site.sent == len(DATA))
        again = agents[2].order("create", "a1", tag="a1", **body)  # hints are no part of what a VM is made from
        assert again["status"] == "created"
        for number in range(3):
            _has_no_key(tmp_path / f"n{number}/state")
        for agent in agents:
            assert KEY not in Path(f"/proc/{agent.process.pid}/cmdline").read_text()
            agent.order("destroy", "a1")
    for number in range(3):
        assert (tmp_path / f"n{number}/state/cache/{DIGEST}").read_bytes() == DATA


def _has_no_key(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def _agent(stack: ExitStack, folder: Path, site: ImageServer) -> AgentProcess:
    folder.mkdir()
    run = stack.enter_context(tempfile.TemporaryDirectory(prefix="fl"))
    plain = {"state": str(folder / "state"), "run": f"{run}/run", "image_sources": [site.url("")]}
    (folder / "nodectl.json").write_text(json.dumps({**plain, "peer_address": "127.0.0.0/8", "watch_seconds": 0.05}))
    return AgentProcess(folder / "nodectl.json")


def test_a_node_that_has_it_serves_at_once_and_the_source_is_not_asked(nodes: list[Node], site: ImageServer) -> None:
    nodes[1].fetch()
    chain = _chain(nodes)
    assert chain[1] == []
    assert len(chain[0]) == 1
    assert len(chain[2]) == 2
    for node, urls in ((nodes[2], chain[2]), (nodes[0], chain[0])):
        done = Fetching(node, *urls)
        nodes[0].fetch("a2", *chain[0])
        assert done.end() is None
    assert all(node.is_right for node in nodes)
    assert site.gets() == 1


def test_a_source_that_does_not_say_how_long_it_is_is_asked_once_too(nodes: list[Node], site: ImageServer) -> None:
    site.untold = True
    runs = [Fetching(node, *urls) for node, urls in zip(nodes, _chain(nodes), strict=True)]
    assert [run.end() for run in runs] == [None] * 3
    assert all(node.is_right for node in nodes)
    assert site.gets() == 1


@pytest.mark.parametrize(
    "fault", ["wrong", "short", "endless", "huge", "absent", "refused", "moved", "dead", "other part", "garbage"]
)
def test_whatever_a_node_does_wrong_the_image_is_right(
    nodes: list[Node], site: ImageServer, peer: ImageServer, fault: str
) -> None:
    url = peer.url(DIGEST)
    if fault == "wrong":
        (peer.folder / DIGEST).write_bytes(b"!" * len(DATA))
    elif fault == "short":
        peer.cut_after = MIB
    elif fault == "endless":
        peer.endless = True
        nodes[0] = Node(nodes[0].config.state, site, image_max_mb=8)
    elif fault == "huge":
        peer.length = 1 << 50
    elif fault == "absent":
        (peer.folder / DIGEST).unlink()
    elif fault == "refused":
        peer.login = "nobody"
    elif fault == "moved":
        peer.moved = site.url("base.raw")
    elif fault == "garbage":
        peer.fails = [299]
    elif fault == "dead":
        with socket.create_server(("127.0.0.1", 0)) as gone:
            url = f"http://127.0.0.1:{gone.getsockname()[1]}/{DIGEST}"
    else:
        nodes[0].cache.mkdir()
        (nodes[0].cache / f"{DIGEST}.part").write_bytes(DATA[: 2 * MIB])
        peer.ranges = False
        (peer.folder / DIGEST).write_bytes(DATA[:MIB])
    nodes[0].fetch("a1", url)
    assert nodes[0].is_right
    ranges = [asked for _, _, asked in site.asked]
    if fault == "endless":  # more than there is
        assert ranges.pop(0) is not None
    assert ranges == [f"bytes={MIB}-" if fault == "short" else None]


def test_when_several_nodes_have_what_is_wrong_the_source_is_asked(
    nodes: list[Node], site: ImageServer, peer: ImageServer
) -> None:
    for name in ("one", "two"):
        (peer.folder / name).mkdir()
        (peer.folder / name / DIGEST).write_bytes(name.encode() * 99)
    hints: dict[str, tuple[str, ...]] = {DIGEST: (peer.url(f"one/{DIGEST}"), peer.url(f"two/{DIGEST}"))}
    nodes[0].peers._hints.append(Upstream(KEY, hints))  # an order names nodes by http://ADDRESS:PORT/SHA256 only
    nodes[0].fetch("a1")
    assert nodes[0].is_right
    assert (len(peer.asked), len(site.asked)) == (1, 1)


def test_an_offer_that_is_known_is_repeated_when_there_is_no_room_for_another(nodes: list[Node]) -> None:
    for number in range(MOST_OFFERS):
        nodes[0].offer(key=f"{number:064x}")
    assert nodes[0].offer(key=f"{7:064x}").url
    with pytest.raises(ExhaustedError):
        nodes[0].offer(key="f" * 64)


def test_a_transfer_from_a_silent_node_stops_when_it_is_not_wanted(nodes: list[Node], peer: ImageServer) -> None:
    peer.gate.clear()
    run = Fetching(nodes[0], peer.url(DIGEST))
    eventually(lambda: nodes[0].has > 0)
    notes.cut_short(nodes[0].state.vm("a1").path)
    assert isinstance(run.end(), Cancelled)
    assert not peer.gate.is_set()  # it has not said a word more


def test_when_the_node_before_stops_the_next_goes_on_with_the_source_and_those_behind_wait(
    nodes: list[Node], site: ImageServer
) -> None:
    site.gate.clear()
    chain = _chain(nodes)
    runs = [Fetching(node, *urls) for node, urls in zip(nodes, chain, strict=True)]
    eventually(lambda: nodes[2].has > 0)
    notes.cut_short(nodes[0].state.vm("a1").path)
    assert isinstance(runs[0].end(), Cancelled)
    eventually(lambda: site.gets() == 2)
    site.gate.set()
    assert [run.end() for run in runs[1:]] == [None, None]
    assert site.gets() == 2  # the third never asked
    assert site.asked[1][2] == f"bytes={1 << 16}-"
    assert nodes[2].is_right


def test_only_what_was_offered_is_served_to_whoever_has_the_key(nodes: list[Node], site: ImageServer) -> None:
    nodes[0].fetch()
    (nodes[0].config.state / "secret").write_text("not for others")
    other = "0" * 64
    (nodes[0].cache / other).write_text("of another launch set")
    url = nodes[0].offer(DIGEST).url
    assert _status(f"{url}/{DIGEST}", KEY) == 200
    for path, key in (
        (DIGEST, ""),
        (DIGEST, KEY[:-1]),
        (DIGEST, KEY + "0"),
        (other, KEY),
        (f"../{DIGEST}", KEY),
        ("../secret", KEY),
        (f"{DIGEST}/", KEY),
        (f"{DIGEST}.part", KEY),
        ("", KEY),
    ):
        assert _status(f"{url}/{path}", key) == 401, path
    assert _status(f"{url}/{DIGEST}", KEY, method="PUT") == 501


def test_the_port_is_open_as_long_as_something_is_offered(nodes: list[Node]) -> None:
    nodes[0].fetch()
    url = nodes[0].offer(seconds=0.2).url
    eventually(lambda: _status(f"{url}/{DIGEST}", KEY) is None)
    again = nodes[0].offer().url
    assert _status(f"{again}/{DIGEST}", KEY) == 200
    nodes[0].peers.close()
    assert _status(f"{again}/{DIGEST}", KEY) is None


def _status(url: str, key: str, method: str = "GET") -> int | None:
    try:
        with urlopen(Request(url, headers={"Authorization": f"Bearer {key}"}, method=method), timeout=30) as reply:
            return int(reply.status)
    except HTTPError as error:
        return int(error.code)
    except OSError:
        return None


def test_agents_of_one_node_take_ports_one_after_the_other(tmp_path: Path, site: ImageServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        node = Node(tmp_path / "n", site, peer_port=min(port, 65000))
        assert node.offer().url != f"http://127.0.0.1:{port}"
        node.peers.close()


def test_a_node_without_such_an_address_says_so(tmp_path: Path, site: ImageServer) -> None:
    for address in ("203.0.113.0/24", "203.0.113.7"):
        node = Node(tmp_path / "n", site, peer_address=address)
        with pytest.raises(BrokenError, match="peer_address"):
            node.offer()
        assert "peer_address" in next(found.text for found in examine(node.config) if found.name == "peers")
    found = examine(Node(tmp_path / "n", site, peer_address="127.0.0.0/8").config)
    assert ("peers", True) in [(finding.name, finding.ok) for finding in found]


@pytest.mark.parametrize(
    "settings",
    [
        {"peer_address": "node1.example.org"},
        {"peer_address": 7},
        {"peer_address": "10.0.0.0/99"},
        {"peer_port": 65535},
        {"peer_port": -1},
        {"peer_port": True},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=f"configuration key {next(iter(settings))}"):
        config.build({"state": str(tmp_path), **settings})


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:1/{'0' * 64}",
        f"https://127.0.0.1:1/{DIGEST}",
        f"file:///{DIGEST}",
        f"http://metadata:1/{DIGEST}",
        f"http://me:pw@127.0.0.1:1/{DIGEST}",
        f"http://127.0.0.1:1/{DIGEST}?x",
        f"http://127.0.0.1:1/x/../{DIGEST}",
        7,
    ],
    ids=lambda url: str(url).replace(DIGEST, "digest"),  # every worker must give it the same name
)
def test_nodes_are_named_by_number_and_asked_for_nothing_else(nodes: list[Node], url: Any) -> None:
    told = {"key": KEY, "urls": {DIGEST: [url]}}
    with pytest.raises(InvalidError) as caught:
        read_upstream(told)
    assert KEY not in str(caught.value)
    with nodes[0].peers.expecting({"upstream": told, "tag": "a1"}) as plain:  # it may be another node's doing
        assert plain == {"tag": "a1"}
        assert nodes[0].peers._hints == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": KEY, "digests": [DIGEST]},
        {"key": KEY, "digests": "x", "seconds": 1},
        {"key": KEY, "digests": ["../x"], "seconds": 1},
        {"key": "short", "digests": [DIGEST], "seconds": 1},
        {"key": KEY, "digests": [DIGEST], "seconds": float("inf")},
        {"key": KEY, "digests": [DIGEST], "seconds": True},
        {"key": KEY, "digests": [DIGEST], "seconds": 1, "more": 1},
    ],
)
def test_what_is_no_offer_is_refused(nodes: list[Node], body: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        nodes[0].peers.offer(body)
    assert KEY not in str(caught.value)
