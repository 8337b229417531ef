"""A few threads for work side by side.

The standard library's ``concurrent.futures`` does the same and imports ``logging`` and more for it, which is a tenth of
what an agent takes to start, and leases wait for agents.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Thing = TypeVar("Thing")
Found = TypeVar("Found")


class Crew:
    """At most so many threads, each begun when there is work and nobody idle. A job must not raise."""

    def __init__(self, workers: int, name: str) -> None:
        self._workers = workers
        self._name = name
        self._threads: list[threading.Thread] = []
        self._jobs: deque[Callable[[], Any]] = deque()
        self._change = threading.Condition()
        self._idle = 0
        self._closed = False

    def submit(self, job: Callable[[], Any]) -> None:
        """Have a job done, behind those that wait. Raises RuntimeError after ``close``."""
        with self._change:
            if self._closed:
                raise RuntimeError("this crew takes no more work")
            self._jobs.append(job)
            if self._idle >= len(self._jobs) or len(self._threads) >= self._workers:
                self._change.notify()
                return
            thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}")
            self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Take no more work and wait until all that was taken is done."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                self._idle += 1
                self._change.wait_for(lambda: self._jobs or self._closed)
                self._idle -= 1
                if not self._jobs:
                    return
                job = self._jobs.popleft()
            job()


def side_by_side(work: Callable[[Thing], Found], things: Sequence[Thing], workers: int) -> list[Found]:
    """Return what ``work`` makes of each thing, in their order. Raises what the first of them raised, after all."""
    found: dict[int, Found] = {}
    failed: dict[int, Exception] = {}

    def one(place: int) -> None:
        try:
            found[place] = work(things[place])
        except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
            failed[place] = error

    crew = Crew(workers, "side")
    for place in range(len(things)):
        crew.submit(lambda place=place: one(place))  # type: ignore[misc]
    crew.close()
    if failed:
        raise failed[min(failed)]
    return [found[place] for place in range(len(things))]
