"""The options of the second report channel: a mistake in them is found when the service starts, not by its pilots."""

from __future__ import annotations

from typing import Any

import pytest

from flyinglow.backend.lrm.jobs.pilots import Pilots
from flyinglow.backend.lrm.settings.options import options
from flyinglow.nodectl.errors import InvalidError
from flyinglow.pilot.ssh import Ssh

NEEDED = {"address": "head", "user": "spool", "identity": "/etc/id", "known_hosts": "/etc/known"}


def pilots(**ssh: Any) -> Pilots:
    return Pilots(options({"lrm": "slurm", "ssh": ssh, "spool": "/var/spool/reports"}), "http://head:1", b"", "1")


def test_what_is_needed_is_enough_and_the_port_is_ssh_s_own() -> None:
    pilots(**NEEDED)
    argv = Ssh(NEEDED).argv
    assert argv[argv.index("-p") + 1] == "22"
    argv = Ssh({**NEEDED, "port": 2222}).argv
    assert argv[argv.index("-p") + 1] == "2222"


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_what_is_missing_is_named_before_any_pilot_starts(missing: str) -> None:
    with pytest.raises(InvalidError, match=missing):
        pilots(**{name: value for name, value in NEEDED.items() if name != missing})


@pytest.mark.parametrize(("name", "value"), [("address", "-oProxyCommand=x"), ("user", "-x"), ("port", "many")])
def test_what_cannot_be_is_refused_before_any_pilot_starts(name: str, value: str) -> None:
    with pytest.raises(InvalidError):
        pilots(**{**NEEDED, name: value})
