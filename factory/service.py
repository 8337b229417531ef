"""The factory of the paper's section 2.1: what is on offer, and the one request that leases workspaces.

Create is all or nothing: one transaction decides, holds capacity, leases addresses and writes every row and event, so
every EPR goes back at once (design, section 5). A client token makes it idempotent, in parallel too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime

from flyinglow.access.decision import Deny, decide
from flyinglow.access.identity import Identity
from flyinglow.backend.api import Backend, Decision, Placed, Queued, View
from flyinglow.factory.addressing import NetworkTerms
from flyinglow.factory.checks import check
from flyinglow.factory.digest import digest
from flyinglow.factory.listing import Filter, Page, page
from flyinglow.factory.model import Created, CreateRequest, Outlook, Valid
from flyinglow.factory.offers import Offers, offers
from flyinglow.factory.plan import Desk, Plan, plan
from flyinglow.factory.rehearsal import check_addresses, granted, outlook, validity
from flyinglow.factory.rows import events_of, lease_of, placed
from flyinglow.factory.uris import UriPolicy
from flyinglow.factory.wishes import wish_of
from flyinglow.nodectl.errors import ConflictError, DeniedError, InvalidError
from flyinglow.notification.drafting import Draft
from flyinglow.notification.ports import NotificationTx
from flyinglow.notification.service import SubscriptionService
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.workspace import membership
from flyinglow.workspace.catalogue import Catalogue
from flyinglow.workspace.model import (
    Collection,
    Kind,
    Lease,
    ResourceKey,
    Selection,
)
from flyinglow.workspace.ports import Now, Store, Tx
from flyinglow.workspace.quotas import Quotas, Standing
from flyinglow.workspace.terms import Terms
from flyinglow.workspace.visibility import find_collection

LIST_MAX = 1000


class FactoryService:
    """Offers and creates. Blocking; called on a worker thread; every verb is one transaction."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        *,
        now: Now,
        terms: Terms,
        catalogue: Catalogue,
        new_id: Callable[[], str],
        new_tag: Callable[[], str],
        subscriptions: SubscriptionService,
        schedule: str = "immediate",
        uris: UriPolicy | None = None,
        networks: Mapping[str, NetworkTerms] | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self._store = store
        self._backend = backend
        self._now = now
        self._terms = terms
        self._catalogue = catalogue
        self._new_id = new_id
        self._new_tag = new_tag
        self._subscriptions = subscriptions
        self._schedule = schedule
        self._uris = uris or UriPolicy()
        self._networks = networks or {}
        self._quotas = quotas or Quotas(now)

    def create(self, caller: Identity, request: CreateRequest, watch: SubscribeRequest | None = None) -> Created:
        """Lease all that ``request`` asks for, or nothing; subscribe ``watch`` to all of it before its first event.

        Raises InvalidError, DeniedError, NeverError or ExhaustedError (with figures of what is short and how many
        workspaces would fit), UnknownError for an ensemble to join that is not there, ConflictError for one that is
        no longer open; and for ``watch`` the faults of WS-BaseNotification 4.2.
        """
        _allow(caller)
        draft = None if watch is None else self._subscriptions.draft(caller, watch)
        return self._store.call(lambda tx: self._watched(tx, caller, request, draft))

    def _watched(self, tx: NotificationTx, caller: Identity, request: CreateRequest, draft: Draft | None) -> Created:
        known = tx.leases.by_token(caller.name, request.token) if request.token else None
        if known is not None:
            again = _again(tx, known, digest(request))
            return again if draft is None else replace(again, subscriptions=_kept(tx, caller, again, draft))
        created = self._create(tx, caller, request)
        if draft is None:
            return created
        keys = [key for _, key in created.resources]
        return replace(created, subscriptions=self._subscriptions.attach(tx, caller, keys, draft))

    def validate(
        self, caller: Identity, request: CreateRequest, watch: SubscribeRequest | None = None
    ) -> Valid | Awaitable[Valid]:
        """Say what ``create`` would do now, or raise what it would raise; takes and writes nothing.

        An awaitable (to be awaited on the reactor) where the back-end has a dry run of its own to ask.
        """
        planned, decision = self._rehearsed(caller, request, watch)
        return validity(self._backend, planned, decision)

    def estimate(self, caller: Identity, request: CreateRequest) -> Outlook | Awaitable[Outlook]:
        """Say when a request would start, and why not at once; raises as ``create``, but not for "not now"."""
        planned, decision = self._rehearsed(caller, request, None)
        return outlook(self._backend, planned, decision, self._now)

    def _rehearsed(
        self, caller: Identity, request: CreateRequest, watch: SubscribeRequest | None
    ) -> tuple[Plan, Decision]:
        """Do all that ``create`` does before it writes; return the plan and the back-end's decision."""
        _allow(caller)
        if watch is not None:
            self._subscriptions.draft(caller, watch)

        def read(tx: Tx) -> tuple[Plan, Decision]:
            known = tx.leases.by_token(caller.name, request.token) if request.token else None
            if known is not None:
                _again(tx, known, digest(request))
            view = _view(tx)
            planned = self._plan(tx, caller, request, view)
            self._quotas.admit(tx, caller, wish_of(planned), enter=False)
            decision = self._backend.admit(planned.ask, view)
            if isinstance(decision, Queued | Placed):
                check_addresses(planned, view)
            return planned, decision

        return self._store.view(read)

    def list(
        self,
        caller: Identity,
        *,
        after: str | None = None,
        limit: int = 100,
        kind: Kind | None = None,
        state: str | None = None,
        everybody: bool = False,
    ) -> Page:
        """Return one page of the caller's own resources in the order of their ids; ``Page.after`` asks for the next.

        ``everybody``: of all owners' resources. Raises DeniedError for a caller who may not read them.
        """
        if not 1 <= limit <= LIST_MAX:
            raise InvalidError(f"a list page has 1 to {LIST_MAX} entries")
        if everybody and not (caller.admin or caller.observer):
            raise DeniedError("only observers and administrators may list what others lease")
        wanted = Filter(owner=None if everybody else caller.name, kind=kind, state=state)
        return self._store.view(lambda tx: page(tx, wanted, after, limit))

    def offers(self, caller: Identity) -> Offers:
        """Return what the site offers, and what is free, now."""

        def read(tx: Tx) -> Offers:
            view = _view(tx)
            limits = self._backend.limits(view)
            return offers(view, limits, self._terms, self._catalogue, self._schedule, self._uris.schemes)

        return self._store.view(read)

    def standing(self, caller: Identity) -> Standing | None:
        """Return the caller's own policy, and what he has used and reserved of it; None when nothing limits him."""
        return self._store.view(lambda tx: self._quotas.standing(tx, caller))

    @property
    def now(self) -> Now:
        """The service's clock (CurrentTime)."""
        return self._now

    def _create(self, tx: Tx, caller: Identity, request: CreateRequest) -> Created:
        mark = digest(request) if request.token else ""  # without a token it cannot be repeated
        view = _view(tx)
        planned = self._plan(tx, caller, request, view)
        self._quotas.admit(tx, caller, wish_of(planned), enter=True)
        now = planned.workspaces[0].accepted_at
        if request.join:
            # writes the ensemble, so that a Done in parallel and this one cannot both succeed
            membership.joined(tx, request.join, planned.workspaces, now)
        return self._commit(tx, planned, view, lease_of(planned, caller, request, mark, now), now)

    def _plan(self, tx: Tx, caller: Identity, request: CreateRequest, view: View) -> Plan:
        """Check the request and lay out its rows; reads only."""
        limits = self._backend.limits(view)
        check(
            request, terms=self._terms, limits=limits, catalogue=self._catalogue, networks=view.pools, policy=self._uris
        )
        now = self._now()
        if request.start_by is not None and request.start_by <= now:
            raise InvalidError("the time to start by has passed already")
        joined = _joined(tx, caller, request) if request.join else None
        tags = self._tags(sum(part.count for part in request.parts))
        desk = Desk(
            now=now, terms=self._terms, catalogue=self._catalogue, uris=self._uris, new_id=self._new_id, new_tag=tags
        )
        return plan(request, caller.name, desk, joined)

    def _commit(self, tx: Tx, planned: Plan, view: View, lease: Lease, now: datetime) -> Created:
        nodes, waits = self._admit(planned, view)
        rows = [
            replace(placed(tx, row, nodes.get(row.id), planned, now, self._networks), reason=waits)
            for row in planned.workspaces
        ]
        tx.leases.add(lease)
        if planned.collections:
            tx.collections.add(planned.collections)
        tx.workspaces.add(rows)
        for row in rows:
            if row.node is not None:
                size = row.allocation
                tx.nodes.hold(row.node, row.id, memory_mb=size.memory_mb, cpus=size.cpus, disk_mb=size.disk_mb)
        tx.outbox.add([made for row in rows for made in events_of(row, now)])
        return Created(lease_id=lease.id, resources=lease.resources, ends_at=rows[0].ends_at)

    def _admit(self, planned: Plan, view: View) -> tuple[dict[str, str], str]:
        """Return the nodes of those that were placed, and why the others have to wait."""
        return granted(self._backend.admit(planned.ask, view))

    def _tags(self, count: int) -> Callable[[], str]:
        """Return a maker of ``count`` tags that are unique in this request.

        One that is taken in the store lets the insert fail, and the transaction is run again with others.
        """
        fresh: set[str] = set()
        while len(fresh) < count:
            fresh.add(self._new_tag())
        return sorted(fresh).pop


