"""What is kept of shares and quotas, as Protocols; ``store/`` implements them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flyinglow.access.quotas import Held
    from flyinglow.access.shares import Grantee, Share


class ShareRows(Protocol):
    """What is shared with whom."""

    def put(self, share: Share) -> None:
        """Insert it, or replace what the same grantee had."""

    def of(self, resource_ids: Sequence[str]) -> list[Share]:
        """Return every share of these resources, in the order of resources and grantees."""

    def reaching(self, resource_id: str, wholes: Sequence[str], owner: str) -> list[Share]:
        """Return the shares of a resource, and of the groups and ensembles it is in that are its ``owner``'s, too."""

    def remove(self, resource_id: str, grantee: Grantee) -> bool:
        """Remove one; say whether it was there."""

    def purge(self, resource_ids: Sequence[str]) -> None:
        """Forget all of resources that are gone for good."""


class AccountRows(Protocol):
    """What owners have and have used, for quotas. Days are numbers, since 1970 in UTC."""

    def enter(self, owner: str, policies: tuple[str, ...]) -> None:
        """Note by which policies an owner leases; he alone is counted until the transaction ends."""

    def policies(self, owner: str) -> tuple[str, ...] | None:
        """Return by which policies an owner leased last, or None; locks his account when this transaction writes."""

    def held(self, owner: str) -> list[Held]:
        """Return what an owner has that is not over."""

    def spent(self, owner: str, since: int) -> int:
        """Return the seconds that were used from this day on by what is over."""

    def spend(self, seconds: Mapping[tuple[str, int], int]) -> None:
        """Add to the seconds used, by owner and day."""

    def purge(self, before: int) -> int:
        """Forget what was used before this day; return how many rows that were."""
