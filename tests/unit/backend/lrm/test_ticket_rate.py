"""Signing tickets is a process each: few at once, and one for each slot."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.backend.lrm.intake import tickets
from flyinglow.backend.lrm.model import Slot
from flyinglow.nodectl.errors import TransientError
from rigs.intake import noon


def _slot(rank: int) -> Slot:
    return Slot(job="j0000001", rank=rank, memory_mb=672, cpus=2, node="n7", epoch=3)


def test_few_are_signed_at_once_and_one_for_each_slot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running: list[Deferred[Any]] = []

    def output_of(*_: Any, **__: Any) -> Deferred[Any]:
        running.append(Deferred())
        return running[-1]

    monkeypatch.setattr(tickets, "output_of", output_of)
    (tmp_path / "key").touch()
    subject = tickets.Tickets(
        str(tmp_path / "key"), ("margin", 64), reactor=None, now=noon, serial=iter("abcdefghij").__next__
    )
    results: list[Any] = []

    def ask(rank: int) -> None:
        Deferred.fromCoroutine(subject.ticket(_slot(rank))).addBoth(results.append)

    for rank in range(6):
        ask(rank)
    assert (len(running), results) == (4, [])
    for rank in (0, 5):  # one that is signed, and one that waits for it
        ask(rank)
        assert results.pop().check(TransientError)
    running[0].errback(TransientError("ssh-keygen"))
    assert results.pop().check(TransientError)
    assert len(running) == 5
    ask(0)
    for _ in range(2):
        running.pop(1).errback(TransientError("ssh-keygen"))
    assert len(running) == 5, "both that waited are signed now"
