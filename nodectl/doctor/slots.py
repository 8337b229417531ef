"""Look whether this node can give slots to batch jobs: its memory's driver, what is left over, and sudo."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.compose import memory_of
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.deploy.sudoers import COMMANDS, DEFAULT_PATH
from flyinglow.nodectl.doctor import versions
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.slots.ledger import Book
from flyinglow.nodectl.slots.taking import FILE
from flyinglow.nodectl.slots.ticket import NAMESPACE, PRINCIPAL
from flyinglow.nodectl.trust import is_root, weak_spot

MOUNTS = Path("/proc/mounts")
OWN_GROUPS = Path("/proc/self/cgroup")
RULES = Path("/etc/sudoers.d")


def checks(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is to be looked at, by name; each raises a FlyingLowError or OSError, or says what it found."""
    yield f"memory ({config.memory})", lambda: _memory(config)
    if config.memory == "cgroup":
        yield "cgroup of VMs", lambda: _groups(config)
    if config.memory == "hugepages":
        yield "hugetlbfs", lambda: _huge_pages(config)
    yield "slots", lambda: _slots(config)
    yield "sudo", _sudo
    yield "tickets", lambda: _tickets(config)


def _memory(config: Config) -> str:
    own = memory_of(config).read().own_mb
    base = Book(config.state / FILE).read().base
    before = own if base is None else base.own_mb
    if before <= config.minimum_node_mb:
        raise BrokenError(
            f"the node's own share is {before} MiB and {config.minimum_node_mb} stay its own: no slot fits "
            f"(configuration keys memory_mb and minimum_node_mb)"
        )
    return f"own share {own} of {before} MiB, of which slots may take {before - config.minimum_node_mb}"


def _groups(config: Config) -> str:
    jobs, vms = Path(config.memory_cgroup), config.vm_cgroup
    if vms:
        if not os.access(Path(vms) / "cgroup.procs", os.W_OK):
            raise BrokenError(f"{vms} is no control group that VMs can be put into (configuration key vm_cgroup)")
        if jobs == Path(vms) or jobs in Path(vms).parents:
            raise BrokenError(f"{vms} lies in {jobs}, so that VMs would take the memory twice: set another vm_cgroup")
        return vms
    own = (line.rsplit(":", 1)[1] for line in OWN_GROUPS.read_text(encoding="utf-8").splitlines())
    if any(path != "/" and str(jobs).endswith(path.rstrip("/")) for path in own):
        raise BrokenError(f"this program runs in {jobs}, and so would VMs: set the configuration key vm_cgroup")
    return "VMs stay in the agent's group; set vm_cgroup where jobs, and so their agents, run in the group of jobs"


def _huge_pages(config: Config) -> str:
    mounts = (line.split() for line in MOUNTS.read_text(encoding="utf-8").splitlines())
    if not any(words[1] == config.hugepages and words[2] == "hugetlbfs" for words in mounts):
        raise BrokenError(
            f"{config.hugepages} is no hugetlbfs: mount -t hugetlbfs none {config.hugepages} "
            f"(configuration key hugepages)"
        )
    return config.hugepages


def _slots(config: Config) -> str:
    slots = Book(config.state / FILE).read().slots
    orphans = [entry.spec.slot for entry in slots if not entry.alive]
    if orphans:
        raise BrokenError(
            f"the agents of {', '.join(orphans)} are gone: flyinglow-nodectl tidy gives their memory back"
        )
    return f"{len(slots)} held"


def _sudo() -> str:
    """Ask sudo where we are the user of jobs; where we are root, look at the rules and at what they name."""
    if shutil.which("sudo") is None:
        return "not installed: batch jobs cannot take slots on this node (Debian: apt-get install sudo)"
    if not is_root():
        program = shutil.which("flyinglow-nodectl") or DEFAULT_PATH
        for command in COMMANDS:
            tools.run(["sudo", "-n", "-l", program, *command.split()], seconds=20)
        return f"{program} {' and '.join(COMMANDS)}"
    found = [line.split("NOPASSWD:", 1)[1].strip() for line in _rules() if COMMANDS[0] in line and "NOPASSWD:" in line]
    for rule in found:
        _check_program(Path(rule.split(",")[0].strip().removesuffix(COMMANDS[0]).strip()))
    return "; ".join(found) or f"no rule below {RULES}; flyinglow-nodectl sudoers USER prints it, for batch jobs"


def _tickets(config: Config) -> str:
    """Look at who is believed; a node that believes everybody is told so."""
    if config.ticket_signers is None:
        if not is_root() or not any(COMMANDS[0] in line for line in _rules()):
            return "none wanted"
        return (
            "WARNING: none wanted, so whatever runs as the user of jobs can take slots without a lease: copy the "
            "service's KEY.signers here and name it with the configuration key ticket_signers"
        )
    versions.found("openssh", "ssh")
    versions.present(config.ssh_keygen, "openssh-client")
    signers = Path(config.ticket_signers)
    weak = weak_spot(signers) if is_root() else None
    if weak is not None:
        raise BrokenError(f"{weak} must be root's alone, for {signers} says whom root believes")
    lines = signers.read_text(encoding="utf-8").splitlines()
    ours = [line for line in lines if line.split()[:1] == [PRINCIPAL] and NAMESPACE in line]
    if not ours:
        raise BrokenError(
            f"{signers} has no line for {PRINCIPAL} and {NAMESPACE}: copy the service's KEY.signers there"
        )
    tools.run([config.ssh_keygen, "-l", "-f", "-"], given=ours[0].split('"')[-1], seconds=20)
    return f"{len(ours)} key of a service in {signers}; this node is {config.node}"


def _rules() -> Iterator[str]:
    for path in sorted(path for path in RULES.glob("*") if path.is_file()):
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()


def _check_program(program: Path) -> None:
    if not os.access(program, os.X_OK):
        raise BrokenError(f"sudo may run {program}, which is not there: flyinglow-nodectl bundle {program}")
    weak = weak_spot(program)
    if weak is not None:
        raise BrokenError(f"sudo runs {program}, which others than root could exchange: {weak} must be root's alone")
