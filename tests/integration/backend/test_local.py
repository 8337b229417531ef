"""The local channel of the default back-end, with agent processes that behave and that do not."""

import dataclasses
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend import default
from flyinglow.backend.abilities import Together
from flyinglow.backend.api import NodeState, Order, Settings
from flyinglow.backend.testing import ReactorThread
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError, TransientError
from flyinglow.nodectl.messages import OrderName, VmSpec, encode
from rigs import scripted_agent


class Site:
    """One local node with a scripted agent."""

    def __init__(self, folder: Path, loop: ReactorThread) -> None:
        self.folder = folder
        self.loop = loop
        self.nodes: dict[str, NodeState] = {}
        self.use("")
        settings = Settings(reactor=loop.reactor, nodes=self.nodes, options={}, news=lambda node, info: None)
        self.backend = loop.call(default.create, settings)

    def use(self, misbehave: str, speaks: str = "1-1") -> None:
        """Let the node have an agent that misbehaves in this way, and speaks these versions of the orders."""
        path = self.folder / f"agent-{misbehave}-{speaks}"
        misbehaving = (f"--misbehave {misbehave} " if misbehave else "") + f"--speaks {speaks}"
        path.write_text(
            f'#!/bin/sh\nexec {sys.executable} {scripted_agent.__file__} {self.folder}/state {misbehaving} "$@"\n'
        )
        path.chmod(0o755)
        self.reach({"channel": "local", "agent": str(path)})

    def reach(self, reach: dict[str, Any]) -> None:
        self.nodes["n1"] = NodeState(name="n1", memory_mb=1, cpus=1, disk_mb=1, reach=reach)

    def send(
        self,
        name: OrderName = OrderName.LIST,
        tag: str = "",
        body: dict[str, Any] | None = None,
        timeout: float = 120.0,
    ) -> Any:
        channel = self.loop.call(self.backend.channel, "n1")
        return self.loop.run(lambda: channel.send(Order(name, tag, body or {}), timeout), timeout + 10)

    def refused(self, timeout: float = 120.0) -> FlyingLowError:
        with pytest.raises(FlyingLowError) as caught:
            self.send(timeout=timeout)
        return caught.value

    def pid(self) -> int:
        return int((self.folder / "state.pid").read_text())

    def together(self, *orders: Order) -> list[Any]:
        """Give orders as one message; return the bodies of the answers, or the errors."""

        async def answer(order: Order) -> Any:
            try:
                return await self.backend.channel("n1").send(order, 120)
            except FlyingLowError as error:
                return error

        async def all_of_them() -> list[Any]:
            await self.backend.channel("n1").send(Order(OrderName.LIST), 120)  # the agent is there
            channel = self.backend.channel("n1")
            assert isinstance(channel, Together)
            with channel.together():
                asked = [Deferred.fromCoroutine(answer(order)) for order in orders]
            return [await one for one in asked]

        found: list[Any] = self.loop.run(all_of_them, 130)
        return found

    def log(self) -> list[str]:
        """Return the orders and batches that the agent was given."""
        return (self.folder / "state.log").read_text().splitlines()


@pytest.fixture
def site(tmp_path: Path, reactor_thread: ReactorThread) -> Iterator[Site]:
    site = Site(tmp_path, reactor_thread)
    yield site
    reactor_thread.run(site.backend.close)


@pytest.mark.parametrize(
    ("misbehave", "kind", "words"),
    [
        ("die", TransientError, "ended with code 3: no hypervisor here"),
        ("version", BrokenError, "version 9, this service versions 1 to 2: upgrade this service"),
        ("chatter", BrokenError, "Welcome to node x!"),
        ("long", BrokenError, "bytes"),
        ("die-when-asked", TransientError, "ended with code 9: out of memory"),
        ("garbage-when-asked", BrokenError, "cannot be read"),
    ],
)
def test_an_agent_that_misbehaves(site: Site, misbehave: str, kind: type, words: str) -> None:
    site.use(misbehave)
    error = site.refused()
    assert isinstance(error, kind)
    assert words in error.message
    assert "n1" in error.message
    site.use("")
    assert site.send() == {"vms": []}  # a new reach is a new start


