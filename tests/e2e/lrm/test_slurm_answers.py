"""What Slurm's commands answer when something is amiss, and what the service makes of it: nothing rash.

The commands are the real ones behind a script that can be told to spoil their answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.lease_story import calm, for_all, mine, part, telling, tidy
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-answers")

SPOIL = """#!/bin/sh
how=$(cat {file}.how)
case $how in
empty) /usr/bin/{name} "$@" | head -n 1;;
warnings) echo 'slurm: Warnung: Zertifikat laeuft ab'; echo 'Maintenance|on|Friday'; exec /usr/bin/{name} "$@";;
garbage) printf '\\377\\376 no such thing\\n\\n|||\\n';;
partial) /usr/bin/{name} "$@" | head -c -9;;
hang) exec sleep 600;;
refuse) echo '{name}: error: Unable to contact slurm controller' >&2; exit 1;;
forget) /usr/bin/{name} "$@" >/dev/null; exec sleep 600;;
*) exec /usr/bin/{name} "$@";;
esac
"""


class Spoiler:
    """The scripts before squeue and sbatch."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.commands = {}
        for name in ("squeue", "sbatch"):
            file = directory / name
            file.write_text(SPOIL.format(file=file, name=name))
            file.chmod(0o755)
            self.commands[name] = str(file)
        self.well()

    def spoil(self, name: str, how: str) -> None:
        """Have a command answer so from now on."""
        new = self.directory / f"{name}.new"
        new.write_text(how)
        new.rename(self.directory / f"{name}.how")

    def well(self) -> None:
        """Have all commands answer as they do."""
        for name in self.commands:
            self.spoil(name, "well")


@pytest.fixture(scope="module")
def spoiler() -> Iterator[Spoiler]:
    """Give the scripts."""
    with for_all() as directory:
        yield Spoiler(directory)


@pytest.fixture(scope="module")
def cluster(spoiler: Spoiler) -> Iterator[LrmService]:
    """Give a service that runs Slurm's commands through the scripts."""
    options = {"commands": spoiler.commands, "command_timeout": 2.0, "guard_least": 1, "grace": 40, "poll": 0.5}
    with slurm_service(world={"kill_wait": 40}, options=options) as made:
        yield made


@pytest.fixture
def service(cluster: LrmService, spoiler: Spoiler) -> Iterator[LrmService]:
    """Give the module's service; afterwards all commands answer again."""
    yield cluster
    spoiler.well()
    tidy(cluster)


def listings(service: LrmService, more: int) -> None:
    """Wait for so many further listings."""
    begun = service.admin("backend.inspect")["listings"]
    service.wait(lambda: service.admin("backend.inspect")["listings"] >= begun + more, f"{more} listings")


def test_nothing_is_concluded_from_a_listing_that_is_none(service: LrmService, spoiler: Spoiler) -> None:
    with telling(service, part(1), name="no-listing") as story:
        story.running()
        for how in ("garbage", "partial", "hang", "refuse"):
            spoiler.spoil("squeue", how)
            service.wait(lambda: service.admin("backend.inspect")["failure"], f"a word of the failure: {how}")
            listings(service, 2)
            assert story.lease.whole.properties().state == "Running", how
            assert len(service.slots("Ready")) == 1, how
            spoiler.well()
            service.wait(lambda: not service.admin("backend.inspect")["failure"], "the end of the failure")
        story.lease.whole.destroy()
    calm(service)


def test_warnings_before_the_table_do_no_harm(service: LrmService, spoiler: Spoiler) -> None:
    spoiler.spoil("squeue", "warnings")
    with telling(service, part(2), name="warnings") as story:
        story.running()
        story.lease.whole.destroy()
    calm(service)


def test_many_losses_at_once_wait_for_the_operators_word(service: LrmService, spoiler: Spoiler) -> None:
    with telling(service, part(2), name="many-1") as one, telling(service, part(1), name="many-2") as other:
        one.running()
        other.running()
        jobs = {job["job"].removeprefix("fl-") for job in service.jobs() if not job["over"]}
        spoiler.spoil("squeue", "empty")
        held = service.wait(lambda: service.admin("backend.inspect")["guard"], "the guard")
        assert (set(held["held"]), held["lost"], held["live"]) == (jobs, 3, 3)
        listings(service, 2)
        assert len(service.slots("Ready")) == 3
        assert one.lease.whole.properties().state == "Running"
        spoiler.well()
        service.wait(lambda: not service.admin("backend.inspect")["guard"], "the end of the alarm")
        spoiler.spoil("squeue", "empty")
        service.wait(lambda: service.admin("backend.inspect")["guard"], "the guard again")
        assert jobs <= set(service.admin("backend.confirm")["held"])
        assert "does not list the job any more" in one.cancelled()
        assert "does not list the job any more" in other.cancelled()
    spoiler.well()
    calm(service)


def test_a_submit_that_was_accepted_and_never_answered_makes_one_job(service: LrmService, spoiler: Spoiler) -> None:
    spoiler.spoil("sbatch", "forget")
    with telling(service, part(2), name="forgotten") as story:
        story.running()
        assert len(mine(service)) == 1
        assert len(service.jobs()) == len({job["job"] for job in service.jobs()})
        story.lease.whole.destroy()
    calm(service)


def test_a_submit_that_finds_no_controller_is_tried_again(service: LrmService, spoiler: Spoiler) -> None:
    spoiler.spoil("sbatch", "refuse")
    with telling(service, part(1), name="again") as story:
        story.waits("contact slurm controller")
        spoiler.well()
        story.running()
        assert len(mine(service)) == 1
        story.lease.whole.destroy()
    calm(service)
