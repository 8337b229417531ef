"""The simulated scheduler under a clock: its queue, its notice and grace, and the trouble it can be told to make."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.backend.lrm.api import JobRequest, JobView
from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.simulated.nodes import Machine, fitting
from flyinglow.backend.lrm.simulated.scheduler import Hooks, SimulatedLrm
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import DeniedError, ExhaustedError, TransientError

T = TypeVar("T")
SMALL, LARGE = Machine(1000, 1), Machine(4000, 4)


class Desk:
    """A scheduler of three nodes, its clock, and what its hooks were told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lrm = SimulatedLrm(self.clock, {"a": SMALL, "b": SMALL, "c": LARGE}, grace=10)
        self.told: list[Any] = []
        self.lrm.hooks = Hooks(
            start=lambda request, lrm_id, ranks: self.told.append(("start", lrm_id, request.tag, ranks)),
            notice=lambda lrm_id, seconds: self.told.append(("notice", lrm_id, seconds)),
            kill=lambda lrm_id: self.told.append(("kill", lrm_id)),
        )

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Carry a verb out at once."""
        done = Deferred.fromCoroutine(coroutine)
        results: list[Any] = []
        done.addBoth(results.append)
        self.clock.advance(0)
        assert results, "it still waits"
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        value: T = results[0]
        return value

    def submit(self, tag: str, nodes: int, memory: int = 500, seconds: int = 100) -> str:
        """Submit a job of one size."""
        component = Component(nodes=nodes, memory_mb=memory, cpus=1)
        lrm_id = self.do(self.lrm.submit(JobRequest(tag=tag, components=(component,), seconds=seconds)))
        self.clock.advance(0)
        return lrm_id

    def view(self, lrm_id: str) -> JobView:
        """Return a job as it is listed."""
        return next(view for view in self.do(self.lrm.list()) if view.lrm_id == lrm_id)


@pytest.fixture
def desk() -> Desk:
    """A scheduler without jobs."""
    return Desk()


def test_jobs_start_in_their_order(desk: Desk) -> None:
    """The second waits for nodes, the third for the second although it would fit; the first in line has an estimate."""
    first, second, third = desk.submit("one", 2), desk.submit("two", 2), desk.submit("three", 1)
    assert desk.told == [("start", first, "one", [(0, "a"), (1, "b")])]
    assert (desk.view(second).reason, desk.view(second).starts_in) == ("Resources", 100)
    assert (desk.view(third).reason, desk.view(third).starts_in) == ("Priority", None)
    desk.lrm.finish(first)
    desk.clock.advance(0)
    assert [words[2] for words in desk.told if words[0] == "start"] == ["one", "two", "three"]


def test_the_limit_gives_notice_and_kills(desk: Desk) -> None:
    """Notice at the limit, the kill after the grace, unless the pilots ended before."""
    lrm_id = desk.submit("one", 1)
    desk.clock.advance(99)
    assert desk.view(lrm_id).left == 1
    desk.clock.advance(1)
    assert desk.told[-1] == ("notice", lrm_id, 10)
    assert desk.view(lrm_id).says is LrmSays.ENDING
    desk.clock.advance(10)
    assert desk.told[-1] == ("kill", lrm_id)
    assert desk.view(lrm_id).native == "TIMEOUT"


def test_pilots_that_end_within_the_grace_are_not_killed(desk: Desk) -> None:
    """A cancelled job is over as soon as they are."""
    lrm_id = desk.submit("one", 1)
    desk.do(desk.lrm.cancel(lrm_id))
    desk.lrm.finish(lrm_id)
    desk.clock.advance(60)
    assert ("kill", lrm_id) not in desk.told
    assert desk.view(lrm_id).native == "CANCELLED"


def test_a_requeued_job_starts_anew_under_its_id(desk: Desk) -> None:
    """It counts how often."""
    lrm_id = desk.submit("one", 1)
    desk.lrm.requeue(lrm_id)
    assert desk.view(lrm_id).says is LrmSays.WAITING
    desk.clock.advance(0)
    assert desk.view(lrm_id).restarts == 1
    assert [words[0] for words in desk.told] == ["start", "kill", "start"]


def test_a_failed_node_takes_its_job_along(desk: Desk) -> None:
    """Without notice, and it gets no job until it is back."""
    lrm_id = desk.submit("one", 1)
    desk.lrm.fail_node("a")
    assert desk.view(lrm_id).native == "NODE_FAIL"
    assert desk.told[-1] == ("kill", lrm_id)
    waits = desk.submit("two", 3)
    assert desk.view(waits).says is LrmSays.WAITING
    desk.lrm.restore_node("a")
    assert desk.view(waits).says is LrmSays.RUNNING


def test_a_job_vanishes(desk: Desk) -> None:
    """It is not listed any more."""
    lrm_id = desk.submit("one", 1)
    desk.lrm.vanish(lrm_id)
    assert desk.do(desk.lrm.list()) == ()


def test_it_makes_trouble_as_told(desk: Desk) -> None:
    """Down, refusing, slow, and taking jobs without an answer."""
    desk.lrm.trouble.down = True
    with pytest.raises(TransientError):
        desk.do(desk.lrm.list())
    desk.lrm.trouble.down = False
    desk.lrm.trouble.refuse = ExhaustedError("full")
    with pytest.raises(ExhaustedError):
        desk.submit("one", 1)
    desk.lrm.trouble.refuse = None
    desk.lrm.trouble.forgets_to_answer = True
    with pytest.raises(TransientError):
        desk.submit("two", 1)
    assert [view.tag for view in desk.do(desk.lrm.list())] == ["two"]
    desk.lrm.trouble.slow = 5
    answer: Deferred[Any] = Deferred.fromCoroutine(desk.lrm.list())
    desk.clock.advance(4)
    assert not answer.called
    desk.clock.advance(1)
    assert answer.called


def test_an_operator_extends(desk: Desk) -> None:
    """The limit counts from the start; an ordinary user may not."""
    lrm_id = desk.submit("one", 1)
    with pytest.raises(DeniedError):
        desk.do(desk.lrm.extend(lrm_id, 500))
    desk.lrm.trouble.grants_extension = True
    desk.clock.advance(40)
    desk.do(desk.lrm.extend(lrm_id, 500))
    assert desk.view(lrm_id).left == 460


def test_small_ones_leave_the_large_node_to_the_large() -> None:
    """And ranks still go through the components in their order."""
    sizes = (Component(nodes=2, memory_mb=500, cpus=1), Component(nodes=1, memory_mb=3000, cpus=4))
    assert fitting(sizes, {"c": LARGE, "a": SMALL, "b": SMALL}) == ("a", "b", "c")
    assert fitting(sizes[::-1], {"c": LARGE, "a": SMALL, "b": SMALL}) == ("c", "a", "b")
    assert fitting((Component(nodes=4, memory_mb=1, cpus=1),), {"a": SMALL}) == ()
