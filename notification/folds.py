"""How collections come to have news of their own: folds over their members' events.

The parts above (groups, ensembles) register a Fold each; the drainer calls them with every batch of events, in the
transaction that hands those events on, so a derived event can neither be lost nor be told twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flyinglow.notification.ports import NotificationTx
from flyinglow.workspace.model import Event


class Fold(Protocol):
    """Derives a collection's events from its members'."""

    def derive(self, tx: NotificationTx, events: Sequence[Event]) -> list[Event]:
        """Add to the outbox what follows from these events, and return it; nothing when all is as last published.

        Writes its publication cursor in ``tx``. The transaction may be run again, so it has no other effects. It is
        also handed events that folds derived, and must not derive from its own.
        """
