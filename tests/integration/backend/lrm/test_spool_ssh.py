"""Reports by SSH: a real OpenSSH server with a forced command, a real store, and HTTP beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

from flyinglow.backend.lrm.intake import spool
from flyinglow.backend.lrm.intake.spool_reader import SpoolReader
from flyinglow.backend.lrm.states import SlotState
from flyinglow.pilot.messages import Kind
from rigs.node_service import NodeService, Serve, serve
from rigs.sshd import NODE, SshNode
from rigs.waiting import eventually

__all__ = ["serve"]

pytestmark = pytest.mark.root


class Channel:
    """What a pilot has: its key, and an address."""

    def __init__(self, rig: SshNode, file: Path) -> None:
        self._rig = rig
        rig.allow(f"{sys.executable} -m flyinglow.backend.lrm.intake.spool append {file}")

    def append(self, data: bytes, *command: str) -> subprocess.CompletedProcess[bytes]:
        rig = self._rig
        options = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={rig.known_hosts}", "-o", "IdentitiesOnly=yes"]
        words = [str(rig.ssh), "-F", "none", *options, "-i", str(rig.identity), "-T", f"root@{NODE}", *command]
        return subprocess.run(words, input=data, capture_output=True, timeout=180, check=False)


def reading(service: NodeService, file: Path) -> SpoolReader:
    reactor = service.reactor_thread.reactor
    reader = SpoolReader(file, service.store, reactor, service.intake, every=0.05)
    service.reactor_thread.call(reader.start)
    return reader


def test_a_pilots_reports_by_ssh(serve: Serve, ssh_node: SshNode, tmp_path: Path) -> None:
    service = serve()
    file = tmp_path / "reports"
    channel, reader = Channel(ssh_node, file), reading(service, file)
    pilot = service.pilot()
    try:
        hello = pilot.report(Kind.HELLO)
        assert channel.append(hello + b"\n", "flyinglow-spool").returncode == 0
        slot = eventually(lambda: _in(service, pilot.slot, SlotState.BOUND))
        again = service.reactor_thread.run(lambda: service.intake.answer(hello, "pilot"))  # HTTP works again
        pilot.read(hello, again)
        assert pilot.key == slot.secret
        reports = [pilot.report(kind) for kind in (Kind.READY, Kind.SIGNALLED, Kind.RELEASED)]
        assert channel.append(b"\n".join(reports)).returncode == 0
        eventually(lambda: _in(service, pilot.slot, SlotState.RELEASED))
        kinds = [row.kind for row in service.trail(pilot.slot)]
        assert kinds == ["hello", "ready", "signalled", "released"]
    finally:
        service.reactor_thread.run(reader.stop)


def test_the_key_opens_nothing_else(ssh_node: SshNode, tmp_path: Path) -> None:
    file = tmp_path / "reports"
    channel = Channel(ssh_node, file)
    asked = channel.append(b"rm -rf /\n", "touch", str(tmp_path / "touched"))
    assert asked.returncode == spool.INVALID
    assert b"not a pilot's message" in asked.stderr
    assert not (tmp_path / "touched").exists()
    assert not file.exists()


def test_forged_lines_spoil_none_of_the_others_and_a_restart_reads_none_twice(
    serve: Serve, ssh_node: SshNode, tmp_path: Path
) -> None:
    service = serve()
    file = tmp_path / "reports"
    channel, reader = Channel(ssh_node, file), reading(service, file)
    pilot, thief = service.pilot(0), service.pilot(1)
    thief.key = "00" * 32
    assert channel.append(thief.report(Kind.HELLO) + b"\n{}\n" + pilot.report(Kind.HELLO)).returncode == 0
    eventually(lambda: _in(service, pilot.slot, SlotState.BOUND))
    service.reactor_thread.run(reader.stop)
    service.stop()
    service.start()
    reader = reading(service, file)
    try:
        assert service.slots()[thief.slot].state is SlotState.UNBOUND
        assert len(service.changes) == 1
    finally:
        service.reactor_thread.run(reader.stop)


def _in(service: NodeService, slot_id: str, state: SlotState) -> object:
    slot = service.slots()[slot_id]
    return slot if slot.state is state else None
