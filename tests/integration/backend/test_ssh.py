"""The ssh channel of the default back-end against a real OpenSSH server."""

import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend import default
from flyinglow.backend.api import NodeState, Order, Settings
from flyinglow.backend.testing import ReactorThread
from flyinglow.nodectl.errors import BrokenError, TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, encode
from rigs import scripted_agent
from rigs.sshd import SshNode

pytestmark = pytest.mark.root

Send = Callable[..., Any]
SPEC = encode(VmSpec(tag="vm1", name="one", memory_mb=1, cpus=1))


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {scripted_agent.__file__} {tmp_path}/state "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def nodes(ssh_node: SshNode, agent: Path) -> dict[str, NodeState]:
    reach = ssh_node.reach(str(agent))
    return {"n1": NodeState(name="n1", memory_mb=100, cpus=1, disk_mb=1, reach=reach)}


@pytest.fixture
def news() -> list[tuple[str, VmInfo]]:
    return []


@pytest.fixture
def send(
    ssh_node: SshNode,
    reactor_thread: ReactorThread,
    nodes: dict[str, NodeState],
    news: list[tuple[str, VmInfo]],
) -> Iterator[Send]:
    settings = Settings(
        reactor=reactor_thread.reactor,
        nodes=nodes,
        options={"ssh": str(ssh_node.ssh)},
        news=lambda node, info: news.append((node, info)),
    )
    backend = reactor_thread.call(default.create, settings)

    def order(name: OrderName, tag: str = "", body: dict[str, Any] | None = None, timeout: float = 120.0) -> Any:
        channel = reactor_thread.call(backend.channel, "n1")
        return reactor_thread.run(lambda: channel.send(Order(name, tag, body or {}), timeout), timeout + 10)

    yield order
    reactor_thread.run(backend.close)


def again(send: Send) -> list[str]:
    """Ask what is there as the provisioner does: again, while the old connection is only about to be found dead."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return [vm["tag"] for vm in send(OrderName.LIST)["vms"]]
        except TransientError:
            if time.monotonic() > deadline:
                raise


def orders(agent: Path) -> list[str]:
    log = agent.with_name("state.log")
    return log.read_text().splitlines() if log.exists() else []


def test_orders_answers_errors_and_news_cross_one_connection(
    send: Send, agent: Path, news: list[tuple[str, VmInfo]]
) -> None:
    assert send(OrderName.CREATE, "vm1", SPEC)["status"] == "created"
    first = agent.with_name("state.pid").read_text()
    assert send(OrderName.START, "vm1", {"paused": False})["status"] == "running"
    with pytest.raises(UnknownError):
        send(OrderName.INFO, "vm2")
    assert [(node, info.tag) for node, info in news] == [("n1", "vm1")]
    assert agent.with_name("state.pid").read_text() == first  # one agent for all of it


@pytest.mark.parametrize(
    ("speaks", "words"), [("1-1", ""), ("2-6", ""), ("3-6", "versions 3 to 6.*upgrade this service")]
)
def test_agents_of_other_versions_behind_ssh(send: Send, agent: Path, speaks: str, words: str) -> None:
    agent.write_text(agent.read_text().replace('/state "$@"', f'/state --speaks {speaks} "$@"'))
    if words:
        with pytest.raises(BrokenError, match=words):
            send(OrderName.LIST)
    else:
        assert send(OrderName.CREATE, "vm1", SPEC)["status"] == "created"


def test_a_wrong_host_key_is_refused(send: Send, ssh_node: SshNode, agent: Path) -> None:
    ssh_node.trust(ssh_node.another_key())
    with pytest.raises(TransientError, match="Host key verification failed"):
        send(OrderName.LIST)
    assert orders(agent) == []


def test_an_unknown_host_key_is_refused(send: Send, ssh_node: SshNode, agent: Path) -> None:
    ssh_node.known_hosts.write_text("")
    with pytest.raises(TransientError, match="Host key verification failed"):
        send(OrderName.LIST)
    assert orders(agent) == []


def test_a_server_that_does_not_know_our_key(send: Send, ssh_node: SshNode) -> None:
    (ssh_node.folder / "authorized_keys").write_text("")
    with pytest.raises(TransientError, match="Permission denied"):
        send(OrderName.LIST)


def test_a_server_that_is_killed_and_comes_back(send: Send, ssh_node: SshNode) -> None:
    send(OrderName.CREATE, "vm1", SPEC)
    ssh_node.kill()
    with pytest.raises(TransientError, match="n1"):
        send(OrderName.LIST, timeout=30)
    ssh_node.start()
    assert again(send) == ["vm1"]


def test_a_node_that_is_cut_off_and_comes_back(send: Send, ssh_node: SshNode) -> None:
    send(OrderName.CREATE, "vm1", SPEC)
    ssh_node.cut()
    with pytest.raises(TransientError, match="within 1 s"):
        send(OrderName.LIST, timeout=1)
    ssh_node.mend()
    assert again(send) == ["vm1"]


def test_a_key_that_is_good_for_the_agent_only(
    send: Send, ssh_node: SshNode, nodes: dict[str, NodeState], agent: Path
) -> None:
    ssh_node.allow(forced=f"{agent} agent --stdio")
    nodes["n1"] = NodeState(name="n1", memory_mb=1, cpus=1, disk_mb=1, reach=ssh_node.reach("/bin/false"))
    assert send(OrderName.CREATE, "vm1", SPEC)["tag"] == "vm1"


def test_an_agent_that_is_not_there(send: Send, ssh_node: SshNode, nodes: dict[str, NodeState]) -> None:
    nodes["n1"] = NodeState(name="n1", memory_mb=1, cpus=1, disk_mb=1, reach=ssh_node.reach("/no/such/agent"))
    with pytest.raises(TransientError, match="/no/such/agent"):
        send(OrderName.LIST)


def test_closing_leaves_no_process(
    send: Send, ssh_node: SshNode, nodes: dict[str, NodeState], agent: Path, reactor_thread: ReactorThread
) -> None:
    send(OrderName.LIST)
    pid = int(agent.with_name("state.pid").read_text())
    ends = os.pidfd_open(pid)
    nodes.clear()
    with pytest.raises(UnknownError):  # the node is gone, so its channel is closed
        send(OrderName.LIST)
    assert select.select([ends], [], [], 120)[0]
    os.close(ends)
