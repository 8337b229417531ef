"""The store offers what the services ask for: every verb, with the arguments their ports name."""

import inspect
from typing import TYPE_CHECKING

import pytest

from flyinglow.backend.lrm import ports as lrm
from flyinglow.notification import ports as notification
from flyinglow.store import Store
from flyinglow.store.addresses import Addresses
from flyinglow.store.assignments import Assignments
from flyinglow.store.collections import Collections
from flyinglow.store.context import Guests
from flyinglow.store.deliveries import Deliveries
from flyinglow.store.jobs import Jobs
from flyinglow.store.leases import Leases
from flyinglow.store.marks import Marks
from flyinglow.store.nodes import Nodes
from flyinglow.store.outbox import Events
from flyinglow.store.slots import Slots
from flyinglow.store.subscriptions import Subscriptions
from flyinglow.store.trails import Trails
from flyinglow.store.tx import Tx
from flyinglow.store.workspaces import Workspaces
from flyinglow.workspace import ports as core

if TYPE_CHECKING:

    def typed(store: Store, tx: Tx) -> tuple[core.Store, lrm.Ledger, notification.NotificationTx, lrm.LrmTx]:
        """Show mypy that the classes are what the ports say."""
        return store, store, tx, tx


PAIRS = [
    (core.WorkspaceRows, Workspaces),
    (core.CollectionRows, Collections),
    (core.LeaseRows, Leases),
    (core.Outbox, Events),
    (core.NodeRows, Nodes),
    (core.AddressRows, Addresses),
    (core.GuestRows, Guests),
    (core.Store, Store),
    (notification.SubscriptionRows, Subscriptions),
    (notification.DeliveryRows, Deliveries),
    (lrm.JobRows, Jobs),
    (lrm.SlotRows, Slots),
    (lrm.AssignmentRows, Assignments),
    (lrm.TrailRows, Trails),
    (lrm.MarkRows, Marks),
    (lrm.Ledger, Store),
]


@pytest.mark.parametrize(("port", "made"), PAIRS, ids=lambda cls: cls.__name__)
def test_every_verb_is_there(port: type, made: type) -> None:
    verbs = [name for name in vars(port) if not name.startswith("_")]
    assert verbs
    for verb in verbs:
        wanted = inspect.signature(getattr(port, verb)).parameters
        offered = inspect.signature(getattr(made, verb)).parameters
        assert list(wanted) == list(offered)[: len(wanted)]


def test_a_transaction_has_every_repository() -> None:
    ports = (core.Tx, notification.NotificationTx, lrm.LrmTx)
    wanted = {name for port in ports for name in vars(port) if name[0] != "_"}
    assert wanted == {name for name in vars(Tx) if name[0] != "_"} - {"added"}
