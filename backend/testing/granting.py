"""Conformance of what grants and looks after: ``acquire``, ``release``, ``reconcile``, ``channel`` and ``close``."""

# ruff: noqa: S101 - to assert is what this module is for, and it never runs under -O
from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from flyinglow.backend.api import Claim, NodeState, Observation, Order, Placed, node_name
from flyinglow.nodectl.errors import TransientError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmStatus

if TYPE_CHECKING:
    from flyinglow.backend.api import NodeChannel
    from flyinglow.backend.testing.bench import Bench
    from flyinglow.nodectl.messages import VmSpec


def claim(bench: Bench, key: str) -> Claim:
    """Admit two small VMs and return the claim that Create would store."""
    request = bench.request(f"{key}-a", f"{key}-b")
    decision = bench.backend.admit(request, bench.view())
    return Claim(key=key, request=request, nodes=decision.nodes if isinstance(decision, Placed) else {})


class GrantingTests:
    """Tests of the verbs with effects on the site as a whole."""

    def spec(self, tag: str) -> VmSpec:
        """Describe a small VM; see ``BackendConformance``."""
        raise NotImplementedError

    def silence(self, bench: Bench, node: str) -> None:
        """Let one node answer nothing; see ``BackendConformance``."""
        raise NotImplementedError

    def test_acquire_gives_every_member_a_node_and_may_be_repeated(self, bench: Bench) -> None:
        """The second answer is the first one, a granted node the admitted one, and there is a channel to each place."""
        wanted = claim(bench, "k1")
        first = bench.run(lambda: bench.backend.acquire(wanted))
        again = bench.run(lambda: bench.backend.acquire(wanted))
        assert first == again
        assert set(first) == {"k1-a", "k1-b"}
        for grant in first.values():
            assert node_name(grant.node.name) in bench.nodes
            assert bench.loop.call(bench.backend.channel, grant.node.name) is not None
            assert set(grant.stamps) <= {"scheduled", "launched", "adapted"}
            assert all(at.tzinfo is not None for at in grant.stamps.values())
        if wanted.nodes:
            assert {member: grant.node.name for member, grant in first.items()} == wanted.nodes
        assert bench.run(lambda: bench.backend.release("k1")) is None

    def test_release_may_be_repeated_and_knows_no_unknown_key(self, bench: Bench) -> None:
        """A clean-up that is retried after a crash must not fail."""
        wanted = claim(bench, "k2")
        bench.run(lambda: bench.backend.acquire(wanted))
        for _ in range(2):
            bench.run(lambda: bench.backend.release("k2"))
        bench.run(lambda: bench.backend.release("never-heard-of"))
        assert set(bench.run(lambda: bench.backend.acquire(claim(bench, "k2")))) == {"k2-a", "k2-b"}
        bench.run(lambda: bench.backend.release("k2"))

    def test_reconcile_sees_every_node_and_what_runs_there(self, bench: Bench, tag: str) -> None:
        """VMs are reported by node, with their status; a node without VMs is there with none."""
        empty = bench.run(lambda: bench.backend.reconcile([]))
        assert isinstance(empty, Observation)
        assert {node: vms for node, vms in empty.vms.items() if vms} == {}
        assert set(empty.vms) == set(bench.nodes)
        bench.create(bench.node, self.spec(tag))
        seen = bench.run(lambda: bench.backend.reconcile([]))
        assert [(vm.tag, vm.status) for vm in seen.vms[bench.node]] == [(tag, VmStatus.CREATED)]
        assert not seen.silent
        bench.send(bench.node, OrderName.DESTROY, tag)

    def test_reconcile_names_a_silent_node_and_sees_the_others(self, bench: Bench, tag: str) -> None:
        """One silent node must not hide the rest, nor be taken for empty."""
        silent, other = sorted(bench.nodes)[:2]
        bench.create(other, self.spec(tag))
        self.silence(bench, silent)
        seen = bench.run(lambda: bench.backend.reconcile([]))
        assert silent not in seen.vms
        assert seen.silent[silent]
        assert [vm.tag for vm in seen.vms[other]] == [tag]
        bench.send(other, OrderName.DESTROY, tag)

    def test_there_is_no_channel_to_an_unknown_node(self, bench: Bench) -> None:
        """UnknownError, at once."""
        with pytest.raises(UnknownError):
            bench.loop.call(bench.backend.channel, "no-such-node")

    def test_channels_are_kept(self, bench: Bench) -> None:
        """Asking twice opens one connection."""
        first = bench.loop.call(bench.backend.channel, bench.node)
        assert bench.loop.call(bench.backend.channel, bench.node) is first

    def test_the_list_of_nodes_is_live(self, bench: Bench) -> None:
        """A node that was taken off the site is unknown from then on, and known again when it came back."""
        node = bench.nodes.pop(bench.node)
        with pytest.raises(UnknownError):
            bench.loop.call(bench.backend.channel, node.name)
        assert node.name not in bench.run(lambda: bench.backend.reconcile([])).vms
        bench.nodes[node.name] = node
        assert isinstance(node, NodeState)
        assert bench.tags(node.name) == set()

    def test_closing_a_channel_leaves_the_vms(self, bench: Bench, tag: str) -> None:
        """The back-end opens another when it needs one, and the VM still runs."""
        bench.create(bench.node, self.spec(tag))
        bench.info(bench.node, OrderName.START, tag, {"paused": False})
        bench.loop.call(bench.loop.call(bench.backend.channel, bench.node).close)
        seen = bench.run(lambda: bench.backend.reconcile([]))
        assert [(vm.tag, vm.status) for vm in seen.vms[bench.node]] == [(tag, VmStatus.RUNNING)]
        bench.send(bench.node, OrderName.DESTROY, tag)

    def test_close_may_be_repeated(self, bench: Bench) -> None:
        """Closing twice is no error, and nothing can be sent afterwards that would hang."""
        channel = bench.loop.call(bench.backend.channel, bench.node)
        for _ in range(2):
            assert bench.run(bench.backend.close) is None
        bench.run(lambda: self._sent_or_refused(channel))

    async def _sent_or_refused(self, channel: NodeChannel) -> None:
        with contextlib.suppress(TransientError):
            await channel.send(Order(OrderName.LIST), 2.0)
