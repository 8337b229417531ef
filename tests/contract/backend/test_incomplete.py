"""The conformance suite fails a back-end that leaves any one verb out."""

import os
import subprocess
import sys

import pytest

from flyinglow.backend.api import Backend, NodeChannel

MODULE = '''
from flyinglow.backend.api import NodeState
from flyinglow.backend.simulated import SimulatedBackend, SimulatedChannel
from flyinglow.backend.testing import BackendConformance


class Base(BackendConformance):
    seconds = 2.0

    def create(self, settings):
        return self.backend(settings)

    def nodes(self, folder):
        return {name: NodeState(name=name, memory_mb=1024, cpus=8, disk_mb=1000) for name in ("n1", "n2")}

    def options(self, folder):
        return {"list_timeout": 0.2}

    def silence(self, bench, node):
        bench.loop.call(bench.backend.simulation.silence, node)


def unimplemented(*args, **options):
    raise NotImplementedError


async def unimplemented_later(*args, **options):
    raise NotImplementedError


def without(verb, waits):
    """A simulated back-end that lacks one verb."""
    return type("Lacking", (SimulatedBackend,), {verb: unimplemented_later if waits else unimplemented})


def without_order_way(verb, waits):
    """A simulated back-end whose channels lack one verb."""
    lacking = type("Lacking", (SimulatedChannel,), {verb: unimplemented_later if waits else unimplemented})

    def channel(self, node):
        SimulatedBackend.channel(self, node)
        return self.lacking.setdefault(node, lacking(self.simulation, node))

    return type("LackingChannel", (SimulatedBackend,), {"channel": channel, "lacking": {}})


class TestWhole(Base):
    seconds = 120.0  # only those that lack something wait as long as they may
    backend = SimulatedBackend

    def options(self, folder):
        return {"list_timeout": 5.0}  # on a busy machine, the nodes that speak take their time


'''

WAITS = {"acquire", "release", "reconcile", "close", "send"}


def verbs(protocol: type) -> list[str]:
    return sorted(name for name in vars(protocol) if not name.startswith("_"))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the suite on one whole back-end, and on one for each verb that lacks it."""
    text = MODULE
    for verb in verbs(Backend):
        text += f"class TestWithout_{verb}(Base):\n    backend = without({verb!r}, {verb in WAITS})\n\n\n"
    for verb in verbs(NodeChannel):
        text += f"class TestChannelWithout_{verb}(Base):\n"
        text += f"    backend = without_order_way({verb!r}, {verb == 'send'})\n\n\n"
    path = tmp_path_factory.mktemp("incomplete") / "test_incomplete_backends.py"
    path.write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", str(path)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # those are ours
    done = subprocess.run(
        command, cwd=path.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout


def test_the_protocols_are_the_ones_we_know() -> None:
    assert verbs(Backend) == ["acquire", "admit", "channel", "close", "limits", "reconcile", "release"]
    assert verbs(NodeChannel) == ["close", "send"]


def test_a_whole_one_passes(outcome: str) -> None:
    assert " passed" in outcome
    assert "TestWhole" not in outcome


@pytest.mark.parametrize("verb", verbs(Backend))
def test_a_back_end_without_one_verb_fails(outcome: str, verb: str) -> None:
    assert f"::TestWithout_{verb}::" in outcome


@pytest.mark.parametrize("verb", verbs(NodeChannel))
def test_a_channel_without_one_verb_fails(outcome: str, verb: str) -> None:
    assert f"::TestChannelWithout_{verb}::" in outcome