def _allow(caller: Identity) -> None:
    verdict = decide(caller, "create")
    if isinstance(verdict, Deny):
        raise DeniedError(verdict.reason, verdict.figures)


def _view(tx: Tx) -> View:
    return View(nodes=tx.nodes.view(), pools=tx.addresses.view())


def _again(tx: Tx, lease: Lease, mark: str) -> Created:
    if lease.digest != mark:
        raise InvalidError("this client token was used before for a different request")
    members = (key.id for _, key in lease.resources if key.kind is Kind.WORKSPACE)
    first = tx.workspaces.get(next(members))
    return Created(lease_id=lease.id, resources=lease.resources, ends_at=first.ends_at if first else None)


def _kept(tx: NotificationTx, caller: Identity, created: Created, draft: Draft) -> dict[ResourceKey, str]:
    """Return the caller's own subscriptions that the first answer told of, which was lost on its way."""
    rows = tx.subscriptions.of([key for _, key in created.resources])
    mine = [row for row in rows if row.owner == caller.name]  # others with whom it is shared may use the same consumer
    return {row.producer: row.id for row in mine if row.consumer == draft.request.consumer}


def _joined(tx: Tx, caller: Identity, request: CreateRequest) -> Collection:
    ensemble = find_collection(tx, caller, "join", ResourceKey(Kind.ENSEMBLE, request.join or ""))
    if not ensemble.open:
        raise ConflictError(f"ensemble {ensemble.name} is done: nothing can be added to it")
    members = tx.workspaces.select(Selection(ensemble_id=ensemble.key.id, visible=True))
    taken = {row.name for row in members} | {row.part for row in members}
    for part in request.parts:
        if part.name in taken or taken.intersection(f"{part.name}-{at}" for at in range(1, part.count + 1)):
            raise InvalidError(f"part {part.name!r}: ensemble {ensemble.name} has a member of that name already")
    return ensemble
