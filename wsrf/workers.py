"""The threads that calls run on, renewed now and then.

lxml keeps every element and attribute name that a thread ever parsed for as long as the thread lives. A caller who
makes up new names could fill the memory so; a thread that ends gives them back. So the pool counts what its threads
were given to parse, and after a certain amount lets each of them end when it is idle; new ones start on demand.
"""

from __future__ import annotations

import gc

from twisted.python.threadpool import ThreadPool

RENEW_AFTER = 16 << 20


class WorkerPool(ThreadPool):
    """A pool of at most ``size`` threads. ``spend`` belongs to the reactor's thread."""

    def __init__(self, size: int, renew_after: int = RENEW_AFTER) -> None:
        super().__init__(size, size, name="soap")
        self._renew_after = renew_after
        self._spent = 0

    def spend(self, size: int) -> None:
        """Note that a message of this many bytes is handed to the pool."""
        self._spent += size
        if self._spent < self._renew_after:
            return
        self._spent = 0
        for _ in range(self.workers):
            self.stopAWorker()
        self.threads[:] = [thread for thread in self.threads if thread.is_alive()]
        gc.collect()  # the parsers of the threads that ended last time are cycles


def worker_pool(size: int = 4) -> WorkerPool:
    """Return the pool that calls run on, not started yet. More threads than twice the cores only cost."""
    return WorkerPool(size)
