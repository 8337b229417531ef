"""The life of a PV guest on real Xen, all of it by the node's program: what Xen and the guest's console say of it."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from rigs.guest import Guest
from rigs.waiting import eventually
from rigs.xen.control import WAIT, Control, spec
from rigs.xen.site import Stopwatch, catalogue, site_on
from rigs.xen.world import XenWorld

pytestmark = [pytest.mark.xen, pytest.mark.timeout(1800), pytest.mark.xdist_group("xen")]

TAG, NAME = "k1", "fl-k1"
STATE = f"/var/lib/flyinglow-node/vms/{TAG}"
TICKER = b"""#!/bin/sh
{ n=0; while :; do n=$((n + 1)); echo "TICK $n" > /dev/console; sleep 1; done; } > /dev/null 2>&1 &
"""


def ticking(guest: Guest) -> dict[str, Any]:
    """Return a VM whose guest counts seconds on its console from its start on."""
    file = {"path": "/etc/flyinglow/roles/ticker", "content": base64.b64encode(TICKER).decode(), "mode": 0o755}
    return spec(TAG, catalogue(guest), 1, context="role ticker\n", files=[file])


def ticks(text: str) -> int:
    """Return how far a guest has counted since it booted last."""
    found = re.findall(r"TICK (\d+)", text.rpartition("GUEST-UP")[2])
    return int(found[-1]) if found else 0


class Life:
    """The one VM, and what is asked of it again and again."""

    def __init__(self, control: Control) -> None:
        self.control, self.watch = control, Stopwatch()

    def do(self, *words: str, **more: Any) -> dict[str, Any]:
        answer = self.control.do(*words, **more)
        self.watch.lap(f"{words[0]} (the program's own start included)")
        return answer

    def count(self) -> int:
        return ticks(self.control.said(TAG))

    def goes_on(self, beyond: int) -> int:
        """Wait until the guest has counted on; return how far."""
        found: int = eventually(lambda: count if (count := self.count()) > beyond else 0, WAIT)
        return found

    def flags(self) -> str:
        return self.control.domains()[NAME][1]

    def number(self) -> int:
        return self.control.domains()[NAME][0]

    def listed(self) -> list[tuple[str, str]]:
        return [(one["tag"], one["status"]) for one in self.control.do("list")["vms"]]


def test_a_pv_guest_is_paused_rebooted_saved_restored_and_shut_down(world: XenWorld, guest_image: Guest) -> None:
    life = Life(Control(world.node("node1")))
    with site_on(world, guest_image, lrm=True):
        life.watch.lap("the site is brought to the nodes")
        life.do("create", given=ticking(guest_image))
        assert (life.listed(), life.control.domains()) == ([(TAG, "created")], {})
        life.watch.lap("list, twice")
        assert life.do("start", TAG)["status"] == "running"
        assert life.listed() == [(TAG, "running")]
        life.goes_on(0)
        life.watch.lap("until the guest counts")
        _pause(life)
        _reboot(life)
        _save_and_restore(life)
        _shut_down(life)
        life.do("destroy", TAG)
        assert life.listed() == []
        assert life.control.refused("info", TAG) == (3, "unknown")


def _pause(life: Life) -> None:
    assert life.do("pause", TAG)["status"] == "paused"
    assert "p" in life.flags()
    before = life.count()
    assert life.listed() == [(TAG, "paused")]
    assert life.control.refused("reboot", TAG) == (4, "conflict")
    assert life.count() == before  # while two programs have run, which take seconds each
    assert life.do("resume", TAG)["status"] == "running"
    assert "p" not in life.flags()
    life.goes_on(before)


def _reboot(life: Life) -> None:
    before = life.number()
    assert life.do("reboot", TAG)["status"] == "running"
    text = life.control.hears(TAG, "GUEST-UP", times=2)
    life.watch.lap("until the guest is up again")
    assert "GUEST-REBOOT" in text  # it was asked, not reset
    assert life.number() != before
    assert life.listed() == [(TAG, "running")]
    life.goes_on(0)
    life.control.hears(TAG, "GUEST-READY", times=2)
    life.watch.lap("until it is ready again")


def _save_and_restore(life: Life) -> None:
    node, before = life.control.node, life.count()
    assert life.do("save-state", TAG)["status"] == "stopped"
    assert life.control.domains() == {}
    files = node.run(["find", STATE, "-size", "+20000k", "-not", "-name", "disk*", "-printf", "%m %f\n"]).stdout
    assert [line.split()[0] for line in files.splitlines()] == ["600"], files  # a guest's memory is nobody else's
    assert life.listed() == [(TAG, "stopped")]
    assert life.do("restore-state", TAG, "--paused")["status"] == "paused"
    saved = life.count()
    assert saved >= before
    assert life.do("resume", TAG)["status"] == "running"
    life.goes_on(saved)
    life.watch.lap("until the guest counts on")
    assert life.control.said(TAG).count("GUEST-UP") == 2  # it has not booted anew
    assert node.run(["find", STATE, "-size", "+20000k", "-not", "-name", "disk*"]).stdout == ""


def _shut_down(life: Life) -> None:
    assert life.do("shutdown", TAG, "--seconds", "300")["status"] == "stopped"
    shown = base64.b64decode(life.do("console", TAG)["data"]).decode(errors="replace")
    assert "GUEST-POWEROFF" in shown  # it was asked, not ended
    assert (life.listed(), life.control.domains()) == ([(TAG, "stopped")], {})