def test_an_agent_that_does_not_answer(site: Site) -> None:
    site.use("deaf")
    error = site.refused(timeout=2.0)
    assert isinstance(error, TransientError)
    assert "did not answer to list within 2 s" in error.message


def test_an_agent_that_is_not_there(site: Site) -> None:
    site.reach({"agent": "/no/such/agent"})
    error = site.refused()
    assert isinstance(error, TransientError)
    assert "/no/such/agent" in error.message


def test_a_reach_that_makes_no_sense_is_invalid_for_orders_and_silent_in_a_reconcile_pass(site: Site) -> None:
    site.reach({"chanel": "local"})
    assert isinstance(site.refused(), InvalidError)
    seen = site.loop.run(lambda: site.backend.reconcile([]))
    assert "chanel" in seen.silent["n1"]


def test_an_agent_that_is_killed_is_started_again_and_knows_its_vms(site: Site) -> None:
    spec = encode(VmSpec(tag="vm1", name="one", memory_mb=1, cpus=1))
    site.send(OrderName.CREATE, "vm1", spec)
    os.kill(site.pid(), signal.SIGKILL)
    with suppress(TransientError):  # which met the dying one
        site.send()
    listed = site.send()
    assert [vm["tag"] for vm in listed["vms"]] == ["vm1"]


def test_a_changed_reach_ends_the_old_agent(site: Site) -> None:
    site.send()
    ends = os.pidfd_open(site.pid())
    site.nodes["n1"] = dataclasses.replace(site.nodes["n1"], memory_mb=2)
    site.send()
    assert not select.select([ends], [], [], 0)[0]  # what else is new about the node does not matter
    site.use("die")
    site.refused()
    assert select.select([ends], [], [], 120)[0]
    os.close(ends)


def test_close_waits_for_the_agents(site: Site) -> None:
    site.send()
    ends = os.pidfd_open(site.pid())
    site.loop.run(site.backend.close)
    assert select.select([ends], [], [], 0)[0]
    os.close(ends)


def test_the_agent_gets_nothing_of_the_service_s_environment(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    program = tmp_path / "env-agent"
    program.write_text("#!/bin/sh\nenv >&2\nexit 1\n")
    program.chmod(0o755)
    site.reach({"agent": str(program)})
    assert "PATH=" in site.refused().message
    assert "DATABASE_PASSWORD" not in site.refused().message


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("sudo"), reason="needs root, who may sudo without a word")
def test_an_agent_under_sudo(site: Site) -> None:
    site.reach({**site.nodes["n1"].reach, "sudo": True})
    assert site.send() == {"vms": []}
    parent = Path(f"/proc/{site.pid()}/status").read_text().split("PPid:")[1].split()[0]
    assert Path(f"/proc/{parent}/comm").read_text().strip() == "sudo"


SPECS = {tag: encode(VmSpec(tag=tag, name="one", memory_mb=1, cpus=1)) for tag in ("vm1", "vm2", "vm3")}


@pytest.mark.parametrize(
    ("speaks", "told"),
    [
        ("1-1", []),
        ("1-2", ["batch of 4 in version 2"]),
        ("2-2", ["batch of 4 in version 2"]),
        ("0-7", ["batch of 4 in version 2"]),
    ],
)
def test_the_orders_for_a_nodes_vms_are_one_message_to_an_agent_that_knows_such(
    site: Site, speaks: str, told: list[str]
) -> None:
    site.use("", speaks)
    creates = [Order(OrderName.CREATE, tag, spec) for tag, spec in SPECS.items()]
    *created, unknown = site.together(*creates, Order(OrderName.INFO, "vm9"))
    assert [answer["tag"] for answer in created] == list(SPECS)
    assert "vm9" in unknown.message  # each is answered for itself
    assert site.log() == ["list ", *told, *(f"create {tag}" for tag in SPECS), "info vm9"]


@pytest.mark.parametrize(
    ("speaks", "words"),
    [
        ("3-9", "speaks versions 3 to 9, this service versions 1 to 2: upgrade this service"),
        ("0-0", "speaks version 0, this service versions 1 to 2: upgrade the node's program"),
    ],
)
def test_an_agent_without_a_common_version_is_given_no_order(site: Site, speaks: str, words: str) -> None:
    site.use("", speaks)
    assert words in site.refused().message
    assert not (site.folder / "state.log").exists()
