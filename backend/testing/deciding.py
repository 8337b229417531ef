"""Conformance of what decides: ``limits`` and ``admit``, which look at nothing but their arguments."""

# ruff: noqa: S101 - to assert is what this module is for, and it never runs under -O
from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from flyinglow.backend.api import Limits, Never, NotNow, Placed, Queued, Request, View

if TYPE_CHECKING:
    from flyinglow.backend.testing.bench import Bench


class DecidingTests:
    """Tests of the pure verbs."""

    def test_limits_are_what_the_largest_node_has_or_more_exact(self, bench: Bench) -> None:
        """A VM as large as the limit says must not be refused for good."""
        limits = bench.backend.limits(bench.view())
        assert isinstance(limits, Limits)
        assert limits.max_members >= 1
        assert 0 < limits.max_memory_mb <= max(node.memory_mb for node in bench.nodes.values())
        decision = bench.backend.admit(bench.request("a", memory_mb=limits.max_memory_mb), bench.view())
        assert not isinstance(decision, Never)

    def test_what_fits_is_granted_to_all_members(self, bench: Bench) -> None:
        """Placed names a node of the site for every member; Queued gives its reason."""
        decision = bench.backend.admit(bench.request("a", "b"), bench.view())
        assert isinstance(decision, (Placed, Queued))
        if isinstance(decision, Placed):
            assert set(decision.nodes) == {"a", "b"}
            assert set(decision.nodes.values()) <= set(bench.nodes)
        else:
            assert decision.reason

    def test_the_same_question_has_the_same_answer_and_changes_nothing(self, bench: Bench) -> None:
        """``admit`` is pure: it may be asked again, and nothing is held by it."""
        largest = max(node.memory_mb for node in bench.nodes.values())
        request, view = bench.request("a", memory_mb=largest), bench.view()
        before = copy.deepcopy((request, view))
        answers = [bench.backend.admit(request, view) for _ in range(5)]
        assert all(answer == answers[0] for answer in answers)
        assert isinstance(answers[0], (Placed, Queued))
        assert (request, view) == before

    def test_what_no_node_has_is_never_granted(self, bench: Bench) -> None:
        """Never, with the figures behind it, so that a client knows what to ask for instead."""
        too_much = max(node.memory_mb for node in bench.nodes.values()) + 1
        decision = bench.backend.admit(bench.request("a", memory_mb=too_much), bench.view())
        assert isinstance(decision, Never)
        assert decision.message
        assert too_much in decision.figures.values()

    def test_a_full_site_is_not_now_and_not_never(self, bench: Bench) -> None:
        """When everything is taken, the answer is NotNow with figures, or a place in the queue."""
        view = bench.view()
        full = tuple(type(n)(node=n.node, free_memory_mb=0, free_cpus=0, free_disk_mb=0) for n in view.nodes)
        decision = bench.backend.admit(bench.request("a"), View(nodes=full, pools=view.pools))
        assert isinstance(decision, (NotNow, Queued))
        if isinstance(decision, NotNow):
            assert decision.figures["would_fit"] == 0

    def test_all_or_nothing(self, bench: Bench) -> None:
        """One member that cannot be had refuses the whole request."""
        too_much = max(node.memory_mb for node in bench.nodes.values()) + 1
        small, large = bench.request("a").demands, bench.request("b", memory_mb=too_much).demands
        decision = bench.backend.admit(Request(demands=small + large, duration=600), bench.view())
        assert isinstance(decision, Never)
