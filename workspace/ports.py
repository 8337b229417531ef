"""What the services need from storage, as Protocols; ``store/`` implements them with one class ``Tx``.

A *transaction* is one function of one argument: ``store.call(fn)`` on a worker thread, ``await store.run(fn)`` on the
reactor. The function may be run again when it met a newer row (StaleError), so it has no other effects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flyinglow.nodectl.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from flyinglow.access.ports import AccountRows, ShareRows
    from flyinglow.backend.api import NodeState, NodeView, PoolView
    from flyinglow.workspace.model import (
        Collection,
        Event,
        GuestReport,
        Kind,
        Lease,
        Nic,
        ResourceKey,
        Selection,
        Workspace,
    )

T = TypeVar("T")


class StaleError(TransientError):
    """Somebody else wrote the row first; read again and decide again."""

    kind = "transient"


class WorkspaceRows(Protocol):
    """Workspaces."""

    def add(self, rows: Sequence[Workspace]) -> None:
        """Insert new rows."""

    def get(self, workspace_id: str) -> Workspace | None:
        """Return the row, destroyed ones too, or None."""

    def select(self, selection: Selection) -> list[Workspace]:
        """Return all rows that match, in id order."""

    def write(self, old: Workspace, new: Workspace) -> Workspace:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""

    def purge(self, ids: Sequence[str]) -> None:
        """Forget rows for good (their retain time is over)."""

    def census(self) -> Mapping[str, int]:
        """Count the rows by state."""


class CollectionRows(Protocol):
    """Groups and ensembles."""

    def add(self, rows: Sequence[Collection]) -> None:
        """Insert new rows."""

    def get(self, key: ResourceKey) -> Collection | None:
        """Return the row, destroyed ones too, or None."""

    def select(
        self,
        kind: Kind,
        *,
        owner: str | None = None,
        ensemble_id: str | None = None,
        open_until: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Collection]:
        """Return rows of one kind in id order (destroyed ones too); ``open_until``: open ones that end by then."""

    def write(self, old: Collection, new: Collection) -> Collection:
        """Replace ``old`` (compared by version) and return the row as stored; raises StaleError."""

    def purge(self, keys: Sequence[ResourceKey]) -> None:
        """Forget rows for good."""


class LeaseRows(Protocol):
    """What each Create handed out, found again by the client's token."""

    def add(self, lease: Lease) -> None:
        """Insert it; raises StaleError when another transaction just used the same (owner, token)."""

    def by_token(self, owner: str, token: str) -> Lease | None:
        """Return the lease that this owner's token made, or None."""

    def get(self, lease_id: str) -> Lease | None:
        """Return the lease or None."""

    def purge(self, lease_ids: Sequence[str]) -> None:
        """Forget leases of which no resource is left."""


