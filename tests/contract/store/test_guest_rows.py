"""Tokens and reports of guests, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flyinglow.store import Store
from flyinglow.workspace.model import GuestReport, GuestStatus
from flyinglow.workspace.ports import StaleError
from rigs.store import NOON, workspace


def report(number: int, **changes: object) -> GuestReport:
    row = GuestReport(workspace_id=workspace(number).id, status=GuestStatus.OK, at=NOON)
    return replace(row, **changes)  # type: ignore[arg-type]


def test_a_guest_is_known_by_its_hash_and_no_other(any_store: Store) -> None:
    first, second = workspace(1).id, workspace(2).id
    any_store.call(lambda tx: tx.guests.invite({first: "a" * 64, second: "b" * 64}))
    any_store.call(lambda tx: tx.guests.invite({first: "a" * 64}))
    known = any_store.view(lambda tx: [tx.guests.known_by(each * 64) for each in "abc"])
    assert known == [first, second, None]


def test_the_last_report_counts(any_store: Store) -> None:
    row = workspace(1)
    any_store.call(lambda tx: tx.guests.invite({row.id: "a" * 64}))
    assert any_store.view(lambda tx: tx.guests.reports([row.id])) == {}
    said = report(1, message="größer \\x00 \ud800", values={"key": "ssh-rsa é", "b": "2"})
    any_store.call(lambda tx: tx.guests.report(said))
    (kept,) = any_store.view(lambda tx: tx.guests.reports([row.id])).values()
    assert (kept.status, kept.values, kept.at) == (GuestStatus.OK, said.values, NOON)
    assert kept.message.startswith("größer")
    again = report(1, status=GuestStatus.ERROR, message="no", at=NOON + timedelta(seconds=5))
    any_store.call(lambda tx: tx.guests.report(again))
    assert any_store.view(lambda tx: tx.guests.reports([row.id, workspace(2).id])) == {row.id: again}
    any_store.call(lambda tx: tx.guests.invite({row.id: "a" * 64}))
    assert any_store.view(lambda tx: tx.guests.reports([row.id])) == {row.id: again}, (
        "an order sent again forgets nothing"
    )


def test_forgetting_takes_token_and_report(any_store: Store) -> None:
    row = workspace(1)
    any_store.call(lambda tx: tx.guests.invite({row.id: "a" * 64}))
    any_store.call(lambda tx: tx.guests.report(report(1)))
    any_store.call(lambda tx: tx.guests.purge([row.id, workspace(2).id]))
    assert any_store.view(lambda tx: (tx.guests.known_by("a" * 64), tx.guests.reports([row.id]))) == (None, {})
    with pytest.raises(StaleError):
        any_store.call(lambda tx: tx.guests.report(report(1)))


def test_a_row_keeps_how_long_it_waits(any_store: Store) -> None:
    row = workspace(1, ready_within=300, ready_by=NOON + timedelta(seconds=300))
    any_store.call(lambda tx: tx.workspaces.add([row]))
    kept = any_store.view(lambda tx: tx.workspaces.get(row.id))
    assert (kept.ready_within, kept.ready_by) == (row.ready_within, row.ready_by)
