"""Work on orders side by side: one at a time for each VM, in the order they came, several VMs at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from flyinglow.nodectl.crew import Crew

Job = Callable[[], None]


class Orders:
    """A bounded pool of workers with one queue for each VM. A job reports its own failures; it must not raise."""

    def __init__(self, workers: int) -> None:
        self._pool = Crew(workers, "order")
        self._queues: dict[str, deque[Job]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def put(self, key: str, job: Job) -> None:
        """Queue a job behind the others of its VM; jobs with an empty key wait for nobody."""
        with self._lock:
            if self._closed:
                return
            if key and key in self._queues:
                self._queues[key].append(job)
                return
            self._queues.update({key: deque()} if key else {})
            self._give(key, job)

    def stop(self) -> None:
        """Begin nothing any more, and forget what has not begun. Whoever sent it asks again."""
        with self._lock:
            self._closed = True
            for queue in self._queues.values():
                queue.clear()

    def close(self) -> None:
        """Stop, and wait until what has begun is finished."""
        self.stop()
        self._pool.close()

    def _work(self, key: str, job: Job) -> None:
        if not self._closed:
            job()
        if not key:
            return
        with self._lock:
            queue = self._queues[key]
            if queue and not self._closed:
                self._give(key, queue.popleft())  # behind other VMs that wait for a worker
            else:
                del self._queues[key]

    def _give(self, key: str, job: Job) -> None:
        self._pool.submit(lambda: self._work(key, job))
