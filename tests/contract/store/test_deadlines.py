"""What the sweep asks for: who should have started by now, and which open ensembles are over."""

from datetime import timedelta

from flyinglow.store import Store
from flyinglow.workspace.model import Kind, Selection
from rigs.store import NOON, collection, workspace


def test_those_who_had_to_start_by_then(any_store: Store) -> None:
    times = {1: None, 2: NOON, 3: NOON + timedelta(seconds=1), 4: NOON + timedelta(seconds=2)}
    any_store.call(lambda tx: tx.workspaces.add([workspace(at, start_by=by) for at, by in times.items()]))
    wanted = Selection(start_before=NOON + timedelta(seconds=1))
    assert [row.name for row in any_store.view(lambda tx: tx.workspaces.select(wanted))] == ["w2", "w3"]


def test_ensembles_that_are_open_and_over(any_store: Store) -> None:
    late, soon = NOON + timedelta(seconds=1), NOON
    rows = [
        collection(1, Kind.ENSEMBLE, open=True, ends_at=soon),
        collection(2, Kind.ENSEMBLE, open=True, ends_at=late),
        collection(3, Kind.ENSEMBLE, open=False, ends_at=soon),
        collection(4, Kind.ENSEMBLE, open=True),
        collection(5, Kind.GROUP, open=True, ends_at=soon),
    ]
    any_store.call(lambda tx: tx.collections.add(rows))
    found = any_store.view(lambda tx: tx.collections.select(Kind.ENSEMBLE, open_until=NOON))
    assert [row.name for row in found] == ["c1"]
