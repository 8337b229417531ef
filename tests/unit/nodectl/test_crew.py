"""Work side by side: all of it is done, as many at once as there are workers, and failures come out."""

from __future__ import annotations

import threading

import pytest

from flyinglow.nodectl.crew import Crew, side_by_side


def test_workers_meet_and_answers_keep_their_order() -> None:
    gate = threading.Barrier(3)

    def work(number: int) -> int:
        gate.wait(10)
        return number * 2

    assert side_by_side(work, [1, 2, 3, 4, 5, 6], 3) == [2, 4, 6, 8, 10, 12]
    assert side_by_side(work, [], 3) == []


def test_a_failure_is_raised_after_all_was_done() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        if number == 1:
            raise ValueError("one")

    with pytest.raises(ValueError, match="one"):
        side_by_side(work, [1, 2, 3], 1)
    assert done == [1, 2, 3]


def test_a_closed_crew_has_done_all_and_takes_no_more() -> None:
    crew, done = Crew(2, "test"), []
    for number in range(20):
        crew.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    crew.close()
    assert sorted(done) == list(range(20))
    with pytest.raises(RuntimeError):
        crew.submit(list)
