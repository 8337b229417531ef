"""One transaction: every repository over one connection."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from flyinglow.store.accounts import Accounts
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
from flyinglow.store.pull_points import PullPoints
from flyinglow.store.shares import Shares
from flyinglow.store.slots import Slots
from flyinglow.store.subscriptions import Subscriptions
from flyinglow.store.trails import Trails
from flyinglow.store.workspaces import Workspaces

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from flyinglow.workspace.model import Event


class Tx:
    """Implements ``notification.ports.NotificationTx`` and ``backend.lrm.ports.LrmTx``.

    ``writing`` says whether rows read to decide on are locked.
    """

    def __init__(self, connection: Connection, *, writing: bool) -> None:
        self._connection = connection
        self._writing = writing

    @cached_property
    def workspaces(self) -> Workspaces:
        """The workspaces."""
        return Workspaces(self._connection)

    @cached_property
    def collections(self) -> Collections:
        """The groups and ensembles."""
        return Collections(self._connection, writing=self._writing)

    @cached_property
    def leases(self) -> Leases:
        """The leases."""
        return Leases(self._connection)

    @cached_property
    def outbox(self) -> Events:
        """The events."""
        return Events(self._connection)

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes and what is held on them."""
        return Nodes(self._connection, writing=self._writing)

    @cached_property
    def addresses(self) -> Addresses:
        """The address pools."""
        return Addresses(self._connection, writing=self._writing)

    @cached_property
    def guests(self) -> Guests:
        """What guests reported."""
        return Guests(self._connection)

    @cached_property
    def shares(self) -> Shares:
        """What is shared with whom."""
        return Shares(self._connection, writing=self._writing)

    @cached_property
    def accounts(self) -> Accounts:
        """What owners have and have used."""
        return Accounts(self._connection, writing=self._writing)

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """The subscriptions."""
        return Subscriptions(self._connection, writing=self._writing)

    @cached_property
    def deliveries(self) -> Deliveries:
        """The deliveries under way."""
        return Deliveries(self._connection)

    @cached_property
    def pull_points(self) -> PullPoints:
        """The pull points."""
        return PullPoints(self._connection, writing=self._writing)

    @cached_property
    def jobs(self) -> Jobs:
        """The pilot jobs."""
        return Jobs(self._connection)

    @cached_property
    def slots(self) -> Slots:
        """The slots."""
        return Slots(self._connection)

    @cached_property
    def assignments(self) -> Assignments:
        """Which member is on which slot."""
        return Assignments(self._connection)

    @cached_property
    def trails(self) -> Trails:
        """The pilots' reports."""
        return Trails(self._connection)

    @cached_property
    def marks(self) -> Marks:
        """Small durable facts by name."""
        return Marks(self._connection)

    @property
    def added(self) -> tuple[Event, ...]:
        """The events this transaction has added, with their ids."""
        return tuple(self.outbox.added) if "outbox" in self.__dict__ else ()
