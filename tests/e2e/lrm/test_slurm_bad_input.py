"""What people, strangers and other versions send to a service that leases from a real Slurm: refused, and no harm done.

Nothing that a client writes reaches the scheduler; nobody who does not hold a slot's key is believed.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import NODE_PORT, NODECTL
from flyinglow.client import Disk, Nic, Part
from flyinglow.nodectl.errors import InvalidError, NeverError
from flyinglow.pilot.messages import PATH, Kind
from rigs.intake import SignedPilot
from rigs.lease_story import calm, for_all, mine, part, telling, tidy
from rigs.lrm_service import LrmService, slurm_service

pytestmark = pytest.mark.xdist_group("slurm-bad-input")

LIMIT = 600  # seconds that a job may run here
MARGIN = 60
CANARY = "SBATCH --nodelist=node2 --comment=canary"

COUNTED = """#!/bin/sh
echo once >>{log}
exec sudo -n "$@"
"""
LOCAL = """#!/bin/sh
echo "$LC_ALL" >>{log}
exec /usr/bin/squeue "$@"
"""
OLD = """#!{python}
# an sbatch that carries a pilot of another version, and settings that this one understands
import base64, io, re, subprocess, sys, zipfile
script = sys.stdin.buffer.read()
if {armed!r} and not __import__("os").path.exists({armed!r}):
    sys.exit(subprocess.run(["/usr/bin/sbatch", *sys.argv[1:]], input=script).returncode)
head, size, rest = re.search(rb"^(.*?cat <<'\\w+'\\n)(\\d+)\\n(.*)$", script, re.S).groups()
program, rest = rest[: int(size)], rest[int(size) :]
old = zipfile.ZipFile(io.BytesIO(base64.b64decode(program)))
made = io.BytesIO()
with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
    for name in old.namelist():
        data = old.read(name)
        if name.endswith("pilot/messages.py"):
            data = re.sub(rb"(?m)^(OLDEST|VERSION) = .*$", rb"\\1 = 99", data)
        if not name.endswith(".pyc"):
            new.writestr(name, data)
rest, count = re.subn(rb'"version": ?[0-9]+', b'"version": 99', rest)
assert count == 1
text = base64.encodebytes(made.getvalue())
changed = head + b"%d\\n" % len(text) + text + rest
sys.exit(subprocess.run(["/usr/bin/sbatch", *sys.argv[1:]], input=changed).returncode)
"""


class Scripts:
    """Programs before the real ones, and what they wrote down."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.chmod(0o1777)
        self.sudo = self._write("sudo", COUNTED.format(log=directory / "sudo.log"))
        self.squeue = self._write("squeue", LOCAL.format(log=directory / "locale.log"))
        self.armed = directory / "old"
        self.sbatch = self._write("sbatch", OLD.format(python="/usr/bin/python3", armed=str(self.armed)))

    def _write(self, name: str, text: str) -> str:
        file = self.directory / name
        file.write_text(text)
        file.chmod(0o755)
        return str(file)

    def lines(self, name: str) -> list[str]:
        """Return what was written down."""
        file = self.directory / f"{name}.log"
        return file.read_text().split("\n")[:-1] if file.exists() else []


@pytest.fixture(scope="module")
def scripts() -> Iterator[Scripts]:
    """Give the programs, where every user can reach them."""
    with for_all() as directory:
        yield Scripts(directory)


@pytest.fixture(scope="module")
def cluster(scripts: Scripts) -> Iterator[LrmService]:
    """Give a service on two nodes whose partition lets jobs run for ten minutes; its own locale is not English."""
    options = {
        "grace": 40,
        "margin": MARGIN,
        "agent": [scripts.sudo, NODECTL, "agent", "--stdio"],
        "commands": {"squeue": scripts.squeue, "sbatch": scripts.sbatch},
    }
    world = {"kill_wait": 40, "partition": f"MaxTime={LIMIT // 60}"}
    with slurm_service(nodes=2, world=world, options=options, start=False) as made:
        made.start(env={"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"})
        yield made


@pytest.fixture
def service(cluster: LrmService) -> Iterator[LrmService]:
    """Give the module's service; what a test leaves behind is ended."""
    yield cluster
    tidy(cluster)


def test_what_clients_write_never_reaches_the_scheduler(service: LrmService) -> None:
    text = f"#{CANARY}\n#PBS -q canary\n$(touch /tmp/canary)\n".encode()
    wanted = Part(
        name="wn",
        memory_mb=128,
        disks=(Disk(image="guest"),),
        nics=(Nic(network="private"),),
        user_data=text,
    )
    for name in (f"x #{CANARY}", "canary\n#SBATCH", "--wrap=canary", "$(canary)"):
        with pytest.raises(InvalidError):
            service.site.create([wanted], name=name, duration=60)
    with telling(service, wanted, name="directives", duration=300) as story:
        assert story.running() == ["node1"]
        (job,) = (line.split()[0] for line in mine(service))
        shown = service.world.run_in_head(["scontrol", "show", "job", job]).stdout
        script = service.world.run_in_head(["scontrol", "write", "batch_script", job, "-"]).stdout
        assert "JobName=fl-" in shown
        assert "feed()" in script
        for seen in (shown, script):
            assert "canary" not in seen
            assert "nodelist=node2" not in seen
        assert [line for line in script.splitlines() if line.startswith("#SBATCH")] == []
        story.lease.whole.destroy()
    calm(service)


