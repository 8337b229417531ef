"""The shipped conformance suite, run on the back-ends of this project."""

import dataclasses
import json
import sys
from pathlib import Path

from flyinglow.backend import default, simulated
from flyinglow.backend.api import NodeState, Settings
from flyinglow.backend.testing import BackendConformance, Bench
from rigs import scripted_agent

NETWORKS = {"public": None, "private": None}


def node(name: str, **reach: object) -> NodeState:
    return NodeState(name=name, memory_mb=1024, cpus=8, disk_mb=1000, networks=NETWORKS, reach=reach)


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


class TestSimulated(BackendConformance):
    def create(self, settings: Settings) -> simulated.SimulatedBackend:
        return simulated.create(settings)

    def nodes(self, folder: Path) -> dict[str, NodeState]:
        return {name: node(name) for name in ("n1", "n2")}

    def options(self, folder: Path) -> dict[str, object]:
        return {"list_timeout": 0.2}

    def silence(self, bench: Bench, node: str) -> None:
        assert isinstance(bench.backend, simulated.SimulatedBackend)
        bench.loop.call(bench.backend.simulation.silence, node)


class TestSimulatedQueue(TestSimulated):
    def options(self, folder: Path) -> dict[str, object]:
        return {"list_timeout": 0.2, "queue": True, "grant_after": 0.05}


class OverAgents(BackendConformance):
    """The default back-end with a real agent process a node."""

    def agent(self, folder: Path, name: str) -> dict[str, object]:
        raise NotImplementedError

    def create(self, settings: Settings) -> default.DefaultBackend:
        return default.create(settings)

    def nodes(self, folder: Path) -> dict[str, NodeState]:
        return {name: node(name, **self.agent(folder, name)) for name in ("n1", "n2")}

    def options(self, folder: Path) -> dict[str, object]:
        return {"list_timeout": 5.0}

    def silence(self, bench: Bench, node: str) -> None:
        mute = program(Path(str(bench.nodes[node].reach["agent"])).with_name("mute"), "exec cat >/dev/null")
        bench.nodes[node] = dataclasses.replace(bench.nodes[node], reach={"channel": "local", "agent": mute})


class TestDefaultOverScriptedAgents(OverAgents):
    def agent(self, folder: Path, name: str) -> dict[str, object]:
        command = f'exec {sys.executable} {scripted_agent.__file__} {folder / name}.state "$@"'
        return {"channel": "local", "agent": program(folder / f"agent-{name}", command)}


class TestDefault(OverAgents):
    """With the agent of this project, on its simulated hypervisor."""

    def agent(self, folder: Path, name: str) -> dict[str, object]:
        config = folder / f"{name}.json"
        config.write_text(json.dumps({"driver": "simulated", "node": name, "state": str(folder / name)}))
        command = f'exec {sys.executable} -m flyinglow.nodectl "$@"'
        return {"channel": "local", "agent": program(folder / f"agent-{name}", command), "config": str(config)}
