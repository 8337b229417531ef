"""Tickets for slots, signed by real OpenSSH with a key that is made when there is none."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend.lrm.intake.tickets import Tickets
from flyinglow.backend.lrm.model import Slot
from flyinglow.backend.testing import ReactorThread
from flyinglow.nodectl.errors import DeniedError, TransientError
from flyinglow.nodectl.slots.ticket import NAMESPACE, PRINCIPAL
from rigs.intake import NOON, noon

SLOT = Slot(job="j0000001", rank=0, memory_mb=672, cpus=2, node="n7", epoch=3)


def made(reactor_thread: ReactorThread, key: Path | None, **changes: Any) -> Tickets:
    named = str(key) if key else None
    settings = {"reactor": reactor_thread.reactor, "now": noon, "serial": iter("abcdefgh").__next__}
    return Tickets(named, ("margin", 64), **{**settings, **changes})


def test_the_key_is_made_once_and_nodes_can_judge_what_it_signs(reactor_thread: ReactorThread, tmp_path: Path) -> None:
    key = tmp_path / "slot_key"
    for _ in range(2):
        reactor_thread.run(made(reactor_thread, key).prepare)
    before = key.read_text()
    tickets = made(reactor_thread, key)
    told = reactor_thread.run(lambda: tickets.ticket(SLOT))
    assert key.read_text() == before
    assert key.stat().st_mode & 0o777 == 0o600
    fields = json.loads(told["text"])
    assert (fields["node"], fields["slot"], fields["epoch"]) == ("n7", "j0000001.0", 3)
    assert (fields["memory_mb"], fields["cpus"], fields["policy"], fields["margin_mb"]) == (672, 2, "margin", 64)
    assert fields["issued"] == NOON.timestamp()
    (tmp_path / "signature").write_text(told["signature"])
    words = ["ssh-keygen", "-Y", "verify", "-f", f"{key}.signers", "-I", PRINCIPAL, "-n", NAMESPACE]
    subprocess.run([*words, "-s", str(tmp_path / "signature")], input=told["text"], text=True, check=True)


def test_what_cannot_be_signed_is_tried_again_and_never_without_a_key(
    reactor_thread: ReactorThread, tmp_path: Path
) -> None:
    with pytest.raises(DeniedError, match="ticket_key"):
        reactor_thread.run(lambda: made(reactor_thread, None).ticket(SLOT))
    with pytest.raises(TransientError, match="ssh-keygen failed"):
        reactor_thread.run(lambda: made(reactor_thread, tmp_path / "no/such/place").ticket(SLOT))
    open_key = tmp_path / "open"
    reactor_thread.run(made(reactor_thread, open_key).prepare)
    open_key.chmod(0o644)
    with pytest.raises(TransientError, match="ssh-keygen failed"):
        reactor_thread.run(lambda: made(reactor_thread, open_key).ticket(SLOT))