class Outbox(Protocol):
    """Events, written in the transaction that made them happen; unsent until they were handed on."""

    def add(self, events: Sequence[Event]) -> None:
        """Insert events; the store tells its listeners after the commit."""

    def unsent(self, limit: int) -> list[Event]:
        """Return events not handed on yet, oldest row first (never by a cursor: commits are not in id order)."""

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Mark events as handed on."""

    def latest(self, key: ResourceKey, topic: str) -> Event | None:
        """Return the newest event of a resource on one topic."""

    def latest_of(self, owner: str, topic: str) -> Event | None:
        """Return the newest event of anything of one owner on one topic."""

    def purge(self, before: datetime) -> int:
        """Forget events handed on and delivered before this time; return how many."""


class NodeRows(Protocol):
    """Nodes and what is held on them. Free = total - sum of holds: derived, so it cannot drift."""

    def put(self, node: NodeState) -> None:
        """Insert or replace a node."""

    def remove(self, name: str) -> None:
        """Remove it; raises ConflictError while anything is held on it, UnknownError when there is none."""

    def all(self) -> list[NodeState]:
        """Return every node."""

    def view(self) -> tuple[NodeView, ...]:
        """Return every node with what is free on it; locks the rows for the rest of a writing transaction."""

    def hold(self, node: str, workspace_id: str, *, memory_mb: int, cpus: int, disk_mb: int) -> None:
        """Hold capacity for a workspace."""

    def free(self, workspace_ids: Sequence[str]) -> None:
        """Give back what these workspaces held; nothing held is no error."""


class AddressRows(Protocol):
    """Address pools: IP, MAC and host name per network, leased in the transaction that accepts a workspace."""

    def define(self, network: str, pool: Sequence[Nic]) -> None:
        """Make the pool of a network exactly these; an address on lease stays until it is given back."""

    def view(self) -> Mapping[str, PoolView]:
        """Return, by network, how many addresses there are and how many are free."""

    def lease(self, network: str, workspace_id: str, nic_name: str) -> Nic:
        """Lease the first free address; raises ExhaustedError with figures."""

    def give_back(self, workspace_ids: Sequence[str]) -> None:
        """Give back every address of these workspaces; none on lease is no error."""


class GuestRows(Protocol):
    """What guests reported through the context endpoint, and the hashes of the tokens by which they are known."""

    def invite(self, tokens: Mapping[str, str]) -> None:
        """Note the hash of each workspace's token, by workspace id; the same again changes nothing."""

    def known_by(self, token_hash: str) -> str | None:
        """Return the id of the workspace whose token this is the hash of, or None."""

    def report(self, report: GuestReport) -> None:
        """Write down what a guest that was invited reported, in place of what it reported before."""

    def reports(self, workspace_ids: Sequence[str]) -> Mapping[str, GuestReport]:
        """Return, by workspace id, the reports of those that have reported."""

    def purge(self, workspace_ids: Sequence[str]) -> None:
        """Forget tokens and reports for good; none there is no error."""


class MarkRows(Protocol):
    """Small durable facts by name."""

    def get(self, name: str) -> str | None:
        """Return it or None."""

    def put(self, name: str, value: str) -> None:
        """Set it."""


class Tx(Protocol):
    """One transaction over all that the workspace core needs."""

    @property
    def workspaces(self) -> WorkspaceRows:
        """Return the workspaces."""

    @property
    def collections(self) -> CollectionRows:
        """Return the groups and ensembles."""

    @property
    def leases(self) -> LeaseRows:
        """Return what each Create handed out."""

    @property
    def outbox(self) -> Outbox:
        """Return the events."""

    @property
    def nodes(self) -> NodeRows:
        """Return the nodes and what is held on them."""

    @property
    def addresses(self) -> AddressRows:
        """Return the address pools."""

    @property
    def marks(self) -> MarkRows:
        """Return the marks."""

    @property
    def guests(self) -> GuestRows:
        """Return what guests reported."""

    @property
    def shares(self) -> ShareRows:
        """Return what is shared with whom."""

    @property
    def accounts(self) -> AccountRows:
        """Return what owners have and have used."""


class Store(Protocol):
    """The only road to storage."""

    def call(self, fn: Callable[[Any], T], *, step: str | None = None) -> T:
        """Run one writing transaction on this thread; blocks. Retries on StaleError, then raises it.

        ``step`` names it among the committed steps; the function's qualified name does otherwise.
        """

    def view(self, fn: Callable[[Any], T]) -> T:
        """Run one read-only transaction on this thread; blocks."""

    def run(self, fn: Callable[[Any], T], *, step: str | None = None) -> Awaitable[T]:
        """Run one writing transaction on the store's thread pool, from the reactor."""

    def read(self, fn: Callable[[Any], T]) -> Awaitable[T]:
        """Run one read-only transaction on the store's thread pool, from the reactor."""


class Now(Protocol):
    """The clock on the wall, as an aware UTC datetime."""

    def __call__(self) -> datetime:
        """Return the current time."""
