"""What a site may have set up in its Slurm, a reservation and an epilog; and the receipt that its lessees export."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyinglow.cli.demo.lrm_site import NODECTL
from rigs.daemon import environment
from rigs.guest import IMAGES, Guest
from rigs.lease_story import calm, hog, listed, mine, part, slurm, telling, tidy
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-site")

GRACE = 40
BOOT_SECONDS = 240.0  # emulated, on a machine that has other work
RESERVATION = "leases"
EPILOG = "/usr/local/sbin/flyinglow-epilog"
STAMPS = ["accepted", "queued", "scheduled", "launched", "adapted", "image", "network", "started", "ready", "notified"]


@pytest.fixture(scope="module")
def service(guest_image: Guest) -> Iterator[LrmService]:
    """Give a service whose jobs use a reservation, which a test makes first, on nodes with the documented epilog."""
    world = {"kill_wait": GRACE, "lines": (f"Epilog={EPILOG}",)}
    options = {"grace": GRACE, "reservation": RESERVATION, "vm_overhead_mb": 96}
    settings = {"images": [str(IMAGES)]}
    with slurm_service(2, world=world, options=options, image=guest_image.entry, nodectl=settings) as made:
        epilog = slurm(made).sbin / "flyinglow-epilog"
        epilog.write_text(documented_epilog().replace("/usr/sbin/flyinglow-nodectl", NODECTL))
        epilog.chmod(0o755)
        made_for = ["StartTime=now", "Duration=60", "Users=lease", "Nodes=node2"]
        slurm(made).run_in_head(["scontrol", "create", f"ReservationName={RESERVATION}", *made_for])
        yield made
        tidy(made)


def documented_epilog() -> str:
    """Return the script that the page on nodes has for epilogs."""
    page = (Path(__file__).parents[3] / "docs/administration/node.md").read_text()
    (block,) = re.findall(r"^    #!/bin/sh\n(?:    .*\n)+", page, re.MULTILINE)
    return textwrap.dedent(block)


def test_a_lease_uses_the_nodes_that_are_reserved_for_it(service: LrmService) -> None:
    ahead = hog(service, 300, "-N1", "-n1", "-t6")
    service.wait(lambda: listed(service, {"id": ahead}) == "RUNNING", "the other user's job, on the other node")
    with telling(service, part(1, 96), name="reserved") as story:
        assert story.running(BOOT_SECONDS) == ["node2"]
        story.lease.whole.destroy()
    slurm(service).run_in_head(["scancel", ahead])
    calm(service)


def test_a_receipt_of_every_step_is_exported_while_it_lives_and_when_it_is_over(service: LrmService) -> None:
    with telling(service, part(1, 96, "receipt"), name="receipt") as story:
        story.running(BOOT_SECONDS)
        service.wait(lambda: "ready" in receipt(service, "receipt"), "the guest's word", BOOT_SECONDS)
        story.lease.whole.trash()
    calm(service)
    stamps = receipt(service, "receipt")
    assert list(stamps) == STAMPS
    at = [stamps[name] for name in STAMPS if name != "notified"]
    assert at == sorted(at)


def receipt(service: LrmService, name: str) -> dict[str, str]:
    """Return the stamps that the command exports for a workspace."""
    argv = [sys.executable, "-m", "flyinglow.cli", "--service", service.site.url, "show", name, "--timing", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180, env=environment())
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)["receipt"]
    (stamps,) = found.values()
    return stamps


def test_the_epilog_undoes_what_a_kill_without_warning_left(service: LrmService) -> None:
    with telling(service, part(1, 96), name="killed") as story:
        (node,) = story.running(BOOT_SECONDS)
        assert service.status(node)["vms"]
        slurm(service).run_in_head(["scancel", "--full", "--signal=TERM", story.job["id"]])
        assert "FAILED" in story.cancelled()
        service.wait(lambda: not mine(service), "the end of the job and its epilog")
        service.wait(lambda: not service.clean_nodes(), "the node as it was, without a pilot or an administrator")
    calm(service)
