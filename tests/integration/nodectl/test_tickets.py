"""Slots on signed tickets only: a real agent behind real sudo, signatures of real OpenSSH, and a user who cheats."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.errors import BrokenError, DeniedError
from flyinglow.nodectl.slots.gate import SKEW, Gate
from flyinglow.nodectl.slots.ticket import SECONDS
from flyinglow.nodectl.slots.wanted import SlotSpec
from flyinglow.nodectl.vmdir import StateDir
from rigs.node import plain_spec
from rigs.node_agent import AgentProcess
from rigs.sudo_site import SudoSite, need_sudo
from rigs.tickets import Signer

SUDO = ["sudo", "-n", "/usr/sbin/flyinglow-nodectl", "agent", "--stdio"]
SLOT: dict[str, Any] = {"slot": "k3.0", "memory_mb": 300, "cpus": 1}
SPEC = SlotSpec("k3.0", 300, 1)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="fl") as name:
        Path(name).chmod(0o755)
        yield Path(name)


class Wall:
    """A node's wall clock."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Door:
    """A gate of node n1 as a new process of the node has it each time."""

    def __init__(self, folder: Path) -> None:
        self.signer, self.wall = Signer(folder), Wall()
        self.state = StateDir(folder / "state", folder / "run")
        self.state.prepare()

    def gate(self, node: str = "n1") -> Gate:
        return Gate(self.signer.signers, node, self.state, self.wall)

    def refusal(self, ticket: object, node: str = "n1", spec: SlotSpec = SPEC) -> str:
        with pytest.raises(DeniedError) as caught:
            self.gate(node).admit(spec, ticket)
        return caught.value.message


@pytest.fixture
def door(folder: Path) -> Door:
    return Door(folder)


def test_a_ticket_is_good_for_its_slot_once(door: Door) -> None:
    ticket = door.signer.ticket()
    assert door.gate().admit(SPEC, ticket).slot == "k3.0"
    assert "was used already" in door.refusal(ticket)
    known = door.gate().admit(SPEC, door.signer.ticket())  # a new one, as for an agent that was started anew
    door.gate().close(known)
    assert "given back for good" in door.refusal(door.signer.ticket())
    door.gate().admit(SPEC, door.signer.ticket(epoch=2))  # the batch system has started the job anew


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"node": "n2"}, "it is for node n2, and this is n1"),
        ({"slot": "k3.1"}, "it is for slot k3.1"),
        ({"memory_mb": 299}, "memory_mb 300 is more than the 299"),
        ({"cpus": 0}, "cpus 1 is more than the 0"),
        ({"policy": "all"}, "policy exact was not signed"),
        ({"issued": time.time() - SECONDS - SKEW - 60}, "compare the clocks"),
        ({"issued": time.time() + SKEW + 86_400}, "in the future"),
        ({"form": 2}, "of form 2"),
        ({"memory_mb": "300"}, "memory_mb is '300'"),
    ],
)
def test_a_ticket_for_anything_else_is_refused(door: Door, changes: dict[str, Any], words: str) -> None:
    assert words in door.refusal(door.signer.ticket(**changes))


def test_what_the_service_did_not_sign_is_refused(door: Door, folder: Path) -> None:
    real, other = door.signer.ticket(), Signer(folder, "other")
    assert "not signed by the service" in door.refusal(other.ticket())
    assert "not signed" in door.refusal({**real, "text": real["text"].replace("300", "900")})
    assert "not signed" in door.refusal({"text": real["text"], "signature": "x"})
    assert "not signed" in door.refusal(door.signer.signed(real["text"], "file"))  # its signature of something else
    assert "no ticket" in door.refusal(door.signer.signed("[]"))
    strange: list[object] = ["", [], {}, {"text": real["text"]}, {"text": 1, "signature": 2}]
    for other_form in (*strange, {**real, "signature": "x" * 9999}):
        assert "two texts" in door.refusal(other_form)
    assert "needs a ticket" in door.refusal(None)
    door.gate().admit(SPEC, real)  # none of this has used it up


@pytest.mark.parametrize("ahead", [-300, 300])
def test_a_clock_that_is_five_minutes_wrong_does_no_harm(door: Door, ahead: float) -> None:
    door.wall.ahead = ahead
    used = door.signer.ticket()
    door.gate().admit(SPEC, used)
    assert "was used already" in door.refusal(used)
    door.wall.ahead += SECONDS + 2 * SKEW + 60 + abs(ahead)
    assert "compare the clocks" in door.refusal(used)
    assert json.loads((door.state.path / "tickets.json").read_text())["used"]  # read again, it would be forgotten
    door.gate().admit(SPEC, door.signer.ticket(issued=door.wall()))
    assert len(json.loads((door.state.path / "tickets.json").read_text())["used"]) == 1