def test_a_lease_longer_than_the_queue_allows_is_refused_with_the_longest_possible(service: LrmService) -> None:
    with pytest.raises(NeverError) as refused:
        service.site.create([part(1)], name="long", duration=LIMIT)
    assert str(LIMIT - MARGIN) in str(refused.value) + str(refused.value.figures)
    assert mine(service) == []
    with telling(service, part(1), name="longest", duration=LIMIT - MARGIN) as story:
        story.running()
        story.lease.whole.destroy()
    calm(service)


@pytest.mark.parametrize("wanted", [part(3), part(1, 100_000), part(1, 1990)], ids=["nodes", "memory", "overheads"])
def test_what_no_partition_has_is_never(service: LrmService, wanted: Part) -> None:
    with pytest.raises(NeverError):
        service.site.create([wanted], name="large", duration=60)
    assert mine(service) == []


def post(body: bytes, path: str = PATH) -> tuple[int, bytes]:
    """Send something to the node listener as any program on the cluster can; 0: it hung up."""
    connection = http.client.HTTPConnection(HEAD_ADDRESS, NODE_PORT, timeout=120)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def test_forged_reports_change_nothing(service: LrmService) -> None:
    with telling(service, part(2), name="forged", duration=300) as story:
        story.running()
        job = story.job
        before = [(slot["slot"], slot["state"], slot["node"]) for slot in service.slots("Ready")]
        key = job_key(service, job["id"])
        slot = f"{job['job'].removeprefix('fl-')}.0"
        stranger = SignedPilot(slot, "00" * 32, node="node1")
        thief = SignedPilot(slot, key, node="node9", incarnation="thief")
        bodies = [message for pilot in (stranger, thief) for message in forgeries(pilot)]
        answers = [post(body) for body in (*bodies, *bodies)]  # all of them played back as well
        assert all(status in {0, 200, 400, 401, 403, 413} for status, _ in answers), answers
        assert not [text for _, text in answers if key.encode() in text]
        assert post(b"x" * (9 << 20))[0] in {0, 413}
        assert post(b"{}", "/elsewhere")[0] == 404
        assert [(slot["slot"], slot["state"], slot["node"]) for slot in service.slots("Ready")] == before
        assert story.lease.whole.properties().state == "Running"
        story.lease.whole.destroy()
    calm(service)


def forgeries(pilot: SignedPilot) -> list[bytes]:
    """Return what somebody may say who is not the slot's pilot: whole, cut short, changed, and none at all."""
    hello = pilot.seal(Kind.HELLO, {"left": 500}, sequence=1)
    said = [pilot.seal(kind, {"reason": "forged"}, sequence=9) for kind in (Kind.RELEASED, Kind.SIGNALLED, Kind.READY)]
    return [hello, *said, pilot.seal(Kind.POLL, session="", turn=1, got=0), hello[:-7], hello[: len(hello) // 2], b""]


def job_key(service: LrmService, job: str) -> str:
    """Return a job's key as who holds the script has it."""
    script = service.world.run_in_head(["scontrol", "write", "batch_script", job, "-"]).stdout
    found = re.search(r'"key": ?"([0-9a-f]+)"', script)
    assert found, "the settings are in the script"
    return found[1]


def test_a_pilot_of_another_version_is_refused_and_both_are_named(service: LrmService, scripts: Scripts) -> None:
    scripts.armed.touch()
    try:
        with telling(service, part(1), name="old", duration=300) as story:
            reason = ended(story)
    finally:
        scripts.armed.unlink()
    logs = "\n".join(file.read_text(errors="replace") for file in service.world.jobs.glob("*") if file.is_file())
    assert re.search(r"the other side \(.+\) speaks version 1, this side version 99: upgrade the other side", logs)
    assert "ended before all its nodes were ready" in reason
    assert re.search(
        r"the pilot on node\d \(.+\) speaks version 99, this service \(.+\) version 1: upgrade this", reason
    )
    assert not service.slots("Ready")
    calm(service)


def ended(story: Any) -> str:
    """Wait until the lease has ended, in whatever way; return the reason."""
    news = story.hear(lambda one: one.topic == "state" and one.state in {"Corrupted", "Cancelled"}, "the end")
    return str(news.reason)


def test_sudo_is_called_once_for_each_slot_whatever_is_done_on_it(service: LrmService, scripts: Scripts) -> None:
    before = len(scripts.lines("sudo"))
    with telling(service, part(2), name="sudo", duration=300) as story:
        story.running()
        story.lease.whole.pause()
        story.lease.whole.wait("Paused", timeout=120)
        story.lease.whole.start()
        story.running()
        story.lease.whole.destroy()
    calm(service)
    assert len(scripts.lines("sudo")) - before == 2


def test_commands_of_the_scheduler_speak_english_whatever_the_service_speaks(scripts: Scripts) -> None:
    assert set(scripts.lines("locale")) == {"C"}
