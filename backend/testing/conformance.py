"""The conformance suite: what every back-end must do, as a pytest class that third parties subclass.

    class TestMine(BackendConformance):
        def create(self, settings): return mine.create(settings)
        def nodes(self, folder): return {"n1": NodeState(name="n1", ...), "n2": ...}
        def silence(self, bench, node): ...

Every verb of ``Backend`` and of its ``NodeChannel`` is exercised for real. A verb that raises NotImplementedError, or
answers nothing where a value is promised, fails.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from flyinglow.backend.api import Settings
from flyinglow.backend.testing.bench import Bench
from flyinglow.backend.testing.deciding import DecidingTests
from flyinglow.backend.testing.granting import GrantingTests
from flyinglow.backend.testing.loop import ReactorThread
from flyinglow.backend.testing.ordering import OrderingTests
from flyinglow.nodectl.messages import VmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from flyinglow.backend.api import Backend, NodeState


class BackendConformance(DecidingTests, GrantingTests, OrderingTests):
    """Subclass it, override ``create``, ``nodes`` and ``silence``, and where needed the rest; run by pytest."""

    seconds: float = 20.0
    """How long one order may take."""

    def create(self, settings: Settings) -> Backend:
        """Make the back-end under test; called on the reactor."""
        raise NotImplementedError("say which back-end is tested")

    def nodes(self, folder: Path) -> Mapping[str, NodeState]:
        """Describe at least two empty nodes with a network in common; ``folder`` is empty and private."""
        raise NotImplementedError("describe two nodes")

    def silence(self, bench: Bench, node: str) -> None:
        """Let one node answer nothing from now on."""
        raise NotImplementedError("say how a node is silenced")

    def options(self, folder: Path) -> Mapping[str, Any]:
        """Return the table ``[backend]`` of the configuration."""
        return {}

    def spec(self, tag: str) -> VmSpec:
        """Describe a small VM that the nodes can create without any image of their own."""
        return VmSpec(tag=tag, name=f"vm-{tag}", memory_mb=64, cpus=1)

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        """Set up the back-end on its site; closed afterwards, with no VM left on nodes that still answer."""
        loop = ReactorThread.get()
        nodes = dict(self.nodes(tmp_path))
        news: list[Any] = []
        settings = Settings(
            reactor=loop.reactor,
            nodes=nodes,
            options=self.options(tmp_path),
            news=lambda node, info: news.append((node, info)),
        )
        bench = Bench(loop.call(self.create, settings), nodes, loop, self.seconds, news)
        yield bench
        loop.run(bench.backend.close, self.seconds)

    @pytest.fixture
    def tag(self) -> str:
        """Return a tag that no VM has."""
        return "t" + secrets.token_hex(4)[:7]
