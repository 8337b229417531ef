"""Counts what callers lease against their policies, in the transaction that leases it.

Used and reserved are read while the owner's account is locked, so of requests in parallel exactly those that fit
succeed. A lease counts to its owner, whoever extends it; his policies are those by which he leased last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flyinglow.access.decision import Allow, Deny
from flyinglow.access.identity import Identity
from flyinglow.access.policy import OPEN, Policy, PolicyBook, Wish, permits
from flyinglow.access.quotas import Use, day_of, days, extends, first_day, fits, use_of
from flyinglow.nodectl.errors import DeniedError
from flyinglow.workspace.model import Stamp, Workspace
from flyinglow.workspace.ports import Now, Tx

KEEP_DAYS = 62
"""How long it is kept what was used: no period is longer."""

Judge = Callable[[Tx, Sequence[Workspace], datetime], None]
"""Raises DeniedError unless these leases may be moved to end at this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A caller's policy, and what he has of it."""

    policy: Policy
    use: Use


class Quotas:
    """Judges requests by a site's policies."""

    def __init__(self, now: Now, book: PolicyBook = OPEN) -> None:
        self._now = now
        self._book = book

    def admit(self, tx: Tx, caller: Identity, wish: Wish, *, enter: bool) -> None:
        """Raise DeniedError with the figures when ``wish`` is not the caller's to have, or does not fit.

        ``enter``: the transaction writes, and the caller's account is his alone until it ends.
        """
        policy = self._book.of(caller)
        if policy is None:
            return
        if enter:
            tx.accounts.enter(caller.name, policy.names)
        _require(permits(policy, wish))
        _require(fits(policy, self._use(tx, caller.name, policy), wish))

    def standing(self, tx: Tx, caller: Identity) -> Standing | None:
        """Return a caller's policy and use, or None when nothing limits him."""
        policy = self._book.of(caller)
        return None if policy is None else Standing(policy=policy, use=self._use(tx, caller.name, policy))

    def extension(self, caller: Identity) -> Judge:
        """Return what judges the moving of ends that ``caller`` asks for."""

        def judge(tx: Tx, rows: Sequence[Workspace], at: datetime) -> None:
            for owner in sorted({row.owner for row in rows}):
                mine = [row for row in rows if row.owner == owner]
                policy = None if caller.admin else self._policy(tx, caller, owner)
                if policy is not None:
                    self._extend(tx, owner, policy, mine, at)

        return judge

    def _extend(self, tx: Tx, owner: str, policy: Policy, rows: Sequence[Workspace], at: datetime) -> None:
        longest = max(int((at - _begun(row)).total_seconds()) for row in rows)
        _require(permits(policy, Wish(duration=longest)))
        more = sum(int((at - row.ends_at).total_seconds()) for row in rows if row.ends_at is not None)
        _require(extends(policy, self._use(tx, owner, policy), more))

    def _policy(self, tx: Tx, caller: Identity, owner: str) -> Policy | None:
        names = tx.accounts.policies(owner)  # locks the account, before anything is counted
        if caller.name == owner:
            return self._book.of(caller)
        return None if names is None or not self._book.policies else self._book.named(names)

    def _use(self, tx: Tx, owner: str, policy: Policy) -> Use:
        now = self._now()
        return use_of(tx.accounts.held(owner), tx.accounts.spent(owner, first_day(policy.period, now)), now)


def used(rows: Iterable[Workspace], now: datetime) -> Mapping[tuple[str, int], int]:
    """Return the seconds for which these workspaces, over now, had their places: by owner and day."""
    found: dict[tuple[str, int], int] = {}
    for row in rows:
        begun = row.stamps.get(Stamp.SCHEDULED)
        for day, seconds in days(begun, now).items() if begun is not None else ():
            found[row.owner, day] = found.get((row.owner, day), 0) + seconds
    return found


def forget(tx: Tx, now: datetime) -> int:
    """Forget what was used in periods that are over; return how many rows that were."""
    return tx.accounts.purge(day_of(now) - KEEP_DAYS)


def _begun(row: Workspace) -> datetime:
    return row.stamps.get(Stamp.SCHEDULED) or row.accepted_at


def _require(verdict: Allow | Deny) -> None:
    if isinstance(verdict, Deny):
        raise DeniedError(verdict.reason, verdict.figures)
