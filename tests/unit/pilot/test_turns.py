"""What is done again and again."""

import threading

from flyinglow.pilot.log import Log
from flyinglow.pilot.turns import BackOff, Worker
from rigs.pilot_time import FakeTime


class Counting:
    def __init__(self, *pauses: float | None) -> None:
        self.pauses = list(pauses)
        self.turned = threading.Semaphore(0)

    def once(self) -> float | None:
        self.turned.release()
        return self.pauses.pop(0) if self.pauses else None


def test_it_turns_until_there_is_nothing_to_do_and_again_when_it_is_woken(time: FakeTime) -> None:
    turn = Counting(0.0, 0.0, None)
    worker = Worker("t", turn, Log(-1, time.clock, "t"))
    worker.start()
    assert all(turn.turned.acquire(timeout=120.0) for _ in range(3))
    assert not turn.turned.acquire(timeout=0.05)
    worker.wake()
    assert turn.turned.acquire(timeout=120.0)


def test_a_pause_is_cut_short(time: FakeTime) -> None:
    turn = Counting(3600.0)
    worker = Worker("t", turn, Log(-1, time.clock, "t"))
    worker.start()
    assert turn.turned.acquire(timeout=120.0)
    worker.wake()
    assert turn.turned.acquire(timeout=120.0)


class Kept(Log):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, object]]] = []

    def say(self, event: str, **facts: object) -> None:
        self.said.append((event, facts))


def test_a_fault_is_logged_and_ends_nothing() -> None:
    class Faulty(Counting):
        faults = 1

        def once(self) -> float | None:
            super().once()
            if self.faults:
                self.faults -= 1
                raise ZeroDivisionError("oh")
            return None

    turn, log = Faulty(), Kept()
    worker = Worker("poll", turn, log)
    worker.start()
    assert turn.turned.acquire(timeout=120.0)
    worker.wake()
    assert turn.turned.acquire(timeout=10.0)
    assert log.said == [("fault", {"thread": "poll", "error": "ZeroDivisionError: oh"})]


def test_pauses_grow_and_begin_anew() -> None:
    pause = BackOff()
    assert [pause.failed() for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    pause.worked()
    assert pause.failed() == 0.2
    pause.hurried = True
    assert [pause.failed() for _ in range(4)] == [0.4, 0.8, 1.0, 1.0]
