"""What a pilot would do here, said in words, and what of it can be tried without changing anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.messages import SPOKEN
from flyinglow.nodectl.versions import range_of
from flyinglow.pilot.clock import Clock
from flyinglow.pilot.compose import check
from flyinglow.pilot.life import Exit
from flyinglow.pilot.messages import Settings
from flyinglow.pilot.post import Address, Post
from flyinglow.pilot.probe import OLDEST, found, memory_mb
from flyinglow.pilot.ssh import Ssh

_PATIENCE = 20.0  # seconds for a program
Finding = tuple[bool, str, str]


def explain(settings: Settings, rank: int, node: str, clock: Clock, out: TextIO) -> Exit:
    """Say what would be done and what was found; return DONE when nothing speaks against it, else NODE."""
    check(settings, rank, node)
    out.writelines(f"{line}\n" for line in _plan(settings, rank, node))
    good = True
    for ok, name, text in _findings(settings, rank, clock):
        good = good and ok
        out.write(f"{'ok ' if ok else 'BAD'} {name}: {text}\n")
    return Exit.DONE if good else Exit.NODE


def _plan(settings: Settings, rank: int, node: str) -> Iterator[str]:
    size = settings.slots[rank]
    grace, share = settings.grace, settings.grace * settings.share
    yield f"slot {settings.job}.{rank} on node {node}, for {settings.seconds:g} s at most; a pilot would"
    yield f"  1. say hello to {settings.url}" + (", or by SSH where that fails" if settings.ssh else "")
    yield f"  2. start {' '.join(settings.agent)}"
    extra = f" (and {settings.margin_mb} MB more)" if settings.memory_policy == "margin" else ""
    memory = f"{size['memory_mb']} MB by the policy {settings.memory_policy}{extra}"
    yield f"  3. have it reserve {memory}, and {size['cpus']} CPUs"
    yield "  4. report ready, and give the service's orders to the agent"
    yield "  5. at the end have VMs ended and the memory given back, and report that"
    yield f"  after a signal: leave the service {share:g} s, then do 5. itself, all within {grace:g} s less 1 s"


def _findings(settings: Settings, rank: int, clock: Clock) -> Iterator[Finding]:
    yield (
        sys.version_info >= OLDEST,
        "interpreter",
        f"{sys.executable} is Python {sys.version.split()[0]}; 3.9 is needed",
    )
    yield _memory(settings.slots[rank]["memory_mb"])
    yield _program(settings.agent)
    if settings.agent[0].rpartition("/")[2] == "sudo":
        yield _sudo(settings.agent)
    yield _agent(settings.agent)
    yield _service(settings, clock)
    if settings.ssh:
        yield _ssh(settings.ssh)


def _memory(wanted: int) -> Finding:
    there = memory_mb()
    text = f"{there} MB are there, {wanted} MB are asked for"
    return there is None or wanted < there, "memory", text


def _program(agent: tuple[str, ...]) -> Finding:
    path = found(agent[0])
    return path is not None, "program", path or f"{agent[0]} is not on the PATH"


def _sudo(agent: tuple[str, ...]) -> Finding:
    command = [word for word in agent[1:] if word != "-n"]
    try:
        done = subprocess.run(
            [agent[0], "-n", "-l", "--", *command], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, "sudo", str(error)
    if done.returncode == 0:
        return True, "sudo", f"this user may run {done.stdout.strip()}"
    return False, "sudo", f"this user may not run {' '.join(command)} as root: {done.stderr.strip() or 'no rule'}"


def _agent(agent: tuple[str, ...]) -> Finding:
    try:
        done = subprocess.run(
            agent, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        hello: Any = json.loads(done.stdout.partition("\n")[0])
        body, theirs = hello["body"], range_of(hello["body"], hello["v"])
        text = f"version {body['version']} on {body['node']} with {', '.join(body['drivers'])}; it speaks {theirs}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, "agent", str(error)
    except (ValueError, KeyError, TypeError):
        return False, "agent", f"it ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}"
    return theirs is not None and SPOKEN.common(theirs) is not None, "agent", f"{text}, this pilot {SPOKEN}"


def _service(settings: Settings, clock: Clock) -> Finding:
    try:
        post = Post(Address(settings.url), settings.certificate, clock)
        status, _ = post.post(b"{}", settings.patience)
        post.close()
    except FlyingLowError as error:
        return False, "service", error.message
    return True, "service", f"{settings.url} answers (to an empty message with status {status})"


def _ssh(settings: dict[str, Any]) -> Finding:
    try:
        Ssh(settings).append(b"", _PATIENCE)
    except FlyingLowError as error:
        return False, "second channel", error.message
    return True, "second channel", f"{settings['user']}@{settings['address']} takes reports"