def test_a_node_that_cannot_judge_says_what_is_wrong(door: Door, folder: Path) -> None:
    ticket = door.signer.ticket()
    gone = Gate(door.signer.signers, "n1", door.state, door.wall, "/no/ssh-keygen")
    with pytest.raises(BrokenError, match="openssh-client"):
        gone.admit(SPEC, ticket)
    door.signer.signers.chmod(0o666)
    with pytest.raises(BrokenError, match="must be root's alone"):
        door.gate().admit(SPEC, ticket)
    door.signer.signers.unlink()
    with pytest.raises(BrokenError, match="cannot be read"):
        door.gate().admit(SPEC, ticket)


@pytest.fixture
def agent(folder: Path) -> tuple[SudoSite, Signer]:
    """Give a node whose sudoers lets the user of jobs start the agent, and whose agent wants tickets."""
    need_sudo()
    (folder / "keys").mkdir(mode=0o700)
    signer = Signer(folder / "keys")
    config = {"state": str(folder / "state"), "run": str(folder / "run"), "driver": "simulated", "node": "n1"}
    more = {"memory": "simulated", "memory_mb": 1000, "cpus": 4, "ticket_signers": "/etc/flyinglow/slots.signers"}
    site = SudoSite(folder, json.dumps({**config, **more}))
    (folder / "etc/flyinglow/slots.signers").write_text(signer.signers.read_text())
    return site, signer


def refused(agent: AgentProcess, order: str, tag: str | None = None, /, **body: Any) -> str:
    answer = agent.answer(agent.send(order, tag, **body))
    assert not answer["ok"], answer
    return str(answer["error"]["message"])


@pytest.mark.root
def test_nothing_of_what_the_user_chose_decides_which_programs_root_runs(
    agent: tuple[SudoSite, Signer], folder: Path
) -> None:
    """The rules of this site leave ``PATH`` to the user, as those of many sites do."""
    site, _ = agent
    evil = folder / "evil"
    evil.mkdir(mode=0o755)
    for name in ("ssh-keygen", "true", "python3"):
        (evil / name).write_text(f"#!/bin/sh\necho {name} >> {folder}/captured\nexit 0\n")
        (evil / name).chmod(0o755)
    chosen = ["env", f"PATH={evil}:/usr/bin:/bin", f"TMPDIR={evil}", f"HOME={evil}", "LC_ALL=x"]
    with AgentProcess(Path(), argv=site.argv(*chosen, *SUDO)) as thief:
        mine = Signer(folder, "mine").ticket()
        assert "not signed" in refused(thief, "reserve", **SLOT, ticket=mine)
    assert not (folder / "captured").exists()


@pytest.mark.root
def test_directories_that_somebody_else_made_are_not_used(agent: tuple[SudoSite, Signer], folder: Path) -> None:
    site, _ = agent
    (folder / "state").mkdir()
    os.chown(folder / "state", 64123, 64123)
    done = site.run(*SUDO)
    assert done.returncode == 5
    assert "could exchange" in done.stderr
    assert list((folder / "state").iterdir()) == []


@pytest.mark.root
def test_the_user_of_jobs_gets_nothing_through_sudo_without_the_services_word(
    agent: tuple[SudoSite, Signer], folder: Path
) -> None:
    site, signer = agent
    real = signer.ticket()
    with AgentProcess(Path(), argv=site.argv(*SUDO)) as holder:
        assert holder.wait(lambda message: message.get("news") == "hello")["body"]["tickets"] is True
        assert holder.order("reserve", **SLOT, ticket=real)["actual_mb"] == 700
        assert holder.order("reserve", **SLOT, ticket=real)["actual_mb"] == 700  # the order repeated, not the ticket
        holder.order("create", "a1", **plain_spec("a1"))
        with AgentProcess(Path(), argv=site.argv(*SUDO)) as thief:  # the same unix user, beside it
            assert "needs a ticket" in refused(thief, "reserve", **{**SLOT, "slot": "k4.0"})
            assert "used already" in refused(thief, "reserve", **SLOT, ticket=real)
            mine = Signer(folder, "mine").ticket()
            assert "not signed" in refused(thief, "reserve", **SLOT, ticket=mine)
            more = {**real, "text": real["text"].replace('"memory_mb":300', '"memory_mb":700')}
            assert "not signed" in refused(thief, "reserve", **{**SLOT, "memory_mb": 700}, ticket=more)
            away = signer.ticket(node="n2")
            assert "for node n2" in refused(thief, "reserve", **SLOT, ticket=away)
            assert "no slot is held" in refused(thief, "create", "b1", **plain_spec("b1"))
            assert "held by process" in refused(thief, "release", slot="k3.0")
            assert thief.order("list") == {"vms": []}
            assert "a1" in refused(thief, "info", "a1")
            thief.order("destroy", "a1")
        assert holder.order("info", "a1")["status"] == "created"
        assert holder.order("release", slot="k3.0")["destroyed"] == ["a1"]
        assert "for good" in refused(holder, "reserve", **SLOT, ticket=signer.ticket())
    assert not (folder / "state/slots.json").exists()
