"""The two emulated Xen nodes that all these tests are about, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flyinglow.cli.demo.lrm_site import SUDOERS
from rigs.xen.site import Stopwatch
from rigs.xen.world import XenWorld, xen_world

GRACE = 60  # seconds from Slurm's notice to its kill: an emulated processor needs them


@pytest.fixture(scope="session")
def world() -> Iterator[XenWorld]:
    """Give the nodes; each test brings its own configuration to them, and takes its VMs away."""
    watch = Stopwatch()
    with xen_world(2, sudoers=SUDOERS, kill_wait=GRACE) as made:
        watch.lap("two emulated Xen nodes boot and join Slurm")
        yield made
