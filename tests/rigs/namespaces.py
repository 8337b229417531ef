"""Nodes of a pretended cluster: network namespaces with bridges of their own, linked with each other. Needs root."""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Space:
    """One network namespace."""

    name: str

    def argv(self, *words: str) -> list[str]:
        """Return the words that run a program inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str) -> str:
        """Run a program inside and return what it printed."""
        return subprocess.run(self.argv(*words), check=True, capture_output=True, text=True, timeout=180).stdout

    def bridge(self, name: str, address: str) -> None:
        """Make a bridge with an address (``10.0.0.1/24``)."""
        self.run("ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
        self.run("ip", "address", "add", address, "dev", name)
        self.run("ip", "link", "set", name, "up")

    def interfaces(self) -> list[str]:
        """Return the names of all interfaces inside."""
        lines = self.run("ip", "-brief", "link").splitlines()
        return [line.split()[0].split("@")[0] for line in lines]

    def processes(self) -> list[int]:
        """Return the numbers of all processes inside."""
        done = subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True)
        return [int(word) for word in done.stdout.split()]


def link(one: Space, other: Space, bridge: str) -> None:
    """Lay a wire between the bridges of this name in two spaces."""
    ends = [f"w{secrets.token_hex(5)}" for _ in range(2)]
    one.run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", other.name)
    for space, end in zip((one, other), ends, strict=True):
        space.run("ip", "link", "set", end, "master", bridge, "up")


def _remove(space: Space) -> None:
    deadline = time.monotonic() + 120
    while (left := space.processes()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    subprocess.run(["ip", "netns", "delete", space.name], check=True)


@pytest.fixture
def new_space() -> Iterator[Callable[[str], Space]]:
    """Return a function that makes a namespace with a name of its own; all are removed with what runs in them."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made: list[Space] = []

    def make(label: str) -> Space:
        space = Space(f"fl-{label}-{secrets.token_hex(3)}")
        subprocess.run(["ip", "netns", "add", space.name], check=True)
        made.append(space)
        space.run("ip", "link", "set", "lo", "up")
        return space

    yield make
    for space in made:
        _remove(space)
