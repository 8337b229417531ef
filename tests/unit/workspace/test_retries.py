"""Workspaces are looked at again when their time has come, and not after a stop."""

from collections.abc import Iterable

from twisted.internet.task import Clock

from flyinglow.workspace.retries import Retries


def test_what_waits_is_looked_at_in_its_time_and_waits_no_longer() -> None:
    clock, looked = Clock(), list[set[str]]()

    def look(ids: Iterable[str]) -> None:
        looked.append(set(ids))

    retries = Retries(clock, look)
    retries.later(5, ["a", "b"])
    retries.later(9, ["c"])
    assert ["a" in retries, "c" in retries, "d" in retries] == [True, True, False]
    clock.advance(5)
    assert looked == [{"a", "b"}]
    assert ["a" in retries, "c" in retries] == [False, True]
    retries.stop()
    retries.later(1, ["e"])
    clock.advance(100)
    assert looked == [{"a", "b"}]
    assert not clock.getDelayedCalls()
